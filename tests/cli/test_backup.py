"""Backup and restore of a store that works, as an operator does it (F47)."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.test_serve import post
from tests.clickhouse_server import ClickHouseServer
from tests.collector.requests import request_of, span
from tests.collector.test_kill import CLIENTS, SPANS, Sender
from tests.conftest import database_for
from tests.power import NoVolumeError, Volume, volume
from tests.processes import PATIENCE_S, Tower, tower, until

pytestmark = pytest.mark.slow

# Rows and what views made of them as they came: they belong together, whenever the backup was made.
APART = """
SELECT
    (SELECT count() FROM otel_traces) - (SELECT sum(spans) FROM source_watermarks),
    (SELECT uniqExact(TraceId) FROM otel_traces) - (SELECT uniqExact(TraceId) FROM otel_traces_trace_id_ts)
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Tower]:
    """A data folder in which nothing runs yet."""
    with tower(tmp_path / "data") as made:
        yield made


def order(number: int) -> bytes:
    """Return a request with the first step of the order PO-NUMBER."""
    sent = span(number)
    sent.attributes.add(key="controltower.step").value.string_value = "p2p.purchase_order.created"
    sent.attributes.add(key="controltower.key.purchase_order").value.string_value = f"PO-{number}"
    return request_of(sent)


def rows_of(said: str) -> dict[str, int]:
    """Return the rows of each table that a command printed."""
    rows: dict[str, int] = json.loads(said)["rows"]
    return rows


def test_a_backup_under_load_is_restored_to_its_counts(here: Tower) -> None:
    """It is made while spans arrive; the restored store has its counts, and gets from the journal what came later."""
    serve = here.serve()
    assert post(here, order(5)) == 200
    until(lambda: here.placed("PO-5"), "the order is there")
    sender = Sender(here.run("token", "create", "tests").strip())
    port = int(here.runtime.collector.rpartition(":")[2])
    clients = [threading.Thread(target=sender.send_until_gone, args=[port]) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    sender.wait_for(100)
    made = rows_of(here.run("backup", "monday", "--json"))
    sender.wait_for(200)
    again = here.run("backup", "monday", code=1)
    here.stop(serve)
    for each in clients:
        each.join(PATIENCE_S)
    shutil.move(here.data / "store", here.data / "lost")

    restored = rows_of(here.run("restore", "monday", "--json"))
    apart = here.ask_apart(APART)
    here.serve()
    until(lambda: here.get("/readyz")["lag_s"] == 0, "everything is loaded")
    with here.client() as client:
        counted = "SELECT count(), uniqExact(SpanName) FROM otel_traces"
        everything = len(sender.acknowledged) * SPANS + 1
        until(lambda: client.query(counted).result_rows == [(everything, everything)], "what came later is there, once")

    assert made == restored
    assert 1 < made["otel_traces"] < everything
    assert apart == [[0, 0]]
    assert "BACKUP_ALREADY_EXISTS" in again
    assert here.trace("PO-5")


def test_only_an_empty_store_is_filled_and_only_from_a_whole_backup(here: Tower) -> None:
    """A store with rows, or that is at work, stays as it is; bytes that a disk damaged are found before success is told."""
    serve = here.serve()
    for number in range(3):
        assert post(here, order(number + 1)) == 200
    until(lambda: here.placed("PO-3"), "the orders are there")
    until(lambda: here.get("/readyz")["lag_s"] == 0, "everything is loaded")
    here.run("backup", "monday")
    address = f"http://{here.runtime.host}:{here.runtime.port}/backup?name=tuesday"
    reader = (here.runtime.reader_user, here.runtime.reader_password)
    strangers = [httpx.post(address, auth=auth).status_code for auth in (reader, ("writer", "guessed"), None)]
    working = here.run("restore", "monday", code=1)
    here.stop(serve)
    full = here.run("restore", "monday", code=1)
    shutil.move(here.data / "store", here.data / "lost")
    unknown = here.run("restore", "tuesday", code=1)
    path = here.run("restore", "../monday", code=1)
    part = max((here.data / "backups" / "monday").rglob("otel_traces/*/data.bin"), key=os.path.getsize)
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    part.write_bytes(damaged)
    refused = here.run("restore", "monday", code=1)

    assert strangers == [403, 403, 403]
    assert "stop it first" in working
    assert "is not empty" in full
    assert "BACKUP_NOT_FOUND" in unknown
    assert "is no name of a backup" in path
    assert "otel_traces" in refused
    assert [oct(path.stat().st_mode & 0o777) for path in (here.data, here.data / "backups")] == ["0o700"] * 2


def test_backups_can_lie_on_another_volume(tmp_path: Path) -> None:
    """The folder may be a link, and neither of the two needs to be free of spaces."""
    elsewhere = tmp_path / "another volume"
    elsewhere.mkdir()
    with tower(tmp_path / "the data of Zoë" / "here") as running:
        running.data.mkdir(parents=True)
        (running.data / "backups").symlink_to(elsewhere)
        serve = running.serve()
        made = rows_of(running.run("backup", "monday", "--json"))
        running.stop(serve)
        shutil.move(running.data / "store", running.data / "lost")
        restored = rows_of(running.run("restore", "monday", "--json"))

    assert made == restored
    assert [path.name for path in elsewhere.iterdir()] == ["monday"]


@pytest.mark.server
def test_a_server_is_backed_up_into_its_own_folder(
    tmp_path: Path, clickhouse_server: ClickHouseServer, database: str
) -> None:
    """The same commands, and another database on it is filled."""
    name = f"of_{database}"
    with tower(tmp_path / "data", clickhouse_server.address(database)) as running:
        serve = running.serve()
        assert post(running, order(5)) == 200
        until(lambda: running.placed("PO-5"), "the order is there")
        running.stop(serve)
        made = rows_of(running.run("backup", name, "--json"))
        other = clickhouse_server.address(database_for("restored"))
        restored = rows_of(running.run("restore", name, "--json", "--store", other))

    assert made == restored
    assert made["otel_traces"] == made["steps"] == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Volume]:
    """A volume whose power can be cut; where there can be none, nothing is claimed of power cuts."""
    try:
        with volume(tmp_path) as made:
            yield made
    except NoVolumeError as exc:
        pytest.skip(f"no volume of its own for a power cut: {exc}")


def test_a_power_cut_right_after_costs_neither_backup_nor_restore(disk: Volume) -> None:
    """What the commands told is on the disk: the counts are the same when the power is back."""
    with tower(disk.folder / "data") as running:
        serve = running.serve()
        assert post(running, order(5)) == 200
        until(lambda: running.placed("PO-5"), "the order is there")
        running.stop(serve)
        made = rows_of(running.run("backup", "monday", "--json"))
        disk.cut_power()
        disk.unmount()
        disk.mount()
        shutil.move(running.data / "store", running.data / "lost")
        running.run("restore", "monday")
        disk.cut_power()
        disk.unmount()
        disk.mount()
        after = rows_of(running.run("backup", "tuesday", "--json"))
        shutil.move(running.data / "store", running.data / "lost too")
        running.run("restore", "tuesday")  # reads every row of it
        trace = running.trace("PO-5")

    once = ("otel_traces", "collector_samples", "span_keys", "steps")  # of others, merges make one of several rows
    assert {table: after[table] for table in once} == {table: made[table] for table in once}
    assert trace
