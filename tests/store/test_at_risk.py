"""Deadlines at risk: what the past of a rule and of a counterparty says of those that run."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from controltower.store.client import Client
from controltower.store.flows.deadlines import Circumstances, Course, Member
from controltower.store.flows.files import parse_flow
from controltower.store.flows.neighbourhood import ENOUGH_DECIDED, ENOUGH_LATE, Neighbourhood
from controltower.store.flows.transaction import Verdict, judge
from controltower.store.rows import Deadline, DeadlineState, Key, TransactionState
from controltower.store.write import insert
from tests.conftest import ManualClock
from tests.factories import deadline, membership, step
from tests.store.flow_steps import START
from tests.store.memory import Memory, engine_over
from tests.store.test_silence import span

FLOW = parse_flow(
    """
flow: calls
version: 1
title: Calls
prefix: c
anchors: [order]
counterparty: vendor
keys: {order: {}}
stages:
  - {name: sent, step: c.sent}
  - {name: answered, step: c.answered, final: true}
sla:
  - {name: answer, from: sent, to: answered, within: 100 hours}
""",
    "calls.yaml",
)
HOUR = timedelta(hours=1)
ALL, V7 = Course("calls", "answer", ""), Course("calls", "answer", "V-7")


def judged(hours: float, at_risk_from: dict[Course, float]) -> Verdict:
    """Return the verdict on an order to the vendor V-7 that was sent so many hours ago."""
    key = Key("order", "", "1")
    sent = step(flow="calls", step="c.sent", stage="sent", at=START, keys=(key,), context={"vendor": "V-7"})
    around = Circumstances(at_risk_from=at_risk_from)
    return judge(FLOW, key, [Member(sent, membership(sent, key))], {}, START + hours * HOUR, 1, around)


@pytest.mark.parametrize(
    ("hours", "past", "state", "turns_at"),
    [
        (39, {}, DeadlineState.RUNNING, 100),
        (39, {ALL: 0.4}, DeadlineState.RUNNING, 40),
        (40, {ALL: 0.4}, DeadlineState.AT_RISK, 100),
        (40, {ALL: 0.4, V7: 0.5}, DeadlineState.RUNNING, 50),
        (40, {ALL: 1.0, V7: 0.0}, DeadlineState.AT_RISK, 100),
        (100, {ALL: 0.4}, DeadlineState.BREACHED, None),
    ],
)
def test_at_risk_from_a_part_of_its_time_on(
    hours: float, past: dict[Course, float], state: DeadlineState, turns_at: float | None
) -> None:
    """The counterparty's own past counts where there is one; time alone makes a deadline at risk, and then breaks it."""
    found = judged(hours, past)
    (row,) = found.deadlines

    assert (row.state, row.counterparty) == (state, "V-7")
    assert found.transaction.evaluate_at == (None if turns_at is None else START + turns_at * HOUR)
    if state is not DeadlineState.BREACHED:
        assert (found.transaction.state, found.exceptions) == (TransactionState.IN_PROGRESS, ())
        assert (found.transaction.open_deadlines, found.transaction.next_due_at) == (1, START + 100 * HOUR)


def test_the_engine_looks_again_when_the_past_says_more() -> None:
    """What runs becomes at risk when its time comes, and when the past that is asked once an hour says so; both are told."""
    clock = ManualClock(START)
    memory = Memory(clock.now)
    engine = engine_over(memory, FLOW, clock.now, 100)
    memory.arrive([span(1, 1, "sent", START, "erp")])
    engine.catch_up()
    states = []
    for hours, part in ((50, 1.0), (51, 0.6), (59, 0.6), (60, 0.6), (61, 0.7), (100, 0.7)):
        memory.at_risk_from = {ALL: part}
        clock.set(START + hours * HOUR)
        engine.catch_up()
        states.append(str(memory.rows("deadlines")[0].state))

    assert states == ["running", "running", "running", "at risk", "at risk", "breached"]
    told = [row.verdicts.get("deadline: answer") for row in memory.rows("transaction_history")]
    assert told == [None, "at risk", "breached"]


def past(vendor: str, parts: Iterable[float], *, start: int) -> list[Deadline]:
    """Return decided deadlines, each met after that part of its time, or broken when it is infinite."""
    rows = []
    for number, part in enumerate(parts, start):
        met = None if part == float("inf") else START + part * 100 * HOUR
        state = DeadlineState.BREACHED if met is None else DeadlineState.MET if part <= 1 else DeadlineState.MET_LATE
        own: dict[str, Any] = {
            "flow": "calls",
            "rule": "answer",
            "counterparty": vendor,
            "anchor": Key("order", "", str(number)),
        }
        rows.append(deadline(**own, from_at=START, due_at=START + 100 * HOUR, met_at=met, state=state))
    return rows


def expected(parts: list[float]) -> float | None:
    """Return by the plain definition from which hundredth on at least half of those still open was late."""
    late = sum(part > 1 for part in parts)
    if len(parts) < ENOUGH_DECIDED or late < ENOUGH_LATE:
        return None
    return next(n / 100 for n in range(102) if 2 * late >= sum(part > n / 100 for part in parts))


def test_the_past_is_counted_in_the_store(store_client: Client) -> None:
    """Over a real store: by rule, and by counterparty where enough was decided and late; what runs is found by it."""
    chance = Random(7)
    parts = {
        "V-1": [chance.random() for _ in range(40)] + [1.5] * 3 + [float("inf")] * 4,
        "V-2": [chance.random() / 2 for _ in range(60)] + [2.0] * ENOUGH_LATE,
        "V-3": [0.2] * 10 + [1.01] * 30,  # late as a rule: at risk from the beginning
        "V-4": [-0.5, 0.0, 1.0] + [0.9] * (ENOUGH_DECIDED - 3),  # never late
        "V-5": [3.0] * (ENOUGH_DECIDED - 1),  # too few
    }
    rows: list[Deadline] = []
    for vendor, own in parts.items():
        rows += past(vendor, own, start=len(rows))
    running = [
        replace(rows[0], anchor=Key("order", "", f"running {vendor}"), counterparty=vendor, met_at=None,
                state=DeadlineState.RUNNING, from_at=START + 150 * HOUR, due_at=START + 250 * HOUR)
        for vendor in (*parts, "V-6")
    ]  # fmt: skip
    insert(store_client, [*rows, *running])
    around, now = Neighbourhood(store_client), START + 200 * HOUR

    found = around.at_risk_from([FLOW], now)
    wanted = {Course("calls", "answer", vendor): expected(own) for vendor, own in parts.items()}
    wanted[ALL] = expected([part for own in parts.values() for part in own])
    assert found == {course: part for course, part in wanted.items() if part is not None}

    circumstances = Circumstances(at_risk_from=found)
    assert around.at_risk(found, now, 100) == [
        ("calls", row.anchor)
        for row in running
        if circumstances.part_at_risk("calls", "answer", row.counterparty) <= 0.5
    ]
    assert around.at_risk_from([FLOW], START + 1_000_000 * HOUR) == {}
