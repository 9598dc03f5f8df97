"""Points of metrics: their messages, their inbox, and the view that makes rows of the five tables of them.

The five kinds of points have most of their fields in common, and a metric has points of one kind only (the reader
refuses a second). So their columns are put behind each other for a metric, and joined and printed once for all kinds;
what a kind does not have is filled up. Decoded rows are as wide as all kinds together: each table takes its own.
"""

from typing import Final

from controltower.store.otlp import ENVELOPE, Column, array, attributes, fields, inbox
from controltower.store.otlp import proto as messages
from controltower.store.otlp_rows import MAP, NAME, OURS, OURS_OF, TEXT, TIME, Rows, Target, steps
from controltower.store.otlp_view import RECEIVED, Level, attribute_maps, view
from controltower.store.times import moment_quality

DEPTH: Final = 1
"""Levels of containers that are printed as JSON; below, a value is its bytes in base64. Points rarely have any."""

KINDS: Final = {"g": "gauge", "s": "sum", "h": "histogram", "e": "exponential_histogram", "m": "summary"}
"""A letter for the columns of each kind, and its name in OTLP."""

_KIND: Final = (
    "Enum8('none' = 0, 'gauge' = 5, 'sum' = 7, 'histogram' = 9, 'exponential_histogram' = 10, 'summary' = 11)"
)
_PROTO: Final = f"""\
message Resource {{ repeated KeyValue attributes = 1; }}
message Scope {{
  string name = 1;
  string version = 2;
  repeated KeyValue attributes = 3;
  uint32 dropped_attributes_count = 4;
}}
message Exemplar {{
  fixed64 time_unix_nano = 2;
  oneof value {{
    double as_double = 3;
    sfixed64 as_int = 6;
  }}
  bytes span_id = 4;
  bytes trace_id = 5;
  repeated KeyValue filtered_attributes = 7;
}}
message NumberDataPoint {{
  fixed64 start_time_unix_nano = 2;
  fixed64 time_unix_nano = 3;
  oneof value {{
    double as_double = 4;
    sfixed64 as_int = 6;
  }}
  repeated Exemplar exemplars = 5;
  repeated KeyValue attributes = 7;
  uint32 flags = 8;
}}
message HistogramDataPoint {{
  fixed64 start_time_unix_nano = 2;
  fixed64 time_unix_nano = 3;
  fixed64 count = 4;
  double sum = 5;
  repeated fixed64 bucket_counts = 6;
  repeated double explicit_bounds = 7;
  repeated Exemplar exemplars = 8;
  repeated KeyValue attributes = 9;
  uint32 flags = 10;
  double min = 11;
  double max = 12;
}}
message Buckets {{ sint32 offset = 1; repeated uint64 bucket_counts = 2; }}
message ExponentialHistogramDataPoint {{
  repeated KeyValue attributes = 1;
  fixed64 start_time_unix_nano = 2;
  fixed64 time_unix_nano = 3;
  fixed64 count = 4;
  double sum = 5;
  sint32 scale = 6;
  fixed64 zero_count = 7;
  Buckets positive = 8;
  Buckets negative = 9;
  uint32 flags = 10;
  repeated Exemplar exemplars = 11;
  double min = 12;
  double max = 13;
  double zero_threshold = 14;
}}
message ValueAtQuantile {{ double quantile = 1; double value = 2; }}
message SummaryDataPoint {{
  fixed64 start_time_unix_nano = 2;
  fixed64 time_unix_nano = 3;
  fixed64 count = 4;
  double sum = 5;
  repeated ValueAtQuantile quantile_values = 6;
  repeated KeyValue attributes = 7;
  uint32 flags = 8;
}}
message Gauge {{ repeated NumberDataPoint data_points = 1; }}
message Sum {{ repeated NumberDataPoint data_points = 1; int32 aggregation_temporality = 2; bool is_monotonic = 3; }}
message Histogram {{ repeated HistogramDataPoint data_points = 1; int32 aggregation_temporality = 2; }}
message ExponentialHistogram {{
  repeated ExponentialHistogramDataPoint data_points = 1;
  int32 aggregation_temporality = 2;
}}
message Summary {{ repeated SummaryDataPoint data_points = 1; }}
message Metric {{
  string name = 1;
  string description = 2;
  string unit = 3;
  oneof data {{
    Gauge gauge = 5;
    Sum sum = 7;
    Histogram histogram = 9;
    ExponentialHistogram exponential_histogram = 10;
    Summary summary = 11;
  }}
}}
message ScopeMetrics {{ Scope scope = 1; repeated Metric metrics = 2; string schema_url = 3; }}
message ResourceMetrics {{ Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; string schema_url = 3; }}
message MetricsData {{
  repeated ResourceMetrics resource_metrics = 1;
{ENVELOPE}}}
"""

