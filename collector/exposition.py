"""The collector's metrics in the text format of Prometheus."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from controltower.collector.metrics import BUCKETS, DECLARED, METRICS, Declared, Histogram, Metrics, Sample
from controltower.collector.metrics import Metric as Name

PREFIX: Final = "controltower_collector_"
MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _Families(Collector):
    """The declared metrics with what was counted, for a registry of their own: the library's own is the process's."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        counters, gauges = self._metrics.counters(), self._metrics.gauges()
        histograms = self._metrics.histograms()
        for name in METRICS:
            declared = DECLARED[name]
            if declared.kind == "histogram":
                yield _histogram(name, declared, [one for one in histograms if one.metric == name])
            else:
                samples = counters if declared.kind == "counter" else gauges
                yield _family(name, declared, [sample for sample in samples if sample.metric == name])


def exposition(metrics: Metrics) -> bytes:
    """Return *metrics* as a scrape wants them; reading the gauges looks at the journals."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(metrics))
    return generate_latest(registry)


def full_name(name: Name) -> str:
    """Return the name of a metric as Prometheus shows it."""
    return PREFIX + name + ("_total" if DECLARED[name].kind == "counter" else "")


def _family(name: Name, declared: Declared, samples: list[Sample]) -> Metric:
    shape = CounterMetricFamily if declared.kind == "counter" else GaugeMetricFamily
    family = shape(PREFIX + name, declared.meaning, labels=declared.labels)
    for sample in samples:
        family.add_metric([sample.labels[label] for label in declared.labels], sample.value)
    if not samples and not declared.labels:
        family.add_metric([], 0.0)
    return family


def _histogram(name: Name, declared: Declared, histograms: list[Histogram]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, declared.meaning, labels=declared.labels)
    for histogram in histograms:
        family.add_metric(
            [histogram.labels[label] for label in declared.labels], _buckets(histogram.counts), histogram.total
        )
    return family


def _buckets(counts: tuple[int, ...]) -> list[tuple[str, float]]:
    """Return the cumulative counts, each with its upper bound."""
    bounds = [*(repr(bound) for bound in BUCKETS), "+Inf"]
    return [(bound, float(sum(counts[: position + 1]))) for position, bound in enumerate(bounds)]
