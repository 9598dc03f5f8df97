"""The engine over a real store: incremental, in any order, and whole again after it was cut off."""

import contextlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.store.client import Client
from controltower.store.flows.engine import Engine
from controltower.store.rows import Key
from tests.conftest import ManualClock
from tests.store.flow_steps import FLOW, P2P
from tests.store.spans import Span, store

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)  # a Monday, 09:00 in New York
ACME = {"company": "acme", "vendor": "V-7"}


def at(**after: float) -> datetime:
    """Return a time after the start."""
    return START + timedelta(**after)


def line(number: int, quantity: str, price: str, **more: str) -> dict[str, str]:
    """Return a line event's attributes."""
    return {"line": str(number), "item": f"item-{number}", "quantity": quantity, "unit_price": price, **more}


def whole_order(quantity: str = "2", price: str = "10.00") -> list[Span]:
    """Return an order from requisition to clearing, each step in a system and a trace of its own."""
    ordered = [line(1, "2", "10.00")]
    return [
        Span(1, 1, at(), "p2p.requisition.created", {"requisition": "R1"}, "saas", ACME),
        Span(1, 2, at(hours=1), "p2p.requisition.approved", {"requisition": "R1"}, "saas", ACME),
        Span(2, 3, at(hours=2), "p2p.purchase_order.created", {"requisition": "R1", "purchase_order": "po-1"}, "erp", ACME, lines=ordered, more={"amount": "20.00", "currency": "USD"}),
        Span(3, 4, at(hours=2, minutes=5), "p2p.purchase_order.dispatched", {"purchase_order": "PO-1", "group": "77"}, "edi", ACME),
        Span(4, 5, at(hours=2, minutes=20), "p2p.purchase_order.functional_acknowledged", {"group": "77"}, "edi"),
        Span(5, 6, at(hours=5), "p2p.purchase_order.acknowledged", {"purchase_order": "PO-1"}, "edi", {"vendor": "V-7"}),
        Span(6, 7, at(days=1), "p2p.shipment.notified", {"purchase_order": "PO-1", "shipment": "S1"}, "supplier", ACME),
        Span(7, 8, at(days=2), "p2p.goods.received", {"shipment": "S1", "receipt": "G1"}, "wms", ACME, lines=[line(1, "2", "10.00")]),
        Span(8, 9, at(days=3), "p2p.invoice.received", {"purchase_order": "PO-1", "invoice": "i-1"}, "ap", ACME, lines=[line(1, quantity, price)]),
        Span(9, 10, at(days=3, hours=1), "p2p.invoice.registered", {"invoice": "I-1", "voucher": "V1"}, "ap", ACME),
        Span(10, 11, at(days=3, hours=2), "p2p.invoice.matched", {"voucher": "V1"}, "ap", ACME),
        Span(11, 12, at(days=4), "p2p.invoice.posted", {"voucher": "V1", "gl_journal": "J1"}, "erp", ACME),
        Span(12, 13, at(days=20), "p2p.payment.issued", {"invoice": "I-1", "payment": "P1"}, "bank", ACME),
        Span(13, 14, at(days=21), "p2p.payment.cleared", {"payment": "P1", "bank_ref": "B1"}, "bank"),
    ]  # fmt: skip


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return [tuple(row) for row in client.query(sql, query_formats={"Tuple*": "tuple"}).result_rows]


def outcome(client: Client) -> dict[str, list[tuple[Any, ...]]]:
    """Return everything derived, without versions and times of knowing."""
    order = "ORDER BY ALL"
    return {
        "transaction_steps": rows(client, f"SELECT * EXCEPT (version, is_deleted) FROM transaction_steps FINAL {order}"),
        "transactions": rows(client, f"SELECT * EXCEPT (version, is_deleted, context, amounts) FROM transactions FINAL {order}"),
        "deadlines": rows(client, f"SELECT * EXCEPT (version, is_deleted) FROM deadlines FINAL {order}"),
        "reconciliations": rows(
            client,
            "SELECT anchor, rule, line, status, reason, difference, window_ends_at FROM reconciliations FINAL " + order,
        ),
        "exceptions": rows(
            client,
            "SELECT * EXCEPT (version, is_deleted) FROM exceptions FINAL WHERE NOT is_deleted " + order,
        ),
        "parked_steps": rows(client, f"SELECT * EXCEPT (version, is_deleted) FROM parked_steps FINAL {order}"),
    }  # fmt: skip


def engine(client: Client, clock: ManualClock, **options: Any) -> Engine:
    """Return an engine over the shipped pack."""
    return Engine(client, [P2P], clock.now, **options)