_METRIC: Final = (
    ("metric_name", "name", "String"),
    ("metric_description", "description", "String"),
    ("metric_unit", "unit", "String"),
    ("kind", "data", _KIND),
    ("s_temporality", "sum.aggregation_temporality", "Int32"),
    ("h_temporality", "histogram.aggregation_temporality", "Int32"),
    ("e_temporality", "exponential_histogram.aggregation_temporality", "Int32"),
    ("monotonic", "sum.is_monotonic", "Bool"),
)
_NUMBER: Final = (
    ("v", "value", "Enum8('n' = 0, 'd' = 4, 'i' = 6)"),
    ("vd", "as_double", "Float64"),
    ("vi", "as_int", "Int64"),
)
_COMMON: Final = (
    ("start", "start_time_unix_nano", "UInt64"),
    ("time", "time_unix_nano", "UInt64"),
    ("flags", "flags", "UInt32"),
)
_TOTALS: Final = (("count", "count", "UInt64"), ("sum", "sum", "Float64"))
_EXTREMES: Final = (("min", "min", "Float64"), ("max", "max", "Float64"))
_POINT: Final = {
    "g": _NUMBER,
    "s": _NUMBER,
    "h": (
        *_TOTALS,
        *_EXTREMES,
        ("bucket_counts", "bucket_counts", "Array(UInt64)"),
        ("explicit_bounds", "explicit_bounds", "Array(Float64)"),
    ),
    "e": (
        *_TOTALS,
        *_EXTREMES,
        ("scale", "scale", "Int32"),
        ("zero_count", "zero_count", "UInt64"),
        ("zero_threshold", "zero_threshold", "Float64"),
        ("positive_offset", "positive.offset", "Int32"),
        ("positive_counts", "positive.bucket_counts", "Array(UInt64)"),
        ("negative_offset", "negative.offset", "Int32"),
        ("negative_counts", "negative.bucket_counts", "Array(UInt64)"),
    ),
    "m": (
        *_TOTALS,
        ("quantiles", "quantile_values.quantile", "Array(Float64)"),
        ("quantile_values", "quantile_values.value", "Array(Float64)"),
    ),
}
_EXEMPLAR: Final = (
    ("x_time", "exemplars.time_unix_nano", "Array(UInt64)"),
    ("x_v", "exemplars.value", "Array(Enum8('n' = 0, 'd' = 3, 'i' = 6))"),
    ("x_vd", "exemplars.as_double", "Array(Float64)"),
    ("x_vi", "exemplars.as_int", "Array(Int64)"),
    ("x_span_id", "exemplars.span_id", "Array(String)"),
    ("x_trace_id", "exemplars.trace_id", "Array(String)"),
)

_HEAD: Final = (
    ("ResourceAttributes", MAP),
    ("ResourceSchemaUrl", TEXT),
    ("ScopeName", TEXT),
    ("ScopeVersion", TEXT),
    ("ScopeAttributes", MAP),
    ("ScopeDroppedAttrCount", "UInt32"),
    ("ScopeSchemaUrl", TEXT),
    ("ServiceName", NAME),
    ("MetricName", NAME),
    ("MetricDescription", TEXT),
    ("MetricUnit", TEXT),
    ("Attributes", MAP),
    ("StartTimeUnix", TIME),
    ("TimeUnix", TIME),
    ("Flags", "UInt32"),
    *OURS,
    ("SentStartUnixNano", "UInt64"),
    ("SentUnixNano", "UInt64"),
)
_EXEMPLARS: Final = (
    ("Exemplars.FilteredAttributes", array(MAP)),
    ("Exemplars.TimeUnix", array(TIME)),
    ("Exemplars.Value", array("Float64")),
    ("Exemplars.SpanId", array(TEXT)),
    ("Exemplars.TraceId", array(TEXT)),
)
_VALUES: Final = (
    ("Value", "Float64"),
    ("IntValue", "Nullable(Int64)"),
    ("AggregationTemporality", "Int32"),
    ("IsMonotonic", "Bool"),
    ("Count", "UInt64"),
    ("Sum", "Float64"),
    ("Min", "Float64"),
    ("Max", "Float64"),
    ("BucketCounts", array("UInt64")),
    ("ExplicitBounds", array("Float64")),
    ("Scale", "Int32"),
    ("ZeroCount", "UInt64"),
    ("ZeroThreshold", "Float64"),
    ("PositiveOffset", "Int32"),
    ("PositiveBucketCounts", array("UInt64")),
    ("NegativeOffset", "Int32"),
    ("NegativeBucketCounts", array("UInt64")),
    ("ValueAtQuantiles.Quantile", array("Float64")),
    ("ValueAtQuantiles.Value", array("Float64")),
)
_SPREAD: Final = ("Count", "Sum", "Min", "Max", "AggregationTemporality")
_OF_KIND: Final = {
    "gauge": ("Value", "IntValue"),
    "sum": ("Value", "IntValue", "AggregationTemporality", "IsMonotonic"),
    "histogram": (*_SPREAD, "BucketCounts", "ExplicitBounds"),
    "exponential_histogram": (
        *_SPREAD,
        "Scale",
        "ZeroCount",
        "ZeroThreshold",
        "PositiveOffset",
        "PositiveBucketCounts",
        "NegativeOffset",
        "NegativeBucketCounts",
    ),
    "summary": ("Count", "Sum", "ValueAtQuantiles.Quantile", "ValueAtQuantiles.Value"),
}
_TABLES: Final = {kind: f"otel_metrics_{kind.replace('exponential', 'exp')}" for kind in _OF_KIND}


