"""The engine over a memory, as spans arrive and it is cut off and started again; for tests of what becomes of deadlines."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from controltower.store.flows.classify import SpanRow
from controltower.store.flows.definition import Flow
from tests.conftest import ManualClock
from tests.store.flow_steps import START
from tests.store.memory import CutOffError, Memory, engine_over


class Calls:
    """The engine over a memory."""

    def __init__(self, flow: Flow, *others: Flow) -> None:
        self.flow, self.others = flow, others
        self.clock = ManualClock(START)
        self.memory = Memory(self.clock.now)
        self.restart()

    def restart(self) -> None:
        """Start another engine over what is stored."""
        self.engine = engine_over(self.memory, self.flow, self.clock.now, 2, *self.others)

    def take(self, spans: Sequence[SpanRow], at: datetime, cut_at: int = 0) -> None:
        """Let *spans* arrive, and the engine take them at *at*; it is cut off at an insert and started again."""
        self.clock.set(at)
        self.memory.arrive(spans)
        if cut_at:
            self.memory.inserts_left = cut_at
            with suppress(CutOffError):
                self.engine.catch_up()
            self.memory.inserts_left = None
            self.restart()
        self.engine.catch_up()

    def take_piecemeal(
        self, spans: Sequence[SpanRow], batches: Sequence[tuple[int, int]], begin: datetime, end: datetime
    ) -> None:
        """Let *spans* arrive in *batches*, again and again, each of a size and cut off at an insert (0: at none): one every
        ten minutes from *begin* on, none later than *end*."""
        now, left = begin, list(spans)
        while left:
            for size, cut_at in batches:
                now = min(end, now + timedelta(minutes=10))
                self.take(left[:size], now, cut_at)
                del left[:size]
        self.take([], end)

    def rows(self, table: str) -> list[Any]:
        """Return a table's rows of the flow without versions."""
        own = (row for row in self.memory.rows(table) if row.flow == self.flow.flow)
        return sorted((replace(row, version=0) for row in own), key=repr)

    def states(self) -> dict[str, str]:
        """Return order -> the state of its deadline."""
        return {row.anchor.value: row.state.value for row in self.rows("deadlines")}
