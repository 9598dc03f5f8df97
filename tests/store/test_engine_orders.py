"""The engine over a store in memory: whatever the order, the batches and the restarts, the result is that of the rules."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controltower.store.flows.classify import SpanRow
from controltower.store.rows import Correction, SpanLink, Step
from tests.conftest import ManualClock
from tests.store.flow_steps import FLOW, START, corrected, resolve_all, seen
from tests.store.memory import CutOffError, Memory, engine_over
from tests.store.test_resolve import Decided, Described, built, decided, some_corrections, some_links, some_steps

Fact = Step | SpanLink | Correction


def span_of(step: Step) -> SpanRow:
    """Return a span that is *step*; its keys stand on lines, where each may have a scope of its own."""
    lines = [
        {f"controltower.key.{key.type}": key.value, f"controltower.scope.{key.type}": key.scope} for key in step.keys
    ]
    return SpanRow(
        step.trace_id, step.span_id, step.system, step.step, step.at, 1, False, {"controltower.step": step.step}, tuple(lines), step.at
    )  # fmt: skip


class Tower:
    """An engine over a memory; it may be cut off and started again."""

    def __init__(self, steps_per_cycle: int) -> None:
        self.clock = ManualClock(START + timedelta(days=200))
        self.memory = Memory(self.clock.now)
        self._steps_per_cycle = steps_per_cycle
        self.restart()

    def restart(self) -> None:
        """Start another engine over what is stored."""
        self._engine = engine_over(self.memory, FLOW, self.clock.now, self._steps_per_cycle)

    def take(self, facts: Iterable[Fact], *, cut_at: int = 0) -> None:
        """Let *facts* arrive and the engine take them. The process ends at insert *cut_at* and starts again; at a negative
        one only the store fails, and the same engine goes on."""
        arrived = list(facts)
        self.memory.arrive(
            [span_of(one) for one in arrived if isinstance(one, Step)],
            [one for one in arrived if isinstance(one, SpanLink)],
        )
        self.memory.say(one for one in arrived if isinstance(one, Correction))
        self.clock.advance(timedelta(milliseconds=1))
        if cut_at:
            self.memory.inserts_left = abs(cut_at) - 1
            with suppress(CutOffError):
                self._engine.catch_up()
            self.memory.inserts_left = None
            if cut_at > 0:
                self.restart()
        self._engine.catch_up()

    def derived(self) -> dict[str, list[Any]]:
        """Return all that is derived, without versions and times of knowing."""
        found = {}
        for table in ("transaction_steps", "parked_steps", "transactions", "exceptions", "deadlines", "key_links"):
            rows = (replace(row, version=0) for row in self.memory.rows(table))
            found[table] = sorted(
                (replace(row, known_at=START) if hasattr(row, "known_at") else row for row in rows), key=repr
            )
        return found

    def resolved(self) -> dict[int, object]:
        """Return the place and the explanation of each step, by its number."""
        found: dict[int, object] = {}
        for row in self.memory.rows("parked_steps"):
            found[int(row.span_id, 16)] = row.state, row.reason, row.candidates
        for row in sorted(self.memory.rows("transaction_steps"), key=lambda row: row.anchor):
            found.setdefault(int(row.span_id, 16), []).append((row.anchor, row.evidence, row.via, row.through))  # type: ignore[attr-defined]
        return found


def by_the_rules(steps: Sequence[Step], links: Sequence[SpanLink], said: Sequence[Correction]) -> dict[int, object]:
    """Return what the rules say when all is known, in the same shape."""
    return {
        number: tuple(found.parked) if found.parked else [tuple(member) for member in found.memberships]
        for number, found in resolve_all(steps, links, said).items()
    }


batches = st.lists(st.tuples(st.integers(1, 5), st.one_of(st.just(0), st.integers(-12, 12))), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(some_steps, some_links, some_corrections, st.randoms(use_true_random=False), batches, st.integers(1, 7))
def test_order_batches_and_restarts_change_nothing(
    described: Described,
    links: list[SpanLink],
    drawn: Decided,
    random: Any,
    sizes: list[tuple[int, int]],
    steps_per_cycle: int,
) -> None:
    """Steps, links and corrections in any order and batches, by engines that are cut off anywhere: every place and every
    explanation is what the rules say over all of it at once, and so is what follows from them."""
    steps = built(described)
    said = decided(steps, drawn)
    facts: list[Fact] = [*steps, *links, *said]
    random.shuffle(facts)
    tower = Tower(steps_per_cycle)
    while facts:
        for size, cut_at in sizes:
            tower.take(facts[:size], cut_at=cut_at)
            del facts[:size]
    at_once = Tower(1000)
    at_once.take([*steps, *links, *said])

    assert tower.resolved() == by_the_rules(steps, links, said)
    assert tower.derived() == at_once.derived()


def taken(*lots: Sequence[Fact]) -> dict[int, object]:
    """Return what an engine says that takes these lots one after the other, after checking it against the rules."""
    tower = Tower(1000)
    for lot in lots:
        tower.take(lot)
    facts = [fact for lot in lots for fact in lot]
    assert tower.resolved() == by_the_rules(
        [one for one in facts if isinstance(one, Step)], [], [one for one in facts if isinstance(one, Correction)]
    )
    return tower.resolved()


def test_a_confirmed_key_leads_on_later() -> None:
    """A step that was confirmed for a bill, which it does not carry, moves with the bill to its order, and to its scope."""
    step = seen(1)
    confirmed = corrected(1, "confirm", step, "bill:1")

    assert "order" in repr(taken([step, confirmed], [seen(2, "bill:1", "order:1")])[1])
    assert "scope='a'" in repr(taken([step, confirmed], [seen(2, "bill:1@a")])[1])


def test_a_link_that_was_taken_away_hides_no_later_one() -> None:
    """The second step that says a link is the first, where a person said that the one before it says nothing of the kind."""
    bill, wrong, right = seen(1, "bill:1"), seen(2, "bill:1", "order:1", day=1), seen(3, "bill:1", "order:1", day=2)
    cut = corrected(1, "cut", wrong, "order:1")

    assert "order" in repr(taken([bill, wrong, cut], [right])[1])


@pytest.mark.parametrize("cut_at", [*range(1, 13), *range(-12, 0)])
def test_a_step_that_changes_its_place_is_never_lost(cut_at: int) -> None:
    """A step that a second bill in its trace parks, and one that its bill's order takes up, are found again after a cycle
    that ended between its old place and its new one."""
    steps = [seen(1, trace=1), seen(2, "bill:1", trace=1), seen(3, trace=2)]
    more = [seen(4, "bill:2", trace=1), seen(5, "order:1", trace=2)]
    tower = Tower(1000)
    tower.take(steps)
    tower.take(more, cut_at=cut_at)

    assert tower.resolved() == by_the_rules([*steps, *more], [], [])