def _target(kind: str) -> Target:
    exemplars = () if kind == "summary" else tuple(name for name, _ in _EXEMPLARS)
    return Target(_TABLES[kind], f"Kind = '{kind}'", (*(name for name, _ in _HEAD), *_OF_KIND[kind], *exemplars))


METRICS: Final = Rows(
    "metrics",
    (("Kind", NAME), *_HEAD, *_VALUES, *_EXEMPLARS),
    tuple(_target(kind) for kind in _OF_KIND),
)


def proto(depth: int = DEPTH) -> str:
    """Return the message definitions, with ``AnyValue`` unrolled to *depth* levels."""
    return messages("metrics", depth, _PROTO)


def statements(depth: int = DEPTH) -> str:
    """Return the end of ``0005_otel_metrics.sql``: the inbox, what makes points of it, and their way into the tables."""
    columns = _columns(depth)
    made = view("metrics", columns, _levels(columns, depth), _ROW)
    return ";\n\n".join([inbox("metrics", columns), *steps(METRICS), made]) + ";\n"


def _columns(depth: int) -> list[Column]:
    """Return the columns of the inbox. Those of points are joined with the metric: the arrays of its points are left."""
    resource = "resource_metrics."
    scope = resource + "scope_metrics."
    metric = scope + "metrics."
    return [
        *attributes("ra", f"{resource}resource.attributes", 1, 1, depth),
        Column("resource_schema", f"{resource}schema_url", "String", 1),
        *attributes("ca", f"{scope}scope.attributes", 1, 2, depth),
        *fields(scope, _SCOPE, 2),
        *fields(metric, _METRIC, 3),
        *(column for kind in KINDS for column in _points(kind, f"{metric}{KINDS[kind]}.data_points.", depth)),
    ]


_SCOPE: Final = (
    ("scope_name", "scope.name", "String"),
    ("scope_version", "scope.version", "String"),
    ("scope_dropped", "scope.dropped_attributes_count", "UInt32"),
    ("scope_schema", "schema_url", "String"),
)


def _points(kind: str, path: str, depth: int) -> list[Column]:
    exemplars = () if kind == "m" else _EXEMPLAR
    own = [(f"{kind}_{name}", below, array(type_)) for name, below, type_ in (*_COMMON, *_POINT[kind], *exemplars)]
    filtered = [] if kind == "m" else attributes(f"{kind}_xa", f"{path}exemplars.filtered_attributes", 3, 3, depth)
    return [*fields(path, own, 3), *attributes(f"{kind}_pa", f"{path}attributes", 2, 3, depth), *filtered]


def _levels(columns: list[Column], depth: int) -> list[Level]:
    message = [name for name, _ in RECEIVED]
    scope = [*message, "resource_schema", *(name for name, _, _ in _SCOPE)]
    metric = [*scope, "shared", "metric_name", "metric_description", "metric_unit", "kind", "monotonic"]
    together = _together()
    return [
        Level([column.name for column in columns if column.level == 1], RECEIVED),
        Level(scope, [("shared", attribute_maps(["[ra_key]", "[ca_key]"], ["[ra_value]", "[ca_value]"], depth))]),
        Level(metric, [("temporality", "toInt32(s_temporality + h_temporality + e_temporality)"), *together]),
        Level(
            [*metric, "temporality", *(name for name, _ in together if not name.startswith(("pa_", "xa_")))],
            [
                ("printed", attribute_maps(["[pa_key]", "xa_key"], ["[pa_value]", "xa_value"], depth)),
                ("TimeQuality", moment_quality("time", *_STARTS)),
            ],
            joined=[name for name, _ in together],
        ),
    ]


