"""Points of metrics are loaded exactly, into the exporter's five tables."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
    Summary,
    SummaryDataPoint,
)

from controltower.store.errors import LoadError
from controltower.store.loader import Segment, load_segment
from controltower.store.quarantine import QuarantineFilter, retry_quarantined
from tests.store.otlp import DAY_NS, NOON_NS, SECOND_NS, Loading, Value, array, attributes, pairs, record
from tests.store.otlp_text import text_of
from tests.store.test_load_values import CONTAINERS, SCALARS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
START_NS = NOON_NS - SECOND_NS
KINDS = ("gauge", "sum", "histogram", "exp_histogram", "summary")
TABLES = tuple(f"otel_metrics_{kind}" for kind in KINDS)
UINT64_MAX = 2**64 - 1
Buckets = ExponentialHistogramDataPoint.Buckets
ValueAtQuantile = SummaryDataPoint.ValueAtQuantile
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
UNKNOWN = cast("AggregationTemporality.ValueType", 9)  # a number that has no name yet

EXEMPLAR = Exemplar(
    time_unix_nano=NOON_NS,
    as_int=-3,
    span_id=b"\x02" * 8,
    trace_id=b"\x01" * 16,
    filtered_attributes=attributes([("f", array("x"))]),
)
EXEMPLARS = {
    "Exemplars.FilteredAttributes": [{"f": '["x"]'}],
    "Exemplars.TimeUnix": [NOON],
    "Exemplars.Value": [-3.0],
    "Exemplars.SpanId": ["02" * 8],
    "Exemplars.TraceId": ["01" * 16],
}


def point(have: Mapping[str, Value] | None = None, **changes: Any) -> dict[str, Any]:
    """Return what points of every kind have."""
    named = attributes((have or {"k": "v"}).items())
    return {"start_time_unix_nano": START_NS, "time_unix_nano": NOON_NS, "attributes": named, "flags": 1} | changes


def gauge(*points: NumberDataPoint, name: str = "gauge") -> Metric:
    """Return a gauge."""
    return Metric(name=name, description="what it is", unit="1", gauge=Gauge(data_points=points))


def number(**changes: Any) -> NumberDataPoint:
    """Return a number."""
    return NumberDataPoint(**(point() | changes))


def metrics(*of: Metric) -> ExportMetricsServiceRequest:
    """Return a request with the metrics of one service."""
    made = ExportMetricsServiceRequest()
    resource = made.resource_metrics.add(schema_url="urn:resource")
    resource.resource.attributes.extend(attributes([("service.name", "erp")]))
    scope = resource.scope_metrics.add(schema_url="urn:scope", metrics=of)
    scope.scope.name, scope.scope.version, scope.scope.dropped_attributes_count = "sdk", "1.2", 3
    scope.scope.attributes.extend(attributes([("s", 1)]))
    return made


def every_kind() -> list[Metric]:
    """Return a metric of each kind, with all its fields."""
    totals: dict[str, Any] = {"count": 4, "sum": 2.5}
    histogram = HistogramDataPoint(
        **point(), **totals, min=0.25, max=1.5, bucket_counts=[1, 3], explicit_bounds=[0.5], exemplars=[EXEMPLAR]
    )
    exponential = ExponentialHistogramDataPoint(
        **point(),
        **totals,
        min=-1.0,
        max=1.5,
        scale=-2,
        zero_count=1,
        zero_threshold=0.125,
        positive=Buckets(offset=-7, bucket_counts=[1, 0, 2**63]),
        negative=Buckets(offset=8, bucket_counts=[5]),
        exemplars=[EXEMPLAR],
    )
    summary = SummaryDataPoint(
        **point(),
        **totals,
        quantile_values=[ValueAtQuantile(quantile=0.5, value=1.5), ValueAtQuantile(quantile=1.0, value=9.0)],
    )
    return [
        gauge(number(as_double=7.5, exemplars=[EXEMPLAR])),
        Metric(
            name="sum",
            description="what it is",
            unit="1",
            sum=Sum(
                data_points=[number(as_int=7, exemplars=[EXEMPLAR])],
                aggregation_temporality=CUMULATIVE,
                is_monotonic=True,
            ),
        ),
        Metric(
            name="histogram",
            description="what it is",
            unit="1",
            histogram=Histogram(data_points=[histogram], aggregation_temporality=DELTA),
        ),
        Metric(
            name="exp_histogram",
            description="what it is",
            unit="1",
            exponential_histogram=ExponentialHistogram(data_points=[exponential], aggregation_temporality=UNKNOWN),
        ),
        Metric(name="summary", description="what it is", unit="1", summary=Summary(data_points=[summary])),
    ]


COMMON: dict[str, Any] = {
    "ResourceAttributes": {"service.name": "erp"},
    "ResourceSchemaUrl": "urn:resource",
    "ScopeName": "sdk",
    "ScopeVersion": "1.2",
    "ScopeAttributes": {"s": "1"},
    "ScopeDroppedAttrCount": 3,
    "ScopeSchemaUrl": "urn:scope",
    "ServiceName": "erp",
    "MetricDescription": "what it is",
    "MetricUnit": "1",
    "Attributes": {"k": "v"},
    "StartTimeUnix": datetime(2026, 1, 1, 11, 59, 59, tzinfo=UTC),
    "TimeUnix": NOON,
    "Flags": 1,
}
OWN: dict[str, dict[str, Any]] = {
    "gauge": {"Value": 7.5, "IntValue": None, **EXEMPLARS},
    "sum": {"Value": 7.0, "IntValue": 7, "AggregationTemporality": 2, "IsMonotonic": True, **EXEMPLARS},
    "histogram": {
        "Count": 4,
        "Sum": 2.5,
        "BucketCounts": [1, 3],
        "ExplicitBounds": [0.5],
        "Min": 0.25,
        "Max": 1.5,
        "AggregationTemporality": 1,
        **EXEMPLARS,
    },
    "exp_histogram": {
        "Count": 4,
        "Sum": 2.5,
        "Scale": -2,
        "ZeroCount": 1,
        "ZeroThreshold": 0.125,
        "PositiveOffset": -7,
        "PositiveBucketCounts": [1, 0, 2**63],
        "NegativeOffset": 8,
        "NegativeBucketCounts": [5],
        "Min": -1.0,
        "Max": 1.5,
        "AggregationTemporality": 9,
        **EXEMPLARS,
    },
    "summary": {
        "Count": 4,
        "Sum": 2.5,
        "ValueAtQuantiles.Quantile": [0.5, 1.0],
        "ValueAtQuantiles.Value": [1.5, 9.0],
    },
}


def test_a_point_of_each_kind_has_the_exporters_columns(loading: Loading) -> None:
    """All columns of the five tables hold what the Collector's exporter would write, and each kind has its table."""
    token = loading.load_signal("metrics", metrics(*every_kind()))

    for kind, table in zip(KINDS, TABLES, strict=True):
        expected = {**COMMON, "MetricName": kind, **OWN[kind]}
        (row,) = loading.read(table, token, *(f"`{name}`" for name in expected))
        assert dict(zip(expected, row, strict=True)) == expected, kind


