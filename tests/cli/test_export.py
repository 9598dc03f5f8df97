"""``controltower export``: the files it writes, and those it leaves alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.store.ocel.kept import attributes, pieces
from controltower.store.ocel.staged import Event, Object, Related
from tests.cli.conftest import Run
from tests.conftest import ManualClock
from tests.store.ocel_logs import Log, content, content_of, staging
from tests.store.orders import at, whole_order
from tests.store.spans import store
from tests.store.test_engine import engine

pytest.importorskip("ijson", reason="event logs need controltower[import]")


@pytest.fixture
def filled(store_client: Client, clock: ManualClock) -> Client:
    """A store with one order from requisition to clearing."""
    clock.set(at(days=30))
    store(store_client, whole_order())
    engine(store_client, clock).catch_up()
    return store_client


def test_every_form_holds_the_same_log(
    filled: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], tmp_path: Path
) -> None:
    """JSON, XML and SQLite by the ending of the file; tables beside each other; nothing else is left in the folder."""
    run, out = run_on(store_address), tmp_path / "out"
    out.mkdir()
    ran = [run("export", "ocel2", str(out / f"log.{ending}"), "--json") for ending in ("json", "xmlocel", "sqlite")]
    tables = [run("export", form, str(out / f"log.{form}")) for form in ("csv", "parquet")]

    assert [each.code for each in (*ran, *tables)] == [0] * 5, [each.err for each in (*ran, *tables)]
    assert content_of(out / "log.json") == content_of(out / "log.xmlocel") == content_of(out / "log.sqlite")
    assert ran[0].json["events"] == 14
    assert "14 events" in tables[0].out
    assert sorted(each.name for each in out.iterdir()) == [
        "log.csv", "log.json", "log.objects.csv", "log.objects.parquet", "log.parquet", "log.sqlite", "log.xmlocel",
    ]  # fmt: skip


def test_a_kept_log_is_given_back(
    store_client: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], tmp_path: Path
) -> None:
    """``--log`` writes a log that was kept, sent twice or not; a name that is not kept is told with those that are."""
    event = Event("e1", "Pay", at().isoformat(timespec="microseconds"), {"by": "ana"}, [Related("o1", "for")])
    with staging() as staged:
        Log({"Pay": {"by": "string"}}, {"Order": {}}, (Object("o1", "Order", [], []),), (event,)).stage(staged)
        kept = [attributes("mine", number, piece) for number, piece in enumerate(pieces(staged))]
        there = content(staged)
    rows = [[at(), f"{number:032x}", f"{number:016x}", each] for number, each in enumerate([*kept, *kept], start=1)]
    store_client.insert("otel_traces", rows, column_names=["Timestamp", "TraceId", "SpanId", "SpanAttributes"])
    run = run_on(store_address)
    given = run("export", "ocel2", str(tmp_path / "log.json"), "--log", "mine")
    unknown = run("export", "ocel2", str(tmp_path / "none.json"), "--log", "yours")

    assert given.code == 0, given.err
    assert content_of(tmp_path / "log.json") == there
    assert unknown.code == 1
    assert "keeps no log yours; it keeps mine" in unknown.err
    assert run("export", "ocel2", str(tmp_path / "none.json")).code == 1  # no step of any flow


def test_what_is_there_is_not_overwritten(
    filled: Client, store_address: StoreAddress, run_on: Callable[[StoreAddress], Run], tmp_path: Path
) -> None:
    """A file of the name, also that of the second table, is left alone; so are an unknown ending and flow."""
    run, file = run_on(store_address), tmp_path / "log.objects.csv"
    file.write_text("mine", encoding="utf-8")
    there = run("export", "csv", str(tmp_path / "log.csv"))
    ending = run("export", "ocel2", str(tmp_path / "log.txt"))
    flow = run("export", "ocel2", str(tmp_path / "log.json"), "--flow", "nothing")
    folder = run("export", "ocel2", str(tmp_path / "none" / "log.json"))

    assert [each.code for each in (there, ending, flow, folder)] == [1] * 4
    assert "log.objects.csv is there already" in there.err
    assert "does not tell the form" in ending.err
    assert "no step of a flow nothing; it holds procure_to_pay" in flow.err
    assert "cannot be written" in folder.err
    assert file.read_text(encoding="utf-8") == "mine"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("log")] == ["log.objects.csv"]