_STARTS: Final = (
    ("start > latest", "start_too_late"),
    ("if(start = 0, earliest, start) < earliest", "start_too_early"),
)


def _together() -> list[tuple[str, str]]:
    """Return name and expression of the columns of a metric's points, whatever their kind."""
    common = [*(name for name, _, _ in _COMMON), "pa_key", "pa_value"]
    exemplars = [*(name for name, _, _ in _EXEMPLAR), "xa_key", "xa_value"]
    own = dict.fromkeys(name for kind in KINDS for name, _, _ in _POINT[kind])
    return [
        *((name, _behind(name, KINDS)) for name in common),
        *((name, _filled(name, [kind for kind in KINDS if kind != "m"])) for name in exemplars),
        *((name, _filled(name, [kind for kind in KINDS if name in _names(kind)])) for name in own),
    ]


def _names(kind: str) -> list[str]:
    return [name for name, _, _ in _POINT[kind]]


def _behind(name: str, kinds: "dict[str, str] | list[str]") -> str:
    listed = [f"{kind}_{name}" for kind in kinds]
    return f"arrayConcat({', '.join(listed)})" if len(listed) > 1 else listed[0]


def _filled(name: str, kinds: list[str]) -> str:
    return f"arrayResize({_behind(name, kinds)}, length(time))"


_ROW: Final = (
    ("Kind", "toString(kind)"),
    ("ResourceAttributes", "shared[1]"),
    ("ResourceSchemaUrl", "resource_schema"),
    ("ScopeName", "scope_name"),
    ("ScopeVersion", "scope_version"),
    ("ScopeAttributes", "shared[2]"),
    ("ScopeDroppedAttrCount", "scope_dropped"),
    ("ScopeSchemaUrl", "scope_schema"),
    ("ServiceName", "shared[1]['service.name']"),
    ("MetricName", "metric_name"),
    ("MetricDescription", "metric_description"),
    ("MetricUnit", "metric_unit"),
    ("Attributes", "printed[1]"),
    (
        "StartTimeUnix",
        "fromUnixTimestamp64Nano(toInt64(if(startsWith(TimeQuality, 'start_'), 0, start)), 'UTC')",
    ),
    (
        "TimeUnix",
        "fromUnixTimestamp64Nano(toInt64(if(TimeQuality IN ('', 'ahead'), time, received)), 'UTC')",
    ),
    ("Flags", "flags"),
    *OURS_OF,
    ("SentStartUnixNano", "if(TimeQuality = '', 0, start)"),
    ("SentUnixNano", "if(TimeQuality = '', 0, time)"),
    ("Value", "if(v = 'i', toFloat64(vi), vd)"),
    ("IntValue", "if(v = 'i', vi, NULL)"),
    ("AggregationTemporality", "temporality"),
    ("IsMonotonic", "monotonic"),
    ("Count", "count"),
    ("Sum", "sum"),
    ("Min", "min"),
    ("Max", "max"),
    ("BucketCounts", "bucket_counts"),
    ("ExplicitBounds", "explicit_bounds"),
    ("Scale", "scale"),
    ("ZeroCount", "zero_count"),
    ("ZeroThreshold", "zero_threshold"),
    ("PositiveOffset", "positive_offset"),
    ("PositiveBucketCounts", "positive_counts"),
    ("NegativeOffset", "negative_offset"),
    ("NegativeBucketCounts", "negative_counts"),
    ("ValueAtQuantiles.Quantile", "quantiles"),
    ("ValueAtQuantiles.Value", "quantile_values"),
    ("Exemplars.FilteredAttributes", "arraySlice(printed, 2)"),
    (
        "Exemplars.TimeUnix",
        "arrayMap(t -> fromUnixTimestamp64Nano(toInt64(least(t, 9223372036854775807)), 'UTC'), x_time)",
    ),
    ("Exemplars.Value", "arrayMap((k, d, i) -> if(k = 'i', toFloat64(i), d), x_v, x_vd, x_vi)"),
    ("Exemplars.SpanId", "arrayMap(t -> lower(hex(t)), x_span_id)"),
    ("Exemplars.TraceId", "arrayMap(t -> lower(hex(t)), x_trace_id)"),
)
