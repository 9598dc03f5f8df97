"""Deadlines whose source is silent: unknown until it is heard of, and one exception for the source."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controltower.cli.path import path
from controltower.cli.shapes import transaction_of
from controltower.store.client import Client
from controltower.store.errors import FlowError
from controltower.store.flows.classify import SpanRow
from controltower.store.flows.deadlines import Circumstances, Member
from controltower.store.flows.engine import Engine
from controltower.store.flows.files import parse_flow
from controltower.store.flows.silence import of_source, silences
from controltower.store.flows.transaction import Verdict, judge
from controltower.store.reads.overview import overview
from controltower.store.reads.transaction import read_transaction
from controltower.store.rows import DeadlineState, ExceptionRow, Key, TransactionState
from tests.conftest import ManualClock
from tests.factories import membership, step
from tests.store.calls import Calls
from tests.store.flow_steps import START
from tests.store.spans import Span, store

TEXT = """
flow: calls
version: 1
title: Calls
prefix: c
anchors: [order]
keys: {order: {}}
sources:
  edi: {silent_after: 2 hours, severity: page}
  fax: {silent_after: 1 business hour, calendar: office}
stages:
  - {name: sent, step: c.sent}
  - {name: answered, step: c.answered, told_by: [edi, fax], final: true}
sla:
  - {name: answer, from: sent, to: answered, within: 4 hours}
calendars:
  office: {time_zone: UTC, hours: "09:00-10:00"}
"""
FLOW = parse_flow(TEXT, "calls.yaml")
ANCHOR = Key("order", "", "1")
DUE = START + timedelta(hours=4)
HOUR = timedelta(hours=1)


def judged(now: datetime, *stages: tuple[str, datetime], **heard: datetime) -> Verdict:
    """Return the verdict on an order that was sent, and what else became of it."""
    steps = [
        step(flow="calls", step=f"c.{stage}", stage=stage, at=at, keys=(ANCHOR,))
        for stage, at in (("sent", START), *stages)
    ]
    return judge(
        FLOW, ANCHOR, [Member(one, membership(one, ANCHOR)) for one in steps], {}, now, 1, Circumstances(heard)
    )


@pytest.mark.parametrize(
    ("now", "heard", "state", "source"),
    [
        (DUE - HOUR, {"edi": START}, DeadlineState.RUNNING, ""),
        (DUE + HOUR, {"edi": DUE - HOUR}, DeadlineState.UNKNOWN, "edi"),
        (DUE + HOUR, {"edi": DUE, "fax": DUE}, DeadlineState.BREACHED, ""),
        (DUE + HOUR, {"edi": DUE, "fax": DUE - HOUR}, DeadlineState.UNKNOWN, "fax"),
        (DUE + HOUR, {"edi": DUE - HOUR, "fax": DUE - 2 * HOUR}, DeadlineState.UNKNOWN, "edi"),
        (DUE + HOUR, {"erp": DUE, "edi": DUE}, DeadlineState.UNKNOWN, "fax"),  # which was never heard of
    ],
)
def test_late_or_unknown(now: datetime, heard: dict[str, datetime], state: DeadlineState, source: str) -> None:
    """What is over is broken only when every source that would tell was heard of since it was due."""
    (row,) = judged(now, **heard).deadlines

    assert (row.state, row.source) == (state, source)


def test_what_is_unknown_needs_nobody() -> None:
    """An unknown deadline is open, and neither an exception nor money at stake of the transaction."""
    found = judged(DUE + HOUR, edi=DUE - HOUR)

    assert found.exceptions == ()
    assert (found.transaction.state, found.transaction.open_deadlines) == (TransactionState.IN_PROGRESS, 1)
    assert (found.transaction.breached_deadlines, found.transaction.at_stake) == (0, 0)
    late = judged(DUE + HOUR, ("answered", DUE + HOUR), edi=DUE - HOUR)
    assert late.deadlines[0].state is DeadlineState.MET_LATE


def silent(heard: dict[str, datetime], known: Mapping[Key, ExceptionRow], now: datetime) -> list[ExceptionRow]:
    """Return what must be written of the sources; those that are not named were heard of just now."""
    return silences(FLOW, {"edi": now, "fax": now, **heard}, known, now, 1, in_force_at=START)


def test_a_source_is_silent_once() -> None:
    """A silence begins on the source's own calendar, is written once, and ends when the source is heard of."""
    key, now = of_source("edi"), START + timedelta(hours=3)
    (row,) = silent({"edi": START}, {}, now)
    assert (row.anchor, row.opened_at, row.severity) == (key, START + timedelta(hours=2), "page")
    assert "edi is silent since 2026-03-02 09:00 UTC" in row.detail

    assert silent({"edi": START}, {key: row}, now + HOUR) == []
    (over,) = silent({"edi": now}, {key: row}, now + HOUR)
    assert (over.resolved_at, over.is_deleted) == (now, False)
    assert silent({"edi": now}, {key: over}, now + HOUR) == []
    (again,) = silent({"edi": now}, {key: over}, now + 5 * HOUR)
    assert (again.opened_at, again.resolved_at) == (now + 2 * HOUR, None)


