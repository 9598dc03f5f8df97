"""What the collector counts about itself: every name is declared once, with what to do when it rises."""

import copy
import logging
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

logger = logging.getLogger(__name__)

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Metric: TypeAlias = Literal[
    "requests_accepted",
    "requests_duplicate",
    "requests_refused",
    "request_duration_seconds",
    "body_bytes",
    "items_accepted",
    "items_duplicate",
    "items_rejected",
    "values_redacted",
    "records_trimmed",
    "segments_loaded",
    "rows_loaded",
    "load_duration_seconds",
    "load_failures",
    "load_pauses",
    "segments_refused",
    "series_overflowed",
    "lag_seconds",
    "journal_bytes",
    "journal_budget_bytes",
    "journal_used_bytes",
    "journal_left_bytes",
    "journal_segments",
    "journal_held_segments",
    "journal_failing",
    "volume_free_bytes",
    "quarantine_files",
    "quarantine_bytes",
    "quarantine_rows",
    "load_failing",
    "store_parts",
    "in_flight_bytes",
    "connections",
]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a metric is, and what a reader should do about it."""

    kind: Kind
    meaning: str
    when_it_rises: str
    labels: tuple[str, ...] = ()


DECLARED: Final[Mapping[Metric, Declared]] = {
    "requests_accepted": Declared(
        "counter",
        "requests that are on the disk and were answered so",
        "nothing: it is the work",
        ("signal", "transport"),
    ),
    "requests_duplicate": Declared(
        "counter",
        "of the accepted ones, those that were stored before: their client saw no answer then",
        "look for slow answers (`request_duration_seconds`) and for a network that loses them",
        ("signal", "transport"),
    ),
    "requests_refused": Declared(
        "counter",
        "requests that were not taken, and connections that were cut, by reason",
        "read the reason: `unauthenticated`, `forbidden` and `rate` are about one sender, `overload`, `slow` and "
        "`journal_full` about this machine",
        ("signal", "transport", "reason"),
    ),
    "request_duration_seconds": Declared(
        "histogram",
        "from the whole body to the answer; of accepted requests only, so that quick refusals do not make it look good",
        "look at the disk of the journal (every answer waits for one fsync) and at the load of the processor",
        ("signal", "transport"),
    ),
    "body_bytes": Declared(
        "counter", "bytes of bodies as they came over the network", "nothing: it is the work", ("signal", "transport")
    ),
    "items_accepted": Declared(
        "counter", "spans, log records and data points on the disk", "nothing: it is the work", ("signal", "sender")
    ),
    "items_duplicate": Declared(
        "counter", "items that were sent again and are stored once", "see `requests_duplicate`", ("signal", "sender")
    ),
    "items_rejected": Declared(
        "counter",
        "items left out of accepted requests: without an identity, or not the sender's to send",
        "look at the sender: its answers say what to change",
        ("signal", "sender"),
    ),
    "values_redacted": Declared(
        "counter",
        "what was changed before it was written, of sources of class `phi`: where, and by which rule of the policy",
        "look at what the sender sends: it should not send patients' data at all",
        ("signal", "field", "rule"),
    ),
    "records_trimmed": Declared(
        "counter",
        "records cut to the limits of attributes, events, links and lengths",
        "look at what the sender sends, or raise the limits: what was cut is lost",
        ("signal",),
    ),
    "segments_loaded": Declared("counter", "segments of the journal that are in the store", "nothing", ("signal",)),
    "rows_loaded": Declared("counter", "rows that are in the store", "nothing: it is the work", ("signal",)),
    "load_duration_seconds": Declared(
        "histogram", "time to load a segment, of those that were loaded", "look at the store: it is slower", ("signal",)
    ),
    "load_failures": Declared(
        "counter", "attempts to load that are made again later", "the store is away or too slow", ("signal",)
    ),
    "load_pauses": Declared(
        "counter",
        "times that loading waited for a store with too many parts, so that more is loaded at once",
        "let senders send larger batches, and look at the store's disk: merges do not keep up",
        ("signal",),
    ),
    "segments_refused": Declared(
        "counter",
        "segments that the store refused for good, set aside in quarantine",
        "`controltower quarantine list` says why",
        ("signal",),
    ),
    "series_overflowed": Declared(
        "counter",
        "counts that went to the series `overflow`, because a metric had too many others",
        "fewer tokens, or more than one collector",
        ("metric",),
    ),
    "lag_seconds": Declared(
        "gauge",
        "age of the oldest request that is acknowledged and not in the store",
        "the store is away or slower than the senders: nothing is lost until the journal is full",
        ("signal",),
    ),
    "journal_bytes": Declared("gauge", "bytes that wait to be loaded", "see `lag_seconds`", ("signal",)),
    "journal_budget_bytes": Declared("gauge", "bytes that the journal may use", "it is a setting", ("signal",)),
    "journal_used_bytes": Declared(
        "gauge",
        "bytes of the budget in use: waiting, indexes, quarantine",
        "see `lag_seconds`, and empty the quarantine",
        ("signal",),
    ),
    "journal_left_bytes": Declared(
        "gauge",
        "bytes that can still be taken, by the budget and by what is free on the volume; 0 when requests are refused",
        "when it falls: make room on the volume, or raise the budget",
        ("signal",),
    ),
    "journal_segments": Declared("gauge", "segments that wait to be loaded", "see `lag_seconds`", ("signal",)),
    "journal_held_segments": Declared(
        "gauge", "of these, those that wait for room on the volume to be mended or halved", "make room", ("signal",)
    ),
    "journal_failing": Declared(
        "gauge", "1 when the last write to the journal failed", "read `/readyz`: requests are refused", ("signal",)
    ),
    "volume_free_bytes": Declared(
        "gauge", "bytes that are free on the volume of the journal", "when it falls: make room", ("signal",)
    ),
    "quarantine_files": Declared(
        "gauge", "files set aside in the journal", "`controltower quarantine list` says why", ("signal",)
    ),
    "quarantine_bytes": Declared("gauge", "bytes of these files", "see `quarantine_files`", ("signal",)),
    "quarantine_rows": Declared(
        "gauge", "rows set aside in the store", "`controltower quarantine list` says why", ("signal",)
    ),
    "load_failing": Declared(
        "gauge", "failures in a row to load the segment that is next", "read `/readyz`", ("signal",)
    ),
    "store_parts": Declared(
        "gauge",
        "parts of the partition of the store that has the most, as last seen after a load",
        "inserts are too small or merges too slow; loading slows down by itself, `/readyz` warns",
        ("signal",),
    ),
    "in_flight_bytes": Declared(
        "gauge", "bytes of bodies that are being received", "near its limit, senders are told to come back"
    ),
    "connections": Declared("gauge", "open connections", "near its limit, idle ones are closed", ("transport",)),
}

# Upper bounds in seconds: one fsync of a good disk to the time at which clients give up.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Combinations of labels of one metric: with the closed sets of signals, transports and reasons, 200 senders.
MOST_SERIES: Final = 1_000
OVERFLOW: Final = "overflow"
LOG_EVERY_S: Final = 60.0

Labels: TypeAlias = tuple[str, ...]  # values, in the order of the declaration


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a counter or gauge."""

    metric: Metric
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values fell into each bucket, the last one being without an upper bound."""

    metric: Metric
    labels: dict[str, str]
    counts: tuple[int, ...]
    total: float


@dataclass(slots=True)
class _Observed:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0


Watch: TypeAlias = Callable[[], Iterable[Sample]]


class Metrics:
    """Counters since the start of the process, and gauges read when asked; safe to use from several threads."""

    def __init__(self, *, most_series: int = MOST_SERIES, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Keep at most *most_series* combinations of labels for each metric; the others share one."""
        self._most_series = most_series
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counts: Counter[tuple[Metric, Labels]] = Counter()
        self._observed: dict[tuple[Metric, Labels], _Observed] = {}
        self._series: Counter[Metric] = Counter()
        self._warned_at: dict[Metric, float] = {}
        self._watches: list[Watch] = []
        self._bound: dict[str, str] = {}

    def of(self, **labels: str) -> "Metrics":
        """Return these metrics with *labels* given, for those that have them."""
        bound = copy.copy(self)
        bound._bound = {**self._bound, **labels}
        return bound

    def add(self, metric: Metric, count: int = 1, **labels: str) -> None:
        """Count something; a label that is not given is empty."""
        key = (metric, self._values(metric, labels))
        with self._lock:
            self._counts[self._bounded(key, self._counts)] += count

    def refused(self, reason: str) -> None:
        """Count a refused request, or a connection that was cut, by its reason."""
        self.add("requests_refused", reason=reason)

    def observe(self, metric: Metric, seconds: float, **labels: str) -> None:
        """Add a value to a histogram."""
        key = (metric, self._values(metric, labels))
        with self._lock:
            observed = self._observed.setdefault(self._bounded(key, self._observed), _Observed())
            observed.counts[bisect_left(BUCKETS, seconds)] += 1
            observed.total += seconds

    def watch(self, source: Watch) -> None:
        """Ask *source* for gauges whenever they are read; it must not block for long."""
        self._watches.append(source)

    def counters(self) -> list[Sample]:
        """Return every counter that was counted, with its labels."""
        with self._lock:
            counted = list(self._counts.items())
        return [Sample(metric, named(metric, values), count) for (metric, values), count in counted]

    def gauges(self) -> list[Sample]:
        """Return every gauge as it is now."""
        return [sample for watch in tuple(self._watches) for sample in watch()]

    def histograms(self) -> list[Histogram]:
        """Return every histogram in which something was observed."""
        with self._lock:
            return [
                Histogram(metric, named(metric, values), tuple(observed.counts), observed.total)
                for (metric, values), observed in self._observed.items()
            ]

    def snapshot(self) -> dict[str, int | dict[str, int]]:
        """Return every counter without its labels, and refusals by reason."""
        totals: Counter[str] = Counter()
        refusals: Counter[str] = Counter()
        for sample in self.counters():
            totals[sample.metric] += int(sample.value)
            if sample.metric == "requests_refused":
                refusals[sample.labels["reason"]] += int(sample.value)
        counters = (name for name in METRICS if DECLARED[name].kind == "counter")
        return {**{name: totals[name] for name in counters}, "refusals": dict(refusals)}

    def _values(self, metric: Metric, labels: Mapping[str, str]) -> Labels:
        declared = DECLARED[metric].labels
        unknown = labels.keys() - set(declared)
        if unknown:
            raise ValueError(f"{metric} has no label {sorted(unknown)}")
        return tuple(labels[name] if name in labels else self._bound.get(name, "") for name in declared)

    def _bounded(
        self, key: tuple[Metric, Labels], known: Mapping[tuple[Metric, Labels], object]
    ) -> tuple[Metric, Labels]:
        """Return *key*, or that of the overflow when the metric has its series; with the lock held."""
        metric, values = key
        if key in known:
            return key
        if self._series[metric] < self._most_series:
            self._series[metric] += 1
            return key
        self._counts["series_overflowed", (metric,)] += 1
        self._warn(metric)
        return metric, (OVERFLOW,) * len(values)

    def _warn(self, metric: Metric) -> None:
        now = self._monotonic()
        if now - self._warned_at.get(metric, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._warned_at[metric] = now
            logger.warning("%s has %s series; what is new is counted as %r", metric, self._most_series, OVERFLOW)


def named(metric: Metric, values: Labels) -> dict[str, str]:
    """Return *values* by the names of the labels of *metric*."""
    return dict(zip(DECLARED[metric].labels, values, strict=True))
