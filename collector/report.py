"""The collector's numbers into the store, so that they can be seen where the telemetry is."""

from collections.abc import Callable, Iterator
from datetime import datetime

from controltower.collector.metrics import DECLARED, Metric, Metrics, Sample
from controltower.collector.otlp import SIGNALS
from controltower.store.client import Client
from controltower.store.collector_rows import CollectorSample
from controltower.store.quarantine import count_quarantined
from controltower.store.write import insert

Key = tuple[Metric, tuple[str, ...]]


class Reporter:
    """Writes what was counted since it last did, and gauges as they are; for one thread.

    What could not be written is told the next time. Histograms stay where they are: /metrics has them.
    """

    def __init__(self, metrics: Metrics, collector: str, clock: Callable[[], datetime]) -> None:
        """Report as *collector*, which names host and port."""
        self._metrics = metrics
        self._collector = collector
        self._clock = clock
        self._told: dict[Key, float] = {}
        self._quarantined: tuple[Sample, ...] = ()
        metrics.watch(lambda: self._quarantined)

    def report(self, client: Client) -> int:
        """Write one round and return its rows. Raises StoreError and the engine's errors."""
        self._quarantined = _quarantined(client)
        counted = {_key(sample): sample for sample in self._metrics.counters()}
        samples = [*self._metrics.gauges(), *self._added(counted)]
        at = self._clock()
        insert(client, [_row(sample, self._collector, at) for sample in samples])
        self._told = {key: sample.value for key, sample in counted.items()}
        return len(samples)

    def _added(self, counted: dict[Key, Sample]) -> Iterator[Sample]:
        for key, sample in counted.items():
            added = sample.value - self._told.get(key, 0.0)
            if added:
                yield Sample(sample.metric, sample.labels, added)


def _quarantined(client: Client) -> tuple[Sample, ...]:
    """Return how many rows wait in the store's quarantine, by signal."""
    rows = dict.fromkeys(SIGNALS, 0)
    for found in count_quarantined(client):
        rows[found.signal] += found.rows
    return tuple(Sample("quarantine_rows", {"signal": signal}, number) for signal, number in rows.items())


def _key(sample: Sample) -> Key:
    return sample.metric, tuple(sample.labels[label] for label in DECLARED[sample.metric].labels)


def _row(sample: Sample, collector: str, at: datetime) -> CollectorSample:
    labels = dict(sample.labels)
    signal, reason = labels.pop("signal", ""), labels.pop("reason", "")
    return CollectorSample(at, collector, sample.metric, signal, reason, sample.value, labels)
