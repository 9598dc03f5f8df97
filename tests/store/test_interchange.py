"""What is sent must be acknowledged: a group that nobody answered is found by its interchange, late, and told to the alerts."""

from controltower.alerts.feed import Feed
from controltower.store import read
from controltower.store.client import Client
from controltower.store.flows.engine import Engine
from controltower.store.flows.files import load_packs
from controltower.store.read import TransactionView
from controltower.store.rows import DeadlineState, TransactionState
from tests.conftest import ManualClock
from tests.store.orders import at
from tests.store.spans import Span, store

ONE, OTHER = "H|V-1|PO|81", "H|V-2|PO|82"
SENT = [
    Span(1, 1, at(), "batch.group.sent", {"group": ONE, "interchange": "H|V-1|000000081"}, "x12", {"partner": "V-1"}),
    Span(2, 2, at(), "batch.group.sent", {"group": OTHER, "interchange": "H|V-2|000000082"}, "x12", {"partner": "V-2"}),
]
ANSWER = Span(3, 3, at(minutes=20), "batch.group.acknowledged", {"group": ONE}, "x12", more={"outcome": "ok"})
LATE_ANSWER = Span(4, 4, at(hours=9), "batch.group.acknowledged", {"group": OTHER}, "x12", more={"outcome": "ok"})


def found(client: Client, value: str) -> TransactionView:
    """Return the one transaction that a number leads to."""
    (anchor,) = read.find_anchors(client, value)
    assert (anchor.flow, anchor.anchor.type) == ("interchange", "group")
    view = read.read_transaction(client, anchor.flow, anchor.anchor)
    assert view is not None
    return view


def test_one_that_nobody_acknowledged(store_client: Client, clock: ManualClock) -> None:
    """It is breached by the clock and pages; the one that was answered is done. An answer that comes late ends the wait."""
    clock.set(at(hours=5))
    running = Engine(store_client, load_packs(), clock.now)
    store(store_client, [*SENT, ANSWER])
    running.catch_up()
    answered, silent = found(store_client, "H|V-1|000000081"), found(store_client, "H|V-2|000000082")
    told = Feed(store_client).page()
    clock.set(at(hours=10))
    store(store_client, [LATE_ANSWER])
    running.catch_up()
    after = found(store_client, "H|V-2|000000082")

    assert answered.transaction.state == TransactionState.COMPLETED
    assert silent.transaction.state == TransactionState.BREACHED
    assert [(each.rule, each.state) for each in silent.deadlines] == [("group acknowledged", DeadlineState.BREACHED)]
    assert [(each.anchor.value, each.rule, each.severity) for each in told] == [(OTHER, "group acknowledged", "page")]
    assert after.transaction.state == TransactionState.COMPLETED
    assert [each.state for each in after.deadlines] == [DeadlineState.MET_LATE]
