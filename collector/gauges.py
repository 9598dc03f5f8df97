"""Gauges of the collector, read from what they are about: right from the first moment on, also after a restart."""

import time
from collections.abc import Callable, Iterator, Mapping

from controltower.collector.health import lag_of
from controltower.collector.metrics import Metric, Sample, Watch
from controltower.tracer.journal import Journal, JournalStats


def of_journals(journals: Mapping[str, Journal], clock: Callable[[], int] = time.time_ns) -> Watch:
    """Return what reads the gauges of *journals*, by signal."""

    def read() -> Iterator[Sample]:
        now_ns = clock()
        for signal, journal in journals.items():
            for metric, value in _of(journal.stats(), now_ns).items():
                yield Sample(metric, {"signal": signal}, value)

    return read


def of_number(metric: Metric, number: Callable[[], float], **labels: str) -> Watch:
    """Return what reads one gauge from *number*."""
    return lambda: [Sample(metric, labels, number())]


def _of(stats: JournalStats, now_ns: int) -> dict[Metric, float]:
    values: dict[Metric, float] = {
        "lag_seconds": lag_of(stats, now_ns),
        "journal_bytes": stats.bytes,
        "journal_budget_bytes": stats.budget_bytes,
        "journal_used_bytes": stats.used_bytes,
        "journal_left_bytes": stats.left_bytes,
        "journal_segments": stats.segments,
        "journal_held_segments": stats.held_segments,
        "journal_failing": float(stats.last_error is not None),
        "quarantine_files": stats.quarantined_files,
        "quarantine_bytes": stats.quarantined_bytes,
    }
    return values if stats.free_bytes is None else {**values, "volume_free_bytes": stats.free_bytes}
