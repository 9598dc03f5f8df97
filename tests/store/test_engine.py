"""The engine over a real store: incremental, in any order, and whole again after it was cut off."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.store.client import Client
from controltower.store.flows.engine import Engine
from controltower.store.flows.neighbourhood import Neighbourhood
from controltower.store.rows import Correction, Key, TransactionStep
from controltower.store.write import insert
from tests.conftest import ManualClock
from tests.store.flow_steps import FLOW, P2P, corrected, seen
from tests.store.orders import at, whole_order
from tests.store.spans import Span, store
from tests.store.test_engine_orders import Tower


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return [tuple(row) for row in client.query(sql, query_formats={"Tuple*": "tuple"}).result_rows]


def outcome(client: Client) -> dict[str, list[tuple[Any, ...]]]:
    """Return everything derived, without versions and times of knowing."""
    order = "ORDER BY ALL"
    return {
        "transaction_steps": rows(client, f"SELECT * EXCEPT (version, is_deleted, known_at) FROM transaction_steps FINAL {order}"),
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


def test_a_span_sent_again_leaves_its_old_place(store_client: Client, clock: ManualClock) -> None:
    """A span that comes again with another key, long after the first time, is in its new transaction only."""
    clock.set(at(days=30))
    first, other, again = made([({"order": str(n)}, "", 2 - n % 2, 0, ()) for n in (1, 2, 3)])
    running = Engine(store_client, [FLOW], clock.now)
    store(store_client, [first], loaded_at=at())
    running.catch_up()
    store(store_client, [other], loaded_at=at(minutes=20))
    running.catch_up()
    store(store_client, [replace(again, span=first.span)], loaded_at=at(minutes=40))
    running.catch_up()

    assert rows(store_client, "SELECT trace_id, anchor.value FROM transaction_steps FINAL ORDER BY trace_id") == [
        (first.id[0], "3"),
        (other.id[0], "2"),
    ]


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
@pytest.mark.parametrize("at_insert", range(1, 25, 3))
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
        st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), max_size=1),
    ),
    min_size=1,
    max_size=14,
)
Drawn = Sequence[tuple[dict[str, str], str, int, int, Sequence[tuple[int, int]]]]


drawn_corrections = st.lists(
    st.tuples(
        st.sampled_from(("cut", "confirm", "undo")),
        st.one_of(st.sampled_from(("box:1", "slip:1", "bill:1", "pay:1", "bill:2")), st.integers(1, 6).map(str)),
        st.sampled_from(("order:1", "order:2", "bill:1", "bill:1@a")),
        st.integers(1, 3),
    ),
    max_size=3,
)


def decided(drawn: Drawn, said: Sequence[tuple[str, str, str, int]]) -> list[Correction]:
    """Return corrections for a drawn description: of keys, or of the span with a number."""
    return [
        corrected(
            number,
            action,
            seen(int(one), trace=drawn[(int(one) - 1) % len(drawn)][2]) if one.isdigit() else one,
            other,
            undoes=undoes if action == "undo" else 0,
        )
        for number, (action, one, other, undoes) in enumerate(said, 1)
    ]


def made(drawn: Drawn) -> list[Span]:
    """Return spans of the small flow for a drawn description; each fifth is no step, but may be linked and link."""
    return [
        Span(
            trace,
            number,
            at(days=day),
            "s.thing.happened" if number % 5 else "",
            keys,
            context={"vendor": scope} if scope else {},
            links=links,
        )
        for number, (keys, scope, trace, day, links) in enumerate(drawn, 1)
    ]


def resolved(
    client: Client, batches: Sequence[Sequence[Span | Correction]], steps_per_cycle: int
) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the engine derives when spans and corrections arrive in these batches."""
    for table in ("otel_traces", "steps", "document_lines", "step_keys", "key_links", "transaction_steps", "parked_steps",
                  "transactions", "transaction_history", "deadlines", "reconciliations", "exceptions", "engine_state",
                  "source_watermarks", "span_links", "corrections"):  # fmt: skip
        client.command(f"TRUNCATE TABLE {table}")
    clock = ManualClock(at(days=60))
    running = Engine(client, [FLOW], clock.now, steps_per_cycle=steps_per_cycle)
    for batch in batches:
        store(client, [arrived for arrived in batch if isinstance(arrived, Span)])
        insert(client, [arrived for arrived in batch if isinstance(arrived, Correction)])
        clock.advance(timedelta(milliseconds=1))
        running.catch_up()
    found = outcome(client)
    return {name: found[name] for name in ("transaction_steps", "parked_steps", "transactions", "exceptions")}