def test_one_order_all_the_way_through(any_store: Client, clock: ManualClock) -> None:
    """Fourteen steps of seven systems without a common trace become one completed transaction."""
    clock.set(at(days=30))
    store(any_store, whole_order())
    engine(any_store, clock).catch_up()

    ((anchor, state, stage, steps, amount, at_stake),) = rows(
        any_store, "SELECT anchor, state, stage, steps, toString(amount), toString(at_stake) FROM transactions FINAL"
    )
    assert Key(*anchor) == Key("purchase_order", "acme", "PO-1")
    assert (state, stage, steps, amount, at_stake) == ("completed", "cleared", 14, "20", "0")
    assert {state for (state,) in rows(any_store, "SELECT DISTINCT state FROM deadlines FINAL")} == {"met"}
    assert rows(any_store, "SELECT line, status FROM reconciliations FINAL") == [("1", "matched")]
    assert outcome(any_store)["parked_steps"] == []


def test_what_time_alone_changes(store_client: Client, clock: ManualClock) -> None:
    """A deadline is breached by the clock, without a new span, and an order that moves again is retracted."""
    clock.set(at(hours=3))
    first = whole_order()[:4]
    store(store_client, first)
    running = engine(store_client, clock)
    running.catch_up()
    assert rows(store_client, "SELECT state, breached_deadlines FROM transactions FINAL") == [("in progress", 0)]

    clock.set(at(hours=6, minutes=10))  # four hours after dispatch: no functional acknowledgement
    running.run_cycle()
    assert rows(store_client, "SELECT state, breached_deadlines FROM transactions FINAL") == [("breached", 1)]
    assert rows(store_client, "SELECT kind, rule, reason, resolved_at FROM exceptions FINAL") == [
        ("deadline", "functional acknowledgement", "missing", None)
    ]

    clock.advance(timedelta(minutes=1))
    store(store_client, whole_order()[4:6])
    running.catch_up()
    assert rows(store_client, "SELECT state FROM transactions FINAL") == [("in progress",)]
    history = rows(store_client, "SELECT state, previous_state FROM transaction_history FINAL ORDER BY known_at")
    assert history[:2] == [("in progress", ""), ("breached", "in progress")]


def test_a_price_out_of_tolerance_is_money_at_stake(store_client: Client, clock: ManualClock) -> None:
    """An invoice at a higher price is a match exception with the difference."""
    clock.set(at(days=30))
    store(store_client, whole_order(price="12.50"))
    engine(store_client, clock).catch_up()

    assert rows(store_client, "SELECT state, toString(at_stake) FROM transactions FINAL") == [("exception", "5")]
    assert rows(store_client, "SELECT kind, reason, toString(amount) FROM exceptions FINAL") == [
        ("match", "price_variance", "5")
    ]


def test_what_became_known_late_is_retracted(store_client: Client, clock: ManualClock) -> None:
    """A breach that only the order of arrival made is taken back: the acknowledgement had come in time."""
    clock.set(at(days=30))
    spans = whole_order()
    store(store_client, spans[:4])
    running = engine(store_client, clock)
    running.catch_up()
    assert rows(store_client, "SELECT count() > 0 FROM exceptions FINAL WHERE NOT is_deleted") == [(True,)]

    clock.advance(timedelta(seconds=1))
    store(store_client, spans[4:])
    running.catch_up()
    assert rows(store_client, "SELECT rule FROM exceptions FINAL WHERE NOT is_deleted") == []
    assert rows(store_client, "SELECT count() > 0 FROM exceptions FINAL WHERE is_deleted") == [(True,)]


def test_parked_steps_join_when_their_link_arrives(store_client: Client, clock: ManualClock) -> None:
    """A voucher without its invoice waits visibly, and joins when the invoice is seen."""
    clock.set(at(days=30))
    spans = whole_order()
    late = [span for span in spans if span.step == "p2p.invoice.registered"]
    store(store_client, [span for span in spans if span not in late])
    running = engine(store_client, clock)
    running.catch_up()
    assert len(outcome(store_client)["parked_steps"]) == 2

    store(store_client, late)
    running.catch_up()
    assert outcome(store_client)["parked_steps"] == []
    assert rows(store_client, "SELECT steps, state FROM transactions FINAL") == [(14, "completed")]


def test_an_invoice_finds_its_order_later(store_client: Client, clock: ManualClock) -> None:
    """The invoice's own transaction ends when its steps turn out to belong to an order."""
    clock.set(at(days=30))
    spans = whole_order()
    store(
        store_client,
        [span for span in spans if span.step not in ("p2p.invoice.received", "p2p.purchase_order.created")],
    )
    running = engine(store_client, clock)
    running.catch_up()
    assert ("invoice",) in rows(store_client, "SELECT anchor.type FROM transactions FINAL")

    store(store_client, spans)
    running.catch_up()
    assert rows(store_client, "SELECT anchor.type, steps FROM transactions FINAL") == [("purchase_order", 14)]


