"""Transactions on their way along the legs of a flow: what each fault does, what shares a document, what a number goes through."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from random import Random

import pytest

from controltower.cli.demo.journey import (
    Fault,
    Journey,
    Leg,
    Together,
    Traveller,
    alike,
    as_one,
    minutes,
    next_time,
    same,
)
from controltower.cli.demo.model import BusinessStep, Plan, PlannedSpan
from controltower.cli.demo.plan import numbers_for
from controltower.cli.demo.published import anchor
from controltower.cli.demo.rates import no_faults
from controltower.cli.demo.simulation import Simulation
from controltower.cli.demo.tape import Tape
from controltower.cli.demo.travelling import travel
from controltower.cli.demo.world import make_world

MONDAY = datetime(2026, 11, 16, 15, tzinfo=UTC)
FLOW = "cycle_count"
HOUR = timedelta(hours=1)


def travelled(legs: tuple[Leg, ...], *travellers: Traveller) -> Plan:
    """Send transactions along *legs* and return what is told of it."""
    sim = Simulation(
        seed=1,
        start=MONDAY,
        orders_until=MONDAY + timedelta(days=30),
        rates=no_faults(journeys=1.0),
        world=make_world(Random("world")),
        tape=Tape(Random("ids"), MONDAY + timedelta(days=60)),
        numbers=numbers_for(1),
    )
    travel(sim, Journey(FLOW, legs), travellers)
    return sim.tape.plan(1, (FLOW,))


def count(number: str, lines: tuple[str, ...] = (), at: datetime = MONDAY) -> Traveller:
    """Return a count that is about to start."""
    keys = {"count": (number,), "count_line": lines}
    return Traveller(FLOW, anchor(FLOW, "count", number, {}), at, keys, {"warehouse": "WH-1"}, Decimal(100))


def leg(code: str, *faults: Fault, **given: object) -> Leg:
    """Return a leg that takes an hour."""
    wanted = {"keys": ("count",), "when": minutes(60, 60), "interface": "counts", "faults": faults, **given}
    return Leg(code, "warehouse", **{"style": "api", **wanted})  # type: ignore[arg-type]


def told(plan: Plan, code: str) -> list[tuple[PlannedSpan, BusinessStep]]:
    """Return what is told of a step, in order of time."""
    return sorted(((span, step) for _, span, step in plan.steps() if step.code == code), key=lambda each: each[0].start)


STARTED = leg("inv.count.started")
APPROVED = "inv.count.approved"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("none", 0.0, "lost"), [(2, "ok", "")]),
        (Fault("x", 1.0, "lost"), []),
        (Fault("x", 1.0, "late", minutes(180, 180)), [(5, "ok", "")]),
        (Fault("x", 1.0, "early", minutes(-30, -30)), [(0.5, "ok", "")]),
        (Fault("x", 1.0, "duplicate", minutes(60, 60)), [(2, "ok", ""), (3, "duplicate", "")]),
        (Fault("x", 1.0, "repeated", minutes(60, 60)), [(2, "ok", ""), (3, "ok", "")]),
        (Fault("x", 1.0, "rejected", minutes(60, 60)), [(2, "rejected", ""), (3, "ok", "")]),
        (Fault("x", 1.0, "rejected", minutes(60, 60), never=1.0), [(2, "rejected", "")]),
        (Fault("x", 1.0, "failed", minutes(60, 60)), [(2, "ok", "MappingError"), (3, "ok", "")]),
        (Fault("x", 1.0, "changed", outcome="exception"), [(2, "exception", "")]),
    ],
)
def test_what_a_fault_does(fault: Fault, expected: list[tuple[float, str, str]]) -> None:
    """Each effect shows at its time, with its outcome or error; the next leg follows what is right in the end."""
    plan = travelled((STARTED, leg(APPROVED, fault), leg("inv.count.adjusted")), count("C-1"))
    seen = [(span.start, step.outcome, span.error) for span, step in told(plan, APPROVED)]
    right = [at for at, outcome, error in seen if outcome == "ok" and not error][:1] or [MONDAY + 2 * HOUR]
    (adjusted,) = told(plan, "inv.count.adjusted")

    assert seen == [(MONDAY + at * HOUR, outcome, error) for at, outcome, error in expected]
    assert adjusted[0].start == right[0] + HOUR
    assert plan.faults["x"] == (1 if fault.name == "x" else 0)


def test_a_replay_names_the_attempt_that_failed() -> None:
    """What comes again after a failure says of what it is the replay."""
    plan = travelled((leg(APPROVED, Fault("x", 1.0, "failed", minutes(60, 60))),), count("C-1"))
    (failed, first), (_, again) = told(plan, APPROVED)

    assert again.replay_of == "-".join(failed.ref)
    assert first.context["dlq"]


def test_nothing_follows_the_end() -> None:
    """A transaction that is over goes no further; of one number that is over the others go on."""
    lost = Fault("x", 1.0, "lost", ends=True)
    over = travelled((leg(APPROVED, lost), leg("inv.count.adjusted")), count("C-1"))
    first_line = Fault("x", 1.0, "lost", ends=True, applies=lambda each: len(each.keys["count_line"]) == 2)
    each = {"each": "count_line", "keys": ("count_line",)}
    lines = travelled(
        (leg("inv.count_line.counted", first_line, **each), leg("inv.count.adjusted", **each)), count("C-1", ("1", "2"))
    )

    assert over.steps() == []
    assert len(told(lines, "inv.count.adjusted")) == len(told(lines, "inv.count_line.counted")) < 2


def test_what_shares_a_document_and_a_step() -> None:
    """What is alike and ready before a cut-off leaves in one trace, with a step for each or one for all."""
    both = (count("C-1"), count("C-2", at=MONDAY + HOUR))
    cutoffs = (time(18, 0),)
    one_each = travelled((leg(APPROVED, together=Together(alike("warehouse"), cutoffs)),), *both)
    for_all = travelled((leg(APPROVED, together=as_one(alike("warehouse"))),), *both)
    apart = travelled((leg(APPROVED, together=as_one(same("count"))),), *both)

    assert [len(each.spans) for each in one_each.traces] == [3]
    assert {span.start - next_time(MONDAY, *cutoffs) < HOUR for span, _ in told(one_each, APPROVED)} == {True}
    assert [step.keys["count"] for _, step in told(for_all, APPROVED)] == [("C-1", "C-2")]
    assert [step.amount for _, step in told(for_all, APPROVED)] == [Decimal(200)]
    assert len(apart.traces) == 2


def test_a_message_leads_to_the_step_that_reads_it() -> None:
    """A step that reads from a queue is linked to the message of its own transaction there."""
    plan = travelled(
        (leg("inv.count.started", publishes="started"), leg(APPROVED, style="event", interface="started")),
        count("C-1"),
        count("C-2"),
    )
    sent = {trace.spans[-1].ref: trace.spans[1].step for trace in plan.traces if trace.spans[-1].kind == "producer"}
    read = [trace for trace in plan.traces if trace.spans[0].kind == "consumer"]

    assert len(read) == len(sent) == 2
    for trace in read:
        (link,) = trace.spans[0].links
        asked, found = trace.spans[1].step, sent[link]
        assert asked is not None
        assert found is not None
        assert asked.keys == found.keys