def test_a_silence_that_never_was_is_retracted() -> None:
    """What comes late may say that the source was heard of before it counted as silent."""
    key = of_source("edi")
    (row,) = silent({"edi": START}, {}, START + 2 * HOUR)
    (none,) = silent({"edi": START + HOUR}, {key: row}, START + 2 * HOUR)

    assert none.is_deleted


def test_a_source_that_never_spoke_is_silent_since_the_flow_is_in_force() -> None:
    """A name that is wrong makes itself heard instead of hiding what is late."""
    (row,) = silences(FLOW, {"fax": START + 3 * HOUR}, {}, START + 3 * HOUR, 1, in_force_at=START)

    assert (row.anchor, row.opened_at) == (of_source("edi"), START + 2 * HOUR)


def test_nights_are_no_silence() -> None:
    """A source with a calendar is silent after so many of its open hours."""
    evening = START.replace(hour=9, minute=30)

    assert silent({"fax": evening}, {}, START.replace(hour=23)) == []
    (row,) = silent({"fax": evening}, {}, START + timedelta(days=1, hours=1))
    assert row.opened_at == START.replace(day=3, hour=9, minute=30)


@pytest.mark.parametrize(
    ("was", "instead", "problem"),
    [
        ("told_by: [edi, fax]", "told_by: [tty]", "tty is not one of the sources"),
        (", calendar: office}", "}", "needs a calendar"),
    ],
)
def test_sources_that_cannot_be_meant(was: str, instead: str, problem: str) -> None:
    """A stage is told by sources that are declared, and business time needs a calendar."""
    with pytest.raises(FlowError, match=problem):
        parse_flow(TEXT.replace(was, instead), "calls.yaml")


def span(number: int, order: int, stage: str, at: datetime, system: str) -> SpanRow:
    """Return a span of a system: a step of an order, or a sign of life when it names no stage."""
    said = {"controltower.step": f"c.{stage}", "controltower.key.order": str(order)} if stage else {}
    return SpanRow(f"{number:032x}", f"{number:016x}", system, "work", at, 1, False, said, (), at)


def test_the_source_speaks_again() -> None:
    """Deadlines that became unknown are judged when their source is heard of, by a span that is no step, and told in the
    history; the source is one exception meanwhile."""
    calls = Calls(FLOW)
    calls.take(
        [span(1, 1, "sent", START, "edi"), span(2, 2, "sent", START, "erp"), span(3, 0, "", START, "edi")], START
    )
    calls.take([span(7, 0, "", DUE + HOUR, "fax")], DUE + HOUR)
    assert calls.states() == {"1": "unknown", "2": "unknown"}
    assert [row.kind for row in calls.rows("exceptions")] == ["silent"]

    calls.take([span(4, 0, "", DUE - HOUR, "edi")], DUE + 2 * HOUR)  # what it says now is from before
    assert calls.states() == {"1": "unknown", "2": "unknown"}
    calls.take([span(5, 1, "answered", DUE - HOUR, "edi"), span(6, 0, "", DUE + HOUR, "edi")], DUE + 2 * HOUR)
    assert calls.states() == {"1": "met", "2": "breached"}
    assert [(row.kind, row.resolved_at is None) for row in calls.rows("exceptions")] == [
        ("deadline", True),
        ("silent", False),
    ]
    assert calls.rows("awaited_deadlines") == []
    told = [
        row.verdicts.get("deadline: answer")
        for row in calls.memory.rows("transaction_history")
        if row.anchor.value == "2"
    ]
    assert [verdict for verdict in told if verdict] == ["unknown", "breached"]