def plain(row: TransactionStep) -> TransactionStep:
    """Return a membership without its version, and without since when it is known, which is when its facts arrived."""
    return replace(row, version=0, known_at=at())


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn_spans, drawn_corrections, st.randoms(use_true_random=False), st.integers(1, 5), st.integers(1, 7))
def test_batches_and_order_change_nothing(
    store_client: Client,
    drawn: Drawn,
    said: Sequence[tuple[str, str, str, int]],
    random: Any,
    batch: int,
    steps_per_cycle: int,
) -> None:
    """Spans and corrections one by one, in batches, in any order or all at once: the same transactions, explanations and
    parked steps, and the same as over the store in memory, with which ``test_engine_orders`` tries thousands of orders."""
    facts: list[Span | Correction] = [*made(drawn), *decided(drawn, said)]
    at_once = resolved(store_client, [facts], 1000)
    random.shuffle(facts)
    pieces = [facts[start : start + batch] for start in range(0, len(facts), batch)]

    assert resolved(store_client, pieces, steps_per_cycle) == at_once
    around = Neighbourhood(store_client)
    traces = {span.id[0] for span in made(drawn)}
    steps, links = around.steps_of_traces(FLOW, traces), around.span_links(traces)
    memory = Tower(1000)
    memory.take([*steps, *links, *(one for one in facts if isinstance(one, Correction))])
    of_store = around.memberships_of_steps(FLOW, [(step.trace_id, step.span_id) for step in steps])
    assert {plain(row) for row in of_store} == {plain(row) for row in memory.memory.rows("transaction_steps")}


def test_an_earlier_link_that_comes_later_explains(store_client: Client) -> None:
    """A step is explained by the first time its link was seen, also when that became known after a later one."""
    spans = made([({"bill": "1"}, "", 1, 0, ()), ({"bill": "1", "order": "1"}, "", 2, 10, ()), ({"bill": "1", "order": "1"}, "", 3, 5, ())])  # fmt: skip
    at_once = resolved(store_client, [spans], 1000)

    assert resolved(store_client, [[span] for span in spans], 1000) == at_once


def test_a_link_that_arrives_last_joins(store_client: Client) -> None:
    """The span that received a message ends after the step in it, and only its link leads to the order."""
    sent = Span(1, 1, at(), "s.thing.happened", {"order": "1"})
    step = Span(2, 2, at(days=1), "s.thing.happened", {})
    received = Span(2, 3, at(days=1), "", {}, links=[(1, 9)])
    other = Span(2, 4, at(days=1), "", {}, links=[(3, 9)])
    elsewhere = Span(3, 5, at(days=2), "s.thing.happened", {"order": "2"})

    joined = resolved(store_client, [[step], [received], [sent]], 1000)
    assert joined == resolved(store_client, [[step, received, sent]], 1000)
    assert [row[1][2] for row in joined["transaction_steps"]] == ["1", "1"]
    assert resolved(store_client, [[sent], [step], [received]], 1000) == joined
    doubtful = resolved(store_client, [[sent, step, received], [elsewhere], [other]], 1000)
    assert [row[1][2] for row in doubtful["transaction_steps"]] == ["1", "2"]
    assert len(doubtful["parked_steps"]) == 1


def test_a_cut_takes_effect_and_its_undo_leaves_nothing(store_client: Client, clock: ManualClock) -> None:
    """A correction moves what it touches in the next cycle, by an engine that started after it, too, and no more when undone."""
    clock.set(at(days=30))
    store(store_client, whole_order())
    running = engine(store_client, clock)
    running.catch_up()
    before = outcome(store_client)

    cut = corrected(1, "cut", "invoice:I-1@V-7", "purchase_order:PO-1@acme", flow=P2P)
    insert(store_client, [cut])
    clock.advance(timedelta(seconds=1))
    running.catch_up()
    assert sorted(rows(store_client, "SELECT anchor.type, steps FROM transactions FINAL")) == [
        ("invoice", 5),
        ("purchase_order", 9),
    ]

    insert(store_client, [corrected(2, "undo", "invoice:I-1@V-7", "purchase_order:PO-1@acme", undoes=1, flow=P2P)])
    clock.advance(timedelta(seconds=1))
    engine(store_client, clock).catch_up()
    assert outcome(store_client) == before