def test_changed_flows_look_at_history_again(store_client: Client, clock: ManualClock) -> None:
    """A rule that changed is applied to every span, not to the next ones only."""
    clock.set(at(days=30))
    store(store_client, whole_order())
    engine(store_client, clock).catch_up()
    strict = P2P.model_copy(update={"version": 2, "sla": tuple(r for r in P2P.sla if r.name == "order dispatched")})
    Engine(store_client, [strict], clock.now).catch_up()

    assert rows(store_client, "SELECT rule FROM deadlines FINAL") == [("order dispatched",)]
    assert rows(store_client, "SELECT DISTINCT flow_version FROM transactions FINAL") == [(2,)]


class Cut(Exception):  # it is no error
    """The process ended here."""


class CuttingClient:
    """A client that dies at the n-th insert, before or after the rows are stored."""

    def __init__(self, client: Client, at_insert: int, *, stored: bool) -> None:
        self._client, self.left, self._stored = client, at_insert, stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def insert(self, table: str, *arguments: Any, **options: Any) -> None:
        """Insert, or die."""
        self.left -= 1
        if self.left == 0:
            if self._stored:
                self._client.insert(table, *arguments, **options)
            raise Cut
        self._client.insert(table, *arguments, **options)


@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at_insert", range(1, 30, 4))
def test_a_cycle_cut_off_anywhere_is_run_again(
    store_client: Client, clock: ManualClock, at_insert: int, stored: bool
) -> None:
    """Whatever was written when the process died, the next one comes to the same result."""
    clock.set(at(days=30))
    spans = whole_order(price="12.50")
    late = spans[9], spans[2]
    store(store_client, [span for span in spans if span not in late])
    engine(store_client, clock).catch_up()
    store(store_client, late)
    cut = CuttingClient(store_client, at_insert, stored=stored)
    with contextlib.suppress(Cut):
        engine(cut, clock).catch_up()  # type: ignore[arg-type]  # stands in for a client
    engine(store_client, clock).catch_up()

    assert outcome(store_client)["parked_steps"] == []
    assert rows(store_client, "SELECT steps, state, toString(at_stake) FROM transactions FINAL") == [
        (14, "exception", "5")
    ]
    assert cut.left <= 0, "fewer inserts than this: lower the range"


KEYS = ("order", "box", "slip", "bill", "voucher", "pay")
drawn_spans = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(KEYS), st.sampled_from("12"), max_size=3),
        st.sampled_from(("", "a", "b")),
        st.integers(1, 4),
        st.integers(0, 20),
    ),
    min_size=1,
    max_size=14,
)


def made(drawn: Iterable[tuple[dict[str, str], str, int, int]]) -> list[Span]:
    """Return spans of the small flow for a drawn description."""
    return [
        Span(trace, number, at(days=day), "s.thing.happened", keys, context={"vendor": scope} if scope else {})
        for number, (keys, scope, trace, day) in enumerate(drawn, 1)
    ]


def resolved(
    client: Client, batches: Sequence[Sequence[Span]], steps_per_cycle: int
) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the engine derives when the spans arrive in these batches."""
    for table in ("otel_traces", "steps", "document_lines", "step_keys", "key_links", "transaction_steps", "parked_steps",
                  "transactions", "transaction_history", "deadlines", "reconciliations", "exceptions", "engine_state",
                  "source_watermarks"):  # fmt: skip
        client.command(f"TRUNCATE TABLE {table}")
    clock = ManualClock(at(days=60))
    running = Engine(client, [FLOW], clock.now, steps_per_cycle=steps_per_cycle)
    for batch in batches:
        store(client, batch)
        clock.advance(timedelta(milliseconds=1))
        running.catch_up()
    found = outcome(client)
    return {name: found[name] for name in ("transaction_steps", "parked_steps", "transactions", "exceptions")}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn_spans, st.randoms(use_true_random=False), st.integers(1, 5), st.integers(1, 7))
def test_batches_and_order_change_nothing(
    store_client: Client,
    drawn: list[tuple[dict[str, str], str, int, int]],
    random: Any,
    batch: int,
    steps_per_cycle: int,
) -> None:
    """Spans one by one, in batches, in any order or all at once: the same transactions, explanations and parked steps."""
    spans = made(drawn)
    at_once = resolved(store_client, [spans], 1000)
    random.shuffle(spans)
    pieces = [spans[start : start + batch] for start in range(0, len(spans), batch)]

    assert resolved(store_client, pieces, steps_per_cycle) == at_once


def test_an_earlier_link_that_comes_later_explains(store_client: Client) -> None:
    """A step is explained by the first time its link was seen, also when that became known after a later one."""
    spans = made([({"bill": "1"}, "", 1, 0), ({"bill": "1", "order": "1"}, "", 2, 10), ({"bill": "1", "order": "1"}, "", 3, 5)])  # fmt: skip
    at_once = resolved(store_client, [spans], 1000)

    assert resolved(store_client, [[span] for span in spans], 1000) == at_once
