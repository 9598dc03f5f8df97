"""``controltower quarantine``: everything that could not be stored is listed, shown, retried and dropped by its name."""

import base64
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from controltower.collector.cipher import AesGcm
from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.tracer.journal import Quarantine, Sealing
from tests.cli.conftest import Run
from tests.store.otlp import Loading, request, span
from tests.tracer.journals import NOW, body, open_journal, store

REFUSED = "the store says that line 7 is no message"
PATIENT = "MRN-0042-CANARY"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The folder of the journal of traces."""
    return tmp_path / "data" / "journal" / "traces"


@pytest.fixture
def quarantined(
    store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], journal: Path
) -> Run:
    """The command over a refused segment, a raw body, and two rows without a start."""
    opened = open_journal(journal)
    store(opened, body("one"), body(PATIENT))
    opened.rotate()
    opened.quarantine(opened.closed_segments()[0], REFUSED)
    opened.close()
    Quarantine(journal).put_raw(PATIENT.encode(), "the body could not be decoded", NOW + 1)
    loading = Loading(store_client, journal.parent, count(1))
    loading.load(request(*(span(number, {"note": PATIENT}, start_time_unix_nano=0) for number in (1, 2)), span(3)))
    return run_on(store_address)


def ids(run: Run, *words: str) -> dict[str, str]:
    """Return kind -> id of what is listed."""
    ran = run("quarantine", "list", *words, "--json")
    assert ran.code == 0, ran.err
    return {item["kind"]: item["id"] for item in ran.json["quarantine"]}


def test_everything_is_listed_without_what_was_sent(quarantined: Run) -> None:
    """Files and rows stand in one list with reason and size, and no value of the telemetry is printed."""
    listed = quarantined("quarantine", "list")
    shown = [quarantined("quarantine", "show", name).out for name in ids(quarantined).values()]

    assert set(ids(quarantined)) == {"refused", "raw", "rows"}
    assert REFUSED in listed.out
    assert "start_missing" in listed.out
    assert "2 rows" in listed.out
    assert PATIENT not in "".join([listed.out, listed.err, *shown])


def test_filters_narrow_the_list(quarantined: Run) -> None:
    """``--reason`` and ``--signal`` leave what matches."""
    assert set(ids(quarantined, "--reason", "LINE 7")) == {"refused"}
    assert set(ids(quarantined, "--signal", "traces")) == {"refused", "raw", "rows"}


def test_rows_are_stored_when_they_are_retried(quarantined: Run, store_client: Client) -> None:
    """A retry of rows stores them at once, and they are in quarantine no more."""
    done = quarantined("quarantine", "retry", ids(quarantined)["rows"])

    assert (done.code, "stored" in done.out) == (0, True)
    assert store_client.command("SELECT count() FROM otel_traces") == 3
    assert "rows" not in ids(quarantined)


def test_a_segment_is_asked_for_and_taken_at_the_next_start(quarantined: Run, journal: Path) -> None:
    """A refused segment that is retried is loaded by the collector that has the journal."""
    assert quarantined("quarantine", "retry", ids(quarantined)["refused"]).code == 0
    waiting = quarantined("quarantine", "list").out
    opened = open_journal(journal)
    offered = opened.closed_segments()
    opened.close()

    assert "asked to be loaded again" in waiting
    assert [segment.bytes > 0 for segment in offered] == [True]
    assert "refused" not in ids(quarantined)


def test_what_holds_no_records_cannot_be_retried(quarantined: Run) -> None:
    """Retrying a raw body is refused with what to do instead; ``--all`` passes it over."""
    refused = quarantined("quarantine", "retry", ids(quarantined)["raw"])
    everything = quarantined("quarantine", "retry", "--all", "--json").json

    assert (refused.code, "drop" in refused.err) == (1, True)
    assert {item["kind"] for item in everything["quarantine"]} == {"refused", "rows"}


def test_dropping_is_asked_for_by_name_or_by_all(quarantined: Run, store_client: Client) -> None:
    """Nothing is dropped by accident; what is dropped is gone, wherever it lay."""
    nothing, both = quarantined("quarantine", "drop"), quarantined("quarantine", "drop", "--all", "x")
    unknown = quarantined("quarantine", "drop", "traces/none")
    assert quarantined("quarantine", "drop", "--all").code == 0

    assert [ran.code for ran in (nothing, both, unknown)] == [1, 1, 1]
    assert "quarantine list" in unknown.err
    assert quarantined("quarantine", "list").out == "Nothing is in quarantine.\n"
    assert store_client.command("SELECT count() FROM otel_traces_quarantine") == 0


def test_bytes_are_given_out_only_into_a_private_file(quarantined: Run, tmp_path: Path) -> None:
    """``show --raw FILE`` writes the kept bytes for the owner alone, never over a file; rows have none."""
    file = tmp_path / "bytes"
    first = quarantined("quarantine", "show", ids(quarantined)["raw"], "--raw", str(file))
    again = quarantined("quarantine", "show", ids(quarantined)["raw"], "--raw", str(file))
    rows = quarantined("quarantine", "show", ids(quarantined)["rows"], "--raw", str(tmp_path / "rows"))

    assert (first.code, file.read_bytes(), file.stat().st_mode & 0o777) == (0, PATIENT.encode(), 0o600)
    assert (again.code, "not there" in again.err) == (1, True)
    assert (rows.code, "otel_traces_quarantine" in rows.err) == (1, True)


def test_encrypted_bytes_are_given_out_with_the_key_only(
    quarantined: Run, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing needs no key; ``--raw`` names the one that is missing, and decrypts when it is there."""
    key = base64.b64encode(bytes(32)).decode()
    quarantined("quarantine", "drop", ids(quarantined)["raw"])
    Quarantine(journal, sealing=Sealing(AesGcm([bytes(32)]))).put_raw(PATIENT.encode(), "not decoded", NOW + 1)
    asked = ("quarantine", "show", ids(quarantined)["raw"], "--raw", str(tmp_path / "bytes"))
    without = quarantined(*asked)
    monkeypatch.setenv("CONTROLTOWER_COLLECTOR_JOURNAL_KEY", key)
    with_it = quarantined(*asked)

    assert (without.code, AesGcm([bytes(32)]).key_ids[0] in without.err) == (1, True)
    assert (with_it.code, (tmp_path / "bytes").read_bytes()) == (0, PATIENT.encode())


def test_decisions_are_written_down(quarantined: Run, tmp_path: Path) -> None:
    """The log says who retried and dropped what, with its reason."""
    found = ids(quarantined)
    quarantined("quarantine", "retry", found["rows"])
    quarantined("quarantine", "drop", found["raw"])
    log = (tmp_path / "data" / "logs" / "quarantine.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]

    assert [(line["action"], line["id"]) for line in lines] == [("retry", found["rows"]), ("drop", found["raw"])]
    assert all(line["user"] and line["reason"] for line in lines)