def test_points_of_many_metrics_keep_apart(loading: Loading) -> None:
    """Kinds mixed in one request do not take each other's values, labels or exemplars."""
    many = [
        gauge(*(number(as_int=n, exemplars=[EXEMPLAR] * (n % 3), **labelled(n)) for n in range(10)), name="g1"),
        *every_kind(),
        gauge(*(number(as_int=n, **labelled(n)) for n in range(10, 13)), name="g2"),
    ]

    token = loading.load_signal("metrics", metrics(*many))

    where = (
        "MetricName",
        "IntValue",
        "Attributes['n']",
        "length(Exemplars.Value)",
        "length(`Exemplars.FilteredAttributes`)",
    )
    rows = [row for row in loading.read("otel_metrics_gauge", token, *where, order="IntValue") if row[0] != "gauge"]
    assert rows == [
        ("g1" if n < 10 else "g2", n, str(n), n % 3 if n < 10 else 0, n % 3 if n < 10 else 0) for n in range(13)
    ]


def labelled(number: int) -> dict[str, Any]:
    """Return the attributes of a point that tell its number."""
    return {"attributes": attributes([("n", number)])}


def test_numbers_are_exact(loading: Loading) -> None:
    """Whole numbers keep all their digits beside the exporter's double; doubles may be no number at all."""
    wholes = [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)]
    doubles = [-0.0, 5e-324, math.inf, -math.inf, math.nan]
    points = [number(as_int=n, time_unix_nano=NOON_NS + at) for at, n in enumerate(wholes)]
    points += [number(as_double=n, time_unix_nano=NOON_NS + 10 + at) for at, n in enumerate(doubles)]
    points.append(number(time_unix_nano=NOON_NS + 20, flags=0xFFFFFFFF))  # no value was recorded

    token = loading.load_signal("metrics", metrics(gauge(*points)))

    rows = loading.read("otel_metrics_gauge", token, "IntValue", "Value", "Flags", order="TimeUnix")
    assert [whole for whole, _, _ in rows] == [*wholes, *[None] * 6]
    assert [repr(value) for _, value, _ in rows[:5]] == [repr(float(n)) for n in wholes]
    assert [repr(value) for _, value, _ in rows[5:10]] == [repr(n) for n in doubles]
    assert rows[10][1:] == (0.0, 0xFFFFFFFF)


def test_attributes_are_exact_for_every_value(loading: Loading) -> None:
    """Values print as those of spans do; of containers, one level is JSON and what is deeper is there as bytes."""
    values = [given for given, _ in SCALARS] + [given for given, _ in CONTAINERS]
    points = [number(as_int=n, attributes=attributes([("v", given)])) for n, given in enumerate(values)]

    token = loading.load_signal("metrics", metrics(gauge(*points)))

    rows = loading.read("otel_metrics_gauge", token, "Attributes['v']", order="IntValue")
    assert [text for (text,) in rows] == [text for _, text in SCALARS] + [text_of(of, 1) for of, _ in CONTAINERS]


