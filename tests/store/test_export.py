"""A flow as an object-centric log: each step an event, each key one object, every relation that the store holds."""

import csv
from ast import literal_eval
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.store.client import Client
from controltower.store.export import PAGE, export_flow, flows_with_steps, object_id
from controltower.store.ocel.staged import Staged
from controltower.store.rows import Key
from tests.conftest import ManualClock
from tests.store.ocel_logs import staging
from tests.store.orders import at, whole_order
from tests.store.spans import store
from tests.store.test_engine import engine, rows

pytest.importorskip("ijson", reason="event logs need controltower[import]")
from controltower.store.ocel.tables import objects_beside, write_csv, write_parquet

FLOW = "procure_to_pay"


def exported(client: Client, clock: ManualClock, staged: Staged) -> None:
    """Resolve one whole order and put it into the tables."""
    clock.set(at(days=30))
    store(client, whole_order())
    engine(client, clock).catch_up()
    export_flow(client, FLOW, staged)
    staged.whole()


def test_everything_of_a_flow_is_there(any_store: Client, clock: ManualClock) -> None:
    """Events, objects and relations are those that the store's own tables count."""
    with staging() as staged:
        exported(any_store, clock, staged)
        events, objects = list(staged.each_event()), {each.id: each for each in staged.each_object()}

    assert flows_with_steps(any_store) == [FLOW]
    ((steps, keys, members, links, lines),) = rows(
        any_store,
        "SELECT (SELECT count() FROM steps FINAL), (SELECT uniqExact(type, scope, value) FROM step_keys FINAL), "
        "(SELECT count() FROM transaction_steps FINAL), (SELECT uniqExact(child, parent) FROM key_links), "
        "(SELECT count() FROM document_lines FINAL)",
    )
    order = objects["purchase_order:PO-1@acme"]
    of_line = [each for each in objects.values() if each.type == "document_line"]
    assert (len(events), len(objects), len(of_line)) == (steps, keys + lines, lines)
    assert sum(related.object_id == order.id for each in events for related in each.related) == members
    assert sum(related.qualifier == "belongs to" for each in objects.values() for related in each.related) == links
    assert {related.qualifier for each in events for related in each.related} == {"carried", "by key", "line"}
    assert {name: value for name, _, value in order.values} == {
        "value": "PO-1",
        "scope": "acme",
        f"{FLOW}.state": "completed",
        f"{FLOW}.stage": "cleared",
        f"{FLOW}.amount": "20",
        f"{FLOW}.at_stake": "0",
        f"{FLOW}.currency": "USD",
        f"{FLOW}.flow_version": "1",
    }
    assert events[0].values["context.company"] == "acme"
    assert {name: value for name, _, value in of_line[0].values}["unit_price"] == "10"


def test_pages_lose_nothing(store_client: Client, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows a page has, the log is the same."""
    with staging() as staged, staging() as small:
        exported(store_client, clock, staged)
        monkeypatch.setattr("controltower.store.export.PAGE", 3)
        export_flow(store_client, FLOW, small)
        small.whole()

        assert PAGE > 3
        assert small.counts() == staged.counts()
        assert list(small.each_event()) == list(staged.each_event())
        assert list(small.each_object()) == list(staged.each_object())


def test_tables_have_what_they_can_hold(store_client: Client, clock: ManualClock, tmp_path: Path) -> None:
    """CSV and Parquet say the same; amounts are exact, and objects stand by their type."""
    from pyarrow import parquet  # type: ignore[import-untyped]  # published without types

    with staging() as staged:
        exported(store_client, clock, staged)
        write_csv(staged, tmp_path / "log.csv")
        write_parquet(staged, tmp_path / "log.parquet")
    with (tmp_path / "log.csv").open(encoding="utf-8", newline="") as file:
        by_csv = list(csv.DictReader(file))
    by_parquet: list[dict[str, Any]] = parquet.read_table(tmp_path / "log.parquet").to_pylist()
    order = next(each for each in by_parquet if each["ocel:activity"] == "p2p.purchase_order.created")

    assert [each["ocel:eid"] for each in by_csv] == [each["ocel:eid"] for each in by_parquet]
    assert [literal_eval(each["ocel:type:invoice"]) for each in by_csv] == [
        each["ocel:type:invoice"] for each in by_parquet
    ]
    assert order["ocel:type:purchase_order"] == ["purchase_order:PO-1@acme"]
    assert str(order["amount"]) == "20.000000"
    objects = parquet.read_table(objects_beside(tmp_path / "log.parquet")).to_pylist()
    assert {each["ocel:oid"] for each in objects} >= {"invoice:I-1@V-7", "payment:P1", "purchase_order:PO-1@acme"}


KEYS = st.builds(Key, st.text("ab:%@", min_size=1), st.text("ab:%@"), st.text("ab:%@", min_size=1))


@given(one=KEYS, other=KEYS)
def test_no_two_keys_are_one_object(one: Key, other: Key) -> None:
    """Whatever stands in a key, its id is its own."""
    assert (object_id(one) == object_id(other)) == (one == other)


def test_an_export_in_time_order(store_client: Client, clock: ManualClock) -> None:
    """Events come in order of their business times."""
    with staging() as staged:
        exported(store_client, clock, staged)
        times = [each.time for each in staged.each_event()]

    assert times == sorted(times)
    assert times[0] == at().isoformat(timespec="microseconds")
    assert times[-1] == (at() + timedelta(days=21)).isoformat(timespec="microseconds")