def test_nobody_is_called_silent_right_after_a_start() -> None:
    """Senders that waited for a tower that was away deliver what they kept; who says nothing then is silent."""
    calls = Calls(FLOW)
    calls.take([span(1, 0, "", START, "edi"), span(2, 0, "", START, "fax")], START)
    calls.clock.set(START + 5 * HOUR)
    calls.restart()
    calls.take([], START + 5 * HOUR)
    assert calls.rows("exceptions") == []

    calls.take([span(3, 0, "", START + 4 * HOUR, "edi")], START + 5 * HOUR + timedelta(minutes=1))
    calls.take([], START + 5 * HOUR + timedelta(minutes=5))
    assert [row.anchor.value for row in calls.rows("exceptions")] == ["fax"]


events = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(("sent", "answered", "")), st.integers(0, 12), st.sampled_from(("edi", "fax", "erp"))),
    min_size=1,
    max_size=8,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    events,
    st.randoms(use_true_random=False),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 12)), min_size=1, max_size=4),
)
def test_order_and_restarts_change_no_deadline(
    drawn: list[tuple[int, str, int, str]], random: Any, batches: list[tuple[int, int]]
) -> None:
    """Whatever came first, and wherever the engine was cut off: what is late, unknown and waited for is the same in the end."""
    end = START + timedelta(hours=14)
    spans = [
        span(number, order, stage, START + timedelta(hours=hours), system)
        for number, (order, stage, hours, system) in enumerate(drawn, 1)
    ]
    at_once = Calls(FLOW)
    at_once.take(spans, end)
    settled = end + timedelta(minutes=5)
    at_once.take([], settled)
    random.shuffle(spans)
    calls = Calls(FLOW)
    calls.take_piecemeal(spans, batches, START + timedelta(hours=12), end)
    calls.take([], settled)

    for table in ("deadlines", "transactions"):
        assert calls.rows(table) == at_once.rows(table), table
    waited = {row.anchor for row in calls.rows("deadlines") if row.source}
    assert waited <= {row.anchor for row in calls.rows("awaited_deadlines")}  # one too many is looked at once more
    found, expected = (
        [row for row in each.rows("exceptions") if row.kind != "silent" or row.resolved_at is None]
        for each in (calls, at_once)
    )
    assert found == expected


def test_readers_are_told_who_is_silent(store_client: Client, clock: ManualClock) -> None:
    """Over a real store: `trace` says since when the source is silent, the overview counts, and the source heard again ends it."""
    sent = Span(1, 1, START, "c.sent", {"order": "1"}, "erp")
    alive = [Span(2, 2, START, "", {}, "edi"), Span(3, 3, DUE + 2 * HOUR, "", {}, "fax")]
    store(store_client, [sent, *alive])
    clock.set(DUE + 2 * HOUR)
    running = Engine(store_client, [FLOW], clock.now)
    running.catch_up()

    view = read_transaction(store_client, "calls", ANCHOR)
    assert view is not None
    assert view.heard == {"edi": START}
    assert "source edi silent since 2026-03-02 09:00" in path(view, clock.now())
    assert transaction_of(view)["deadlines"][0]["silent_since"] == "2026-03-02T09:00:00Z"  # type: ignore[index,call-overload]  # JSON
    (rule,) = overview(store_client, clock.now(), START, DUE).breaches
    assert (rule.breached, rule.unknown, rule.running) == (0, 1, 0)

    store(store_client, [Span(4, 4, DUE + HOUR, "", {}, "edi")])
    running.catch_up()
    view = read_transaction(store_client, "calls", ANCHOR)
    assert view is not None
    assert [row.state for row in view.deadlines] == [DeadlineState.BREACHED]
    assert store_client.command("SELECT count() FROM awaited_deadlines FINAL") == 0