def test_labels_in_another_order_are_the_same_labels(loading: Loading) -> None:
    """Keys are sorted, so that one series is one series."""
    labels: list[tuple[str, Value]] = [("b", 1), ("a", pairs(("z", 1))), ("c", "x")]
    points = [number(as_int=n, attributes=attributes(labels[n:] + labels[:n])) for n in range(3)]

    token = loading.load_signal("metrics", metrics(gauge(*points)))

    assert loading.read("otel_metrics_gauge", token, "uniqExact(Attributes)", order="1") == [(1,)]


def test_odd_and_impossible_times(loading: Loading) -> None:
    """What is odd stands at its receipt, marked; what a broken clock dated is in quarantine, and the good is stored."""
    times = [
        (START_NS, NOON_NS),
        (0, NOON_NS),
        (START_NS, 0),
        (START_NS, NOON_NS - 3660 * DAY_NS),
        (START_NS, 1),
        (START_NS, UINT64_MAX),
        (1, NOON_NS),
        (UINT64_MAX, NOON_NS),
    ]
    points = [number(as_int=n, start_time_unix_nano=a, time_unix_nano=b) for n, (a, b) in enumerate(times)]

    token = loading.load_signal("metrics", metrics(gauge(*points)))

    what = "IntValue", "TimeQuality", "TimeUnix", "SentStartUnixNano", "SentUnixNano"
    assert loading.read("otel_metrics_gauge", token, *what, order="IntValue") == [
        (0, "", NOON, 0, 0),
        (1, "", NOON, 0, 0),
        (2, "time_missing", NOON, START_NS, 0),
        (3, "time_implausible", NOON, START_NS, NOON_NS - 3660 * DAY_NS),
    ]
    assert loading.read("otel_metrics_quarantine", token, "Kind", *what, order="IntValue") == [
        ("gauge", 4, "time_too_early", NOON, START_NS, 1),
        ("gauge", 5, "time_too_late", NOON, START_NS, UINT64_MAX),
        ("gauge", 6, "start_too_early", NOON, 1, NOON_NS),
        ("gauge", 7, "start_too_late", NOON, UINT64_MAX, NOON_NS),
    ]


def test_a_retry_puts_each_kind_into_its_table(loading: Loading) -> None:
    """What waits in quarantine is of all kinds, and goes where its kind belongs."""
    late = every_kind()
    for metric in late:
        getattr(metric, metric.WhichOneof("data") or "").data_points[0].time_unix_nano = UINT64_MAX
    token = loading.load_signal("metrics", metrics(*late))

    stored = retry_quarantined(loading.client, QuarantineFilter("metrics", segment=token))

    assert stored == len(KINDS)
    for table in TABLES:
        assert loading.read(table, token, "TimeQuality", "TimeUnix") == [("time_too_late", NOON)]


def test_points_load_once(loading: Loading) -> None:
    """The token loads once, in all tables, and for what is in quarantine."""
    content = metrics(*every_kind(), gauge(number(time_unix_nano=1)))
    token = loading.load_signal("metrics", content)

    again = [load_segment(loading.client, Segment(token, "metrics", loading.folder / token)) for _ in range(2)]

    assert again == [0, 0]
    assert [len(loading.read(table, token, "1")) for table in (*TABLES, "otel_metrics_quarantine")] == [1] * 6


def test_a_metric_of_two_kinds_is_refused_for_good(loading: Loading) -> None:
    """Bytes that say both gauge and sum contradict themselves: nothing of them is stored."""
    both = gauge(number(as_int=1)).SerializeToString() + every_kind()[1].SerializeToString()
    stand_in = Metric(name="x" * (len(both) - 2))
    body = metrics(stand_in).SerializeToString().replace(stand_in.SerializeToString(), both)
    if len(stand_in.SerializeToString()) != len(both):
        stand_in = Metric(name="x" * (len(both) - 3))
        body = metrics(stand_in).SerializeToString().replace(stand_in.SerializeToString(), both)

    with pytest.raises(LoadError) as refused:
        load_segment(loading.client, loading.segment(record(body), signal="metrics"))

    assert refused.value.permanent


@pytest.mark.parametrize("kind", KINDS)
def test_the_exporters_insert_fits(loading: Loading, kind: str) -> None:
    """A stock Collector writes by column name; our columns get their defaults."""
    table = f"otel_metrics_{kind}"
    exporters = {**COMMON, "MetricName": "stock", **OWN[kind]}
    exporters = {name: of for name, of in exporters.items() if name not in ("IntValue", "ZeroThreshold")}
    loading.client.insert(table, [list(exporters.values())], column_names=list(exporters), settings={"async_insert": 0})

    where = "WHERE MetricName = 'stock'"
    rows = loading.client.query(f"SELECT TimeUnix, TenantId, IngestedAt > now() - 60 FROM {table} {where}").result_rows

    assert rows == [(NOON, "", 1)]
