"""Liveness and readiness: what an orchestrator asks, and what an operator reads first."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from controltower.collector.metrics import Metrics
from controltower.collector.settings import Settings
from controltower.tracer.journal import Journal, JournalStats
from controltower.tracer.journal.room import HALF, NEARLY_FULL


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the collector does its whole job, why not, and the numbers behind it."""

    ready: bool
    problems: list[str]
    warnings: list[str]  # what will become a problem when nobody looks
    journals: dict[str, JournalStats]  # by signal
    lag_s: float  # age of the oldest body that is acknowledged and not loaded
    metrics: dict[str, int | dict[str, int]]

    def as_json(self) -> dict[str, object]:
        """Return it as an object for JSON."""
        return asdict(self)


class Health:
    """Looks at the journals and the store when asked."""

    def __init__(
        self,
        settings: Settings,
        journals: Mapping[str, Journal],
        metrics: Metrics,
        store_problem: Callable[[], str | None],
        clock: Callable[[], int] = time.time_ns,
        *,
        store_warning: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Ask *store_problem* whether the store can be reached: None, or what is wrong. It may block.

        *store_warning* tells what slows the store down.
        """
        self._settings = settings
        self._journals = journals
        self._metrics = metrics
        self._store_problem = store_problem
        self._store_warning = store_warning
        self._clock = clock

    def readiness(self) -> Readiness:
        """Return how things stand; blocks as long as asking the store does."""
        now_ns = self._clock()
        stats = {signal: journal.stats() for signal, journal in self._journals.items()}
        lag_s = max((lag_of(each, now_ns) for each in stats.values()), default=0.0)
        problems = [
            problem for signal, each in stats.items() for problem in self._journal_problems(signal, each, now_ns)
        ]
        problems += filter(None, [self._store_problem()])
        warnings = [*_half_full(stats), *filter(None, [self._store_warning()])]
        return Readiness(not problems, problems, warnings, stats, round(lag_s, 3), self._metrics.snapshot())

    def _journal_problems(self, signal: str, stats: JournalStats, now_ns: int) -> list[str]:
        problems = []
        lag_s = lag_of(stats, now_ns)
        if stats.last_error is not None:
            problems.append(f"The journal of {signal} cannot be written: {stats.last_error}.")
        if stats.left_bytes < min(self._settings.segment_bytes, stats.budget_bytes):
            problems.append(f"The journal of {signal} has {stats.left_bytes} bytes left; requests are refused.")
        elif stats.fullness >= NEARLY_FULL:
            problems.append(f"The journal of {signal} has used {stats.fullness:.0%} of its room.")
        if lag_s > self._settings.ready_lag_s:
            problems.append(f"The oldest request of {signal} that is not loaded is {lag_s:.0f} s old.")
        return problems


def _half_full(stats: Mapping[str, JournalStats]) -> list[str]:
    return [
        f"The journal of {signal} has used {each.fullness:.0%} of its room: look why it is not loaded."
        for signal, each in stats.items()
        if HALF <= each.fullness < NEARLY_FULL
    ]


def lag_of(stats: JournalStats, now_ns: int) -> float:
    """Return the age in seconds of the oldest body that is acknowledged and not loaded; 0 when all are."""
    return 0.0 if stats.oldest_received_ns is None else max(0.0, (now_ns - stats.oldest_received_ns) / 1e9)
