"""Liveness and readiness: what an orchestrator asks, and what an operator reads first."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from controltower.collector.metrics import Metrics
from controltower.collector.settings import Settings
from controltower.tracer.journal import Journal, JournalStats


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the collector does its whole job, why not, and the numbers behind it."""

    ready: bool
    problems: list[str]
    journal: JournalStats
    lag_s: float  # age of the oldest body that is acknowledged and not loaded
    metrics: dict[str, int | dict[str, int]]

    def as_json(self) -> dict[str, object]:
        """Return it as an object for JSON."""
        return asdict(self)


class Health:
    """Looks at the journal and the store when asked."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        metrics: Metrics,
        store_problem: Callable[[], str | None],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Ask *store_problem* whether the store can be reached: None, or what is wrong. It may block."""
        self._settings = settings
        self._journal = journal
        self._metrics = metrics
        self._store_problem = store_problem
        self._clock = clock

    def readiness(self) -> Readiness:
        """Return how things stand; blocks as long as asking the store does."""
        stats = self._journal.stats()
        lag_s = lag_of(stats, self._clock())
        problems = [problem for problem in (*self._journal_problems(stats, lag_s), self._store_problem()) if problem]
        return Readiness(not problems, problems, stats, round(lag_s, 3), self._metrics.snapshot())

    def _journal_problems(self, stats: JournalStats, lag_s: float) -> list[str]:
        problems = []
        if stats.last_error is not None:
            problems.append(f"The journal cannot be written: {stats.last_error}.")
        if stats.bytes + stats.quarantined_bytes + self._settings.segment_bytes > stats.budget_bytes:
            problems.append(f"The journal has used its {stats.budget_bytes} bytes.")
        if lag_s > self._settings.ready_lag_s:
            problems.append(f"The oldest request that is not loaded is {lag_s:.0f} s old.")
        return problems


def lag_of(stats: JournalStats, now_ns: int) -> float:
    """Return the age in seconds of the oldest body that is acknowledged and not loaded; 0 when all are."""
    return 0.0 if stats.oldest_received_ns is None else max(0.0, (now_ns - stats.oldest_received_ns) / 1e9)
