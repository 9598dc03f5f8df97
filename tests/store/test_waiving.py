"""Deadlines that a person waives: like other corrections in any order, and taken back as if nobody had said it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controltower.store.rows import Correction, CorrectionAction, Key
from tests.conftest import ManualClock
from tests.store.flow_steps import START
from tests.store.memory import Memory, engine_over
from tests.store.test_at_risk import FLOW
from tests.store.test_silence import span

HOUR = timedelta(hours=1)
DUE = START + 100 * HOUR


def said(number: int, hours: float, order: str = "1", *, undoes: int = 0) -> Correction:
    """Return a waiver of an order's answer, or the undoing of one."""
    return Correction(
        id=f"w{number}",
        flow="calls",
        action=CorrectionAction.UNDO if undoes else CorrectionAction.WAIVE,
        key=Key("order", "", order),
        trace_id="",
        span_id="",
        other=Key("", "", "answer"),
        undoes=f"w{undoes}" if undoes else "",
        user="ana",
        reason="they called",
        at=START + hours * HOUR,
    )


class Desk:
    """An engine over a memory, and people who waive."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.memory = Memory(self.clock.now)
        self.engine = engine_over(self.memory, FLOW, self.clock.now, 100)

    def at(self, hours: float, *facts: Any) -> list[str]:
        """Let facts come at that time; return the states of the deadlines and what is open or resolved."""
        self.clock.set(START + hours * HOUR)
        self.memory.arrive([fact for fact in facts if not isinstance(fact, Correction)])
        self.memory.say(fact for fact in facts if isinstance(fact, Correction))
        self.engine.catch_up()
        exceptions = ["open" if row.resolved_at is None else "resolved" for row in self.memory.rows("exceptions")]
        return [row.state.value for row in self.memory.rows("deadlines")] + exceptions


SENT = span(1, 1, "sent", START, "erp")
ANSWERED = span(2, 1, "answered", START + 110 * HOUR, "erp")


def test_a_waiver_before_it_is_due_leaves_nothing_to_break() -> None:
    """Time passes by a deadline that was waived; the row says who and why."""
    desk = Desk()

    assert desk.at(1, SENT) == ["running"]
    assert desk.at(2, said(1, 2)) == ["waived"]
    assert desk.at(200) == ["waived"]
    (row,) = desk.memory.rows("deadlines")
    assert (row.waived_by, row.waived_why, row.at_stake) == ("ana", "they called", 0)
    (transaction,) = desk.memory.rows("transactions")
    assert (transaction.open_deadlines, transaction.evaluate_at) == (0, None)


def test_what_was_late_is_resolved_and_not_retracted() -> None:
    """A breach that is waived was one: its exception ends with the waiver, and its history keeps both verdicts."""
    desk = Desk()

    assert desk.at(101, SENT) == ["breached", "open"]
    assert desk.at(102, said(1, 102)) == ["waived", "resolved"]
    (row,) = desk.memory.rows("exceptions")
    assert (row.resolved_at, row.detail) == (
        START + 102 * HOUR,
        "answered was due within 100 hours and was waived by ana.",
    )
    told = [row.verdicts.get("deadline: answer") for row in desk.memory.rows("transaction_history")]
    assert told == ["breached", "waived"]
    assert desk.at(103, said(2, 103, undoes=1)) == ["breached", "open"]
    assert desk.memory.rows("deadlines")[0].waived_by == ""


def test_what_is_met_is_met() -> None:
    """An answer that comes after all is what happened, whoever waived it."""
    desk = Desk()

    assert desk.at(102, SENT, said(1, 2)) == ["waived"]
    assert desk.at(111, ANSWERED) == ["met late", "resolved"]
    assert desk.memory.rows("deadlines")[0].waived_by == ""


def test_the_waiver_of_another_order_is_none() -> None:
    """A waiver is about one transaction, which need not be known yet."""
    desk = Desk()

    assert desk.at(1, SENT, said(1, 1, "2")) == ["running"]
    assert desk.at(2, span(3, 2, "sent", START, "erp")) == ["running", "waived"]


FACTS: list[Callable[[], Any]] = [
    lambda: SENT,
    lambda: ANSWERED,
    lambda: said(1, 50),
    lambda: said(2, 120),
    lambda: said(3, 130, undoes=1),
    lambda: said(4, 140, undoes=2),
    lambda: span(3, 2, "sent", START, "erp"),
    lambda: said(5, 101, "2"),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(FACTS) - 1), unique=True, min_size=1), st.integers(1, 3))
def test_order_changes_nothing(order: list[int], batch: int) -> None:
    """Steps and waivers one by one or all at once, in any order: the same deadlines and exceptions."""
    facts = [FACTS[number]() for number in order]
    at_once, desk = Desk(), Desk()
    at_once.at(201, *sorted(facts, key=repr))
    for start in range(0, len(facts), batch):
        desk.at(200 + start / 100, *facts[start : start + batch])
    desk.at(201)

    for table in ("deadlines", "exceptions", "transactions"):
        found, expected = (
            sorted(
                repr({**{name: getattr(row, name) for name in row.__dataclass_fields__}, "version": 0})
                for row in each.memory.rows(table)
            )
            for each in (desk, at_once)
        )
        assert found == expected, table
