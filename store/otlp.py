"""Build the parts of the load schema that repeat themselves: the messages, the inbox and the view behind it.

ClickHouse's ``Protobuf`` reader knows no recursive message, and an OTLP ``AnyValue`` is one: it may be an array or a
key-value list of further values. So it is unrolled to ``DEPTH`` levels of containers; what lies deeper is read as bytes
and printed in base64 (``{"otlp.array_value":"CgIYAQ=="}``), so that nothing comes out empty.

Values are printed as the Collector's ClickHouse exporter prints them (``pcommon.Value.AsString``), so that a span is the
same whichever way it came in. What differs, on purpose: inside of containers a NaN or an infinity is a text (the
exporter loses the whole attribute) and of equal keys all stay (the exporter keeps the last).

The engine analyses the view anew for each insert, about 0.05 ms per function, so the shape matters: one column per
member instead of one tuple, names of one letter inside, and each level named once by the level above it.

The texts are committed: ``otlp_traces.proto`` whole, and the end of ``0001_otel_traces.sql``. A test builds them again.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

DEPTH: Final = 3
"""Levels of arrays and key-value lists that are printed as JSON. A level costs some 15 ms per insert at 2, 30 at 3."""

RECEIVED_FIELD: Final = 20001
"""Envelope of the journal: when the message was received, in Unix nanoseconds; the last one in a message counts."""

TENANT_FIELD: Final = 20002
"""Envelope of the journal: the tenant of the sender's token; the last one in a message counts."""

_DAY_NS: Final = 86_400 * 10**9
PLAUSIBLE_PAST_NS: Final = 3653 * _DAY_NS
"""A span dated ten years before it was received was dated by a broken clock; this bounds the partitions, too."""

PLAUSIBLE_FUTURE_NS: Final = _DAY_NS
"""A span dated a day after it was received was dated by a broken clock."""

AHEAD_NS: Final = 300 * 10**9
"""What is dated later than this after its receipt is believed, and marked."""

_YEAR_2000_NS: Final = 946_684_800 * 10**9
_YEAR_2200_NS: Final = 7_258_118_400 * 10**9

_KIND: Final = "Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7)"
_SCALARS: Final = {"o": _KIND, "s": "String", "b": "Bool", "i": "Int64", "d": "Float64", "y": "String"}


class Column(NamedTuple):
    """A column of the inbox: its name in the view, its path in the message, its type and the level it is joined at."""

    name: str
    path: str
    type: str
    level: int


# -- the message ----------------------------------------------------------------------------------------------------


def proto(depth: int = DEPTH) -> str:
    """Return the message definitions, with ``AnyValue`` unrolled to *depth* levels."""
    return _PROTO_HEAD + "".join(_any_value(level, depth) for level in range(depth + 1)) + _PROTO_TAIL


def _any_value(level: int, depth: int) -> str:
    """Return the messages of one level; those of level 0 keep containers as bytes."""
    name = "" if level == depth else str(level)
    array, pairs = (f"Array{name}", f"Pairs{name}") if level else ("bytes", "bytes")
    below = level - 1
    containers = (
        f"message Array{name} {{ repeated Any{below} v = 1; }}\n"
        f"message Pair{below} {{ string key = 1; Any{below} value = 2; }}\n"
        f"message Pairs{name} {{ repeated Pair{below} v = 1; }}\n"
    )
    return (containers if level else "") + (
        f"message Any{name} {{\n"
        "  oneof o {\n"
        "    string s = 1;\n"
        "    bool b = 2;\n"
        "    int64 i = 3;\n"
        "    double d = 4;\n"
        f"    {array} a = 5;\n"
        f"    {pairs} k = 6;\n"
        "    bytes y = 7;\n"
        "  }\n"
        "}\n"
    )


_PROTO_HEAD: Final = """\
// What is read of an OTLP trace request, and the journal's envelope. Made by store/otlp.py, which says why AnyValue is
// unrolled; only the numbers are on the wire, the names are those of the inbox's columns.
syntax = "proto3";

"""
_PROTO_TAIL: Final = f"""
message KeyValue {{ string key = 1; Any value = 2; }}
message Resource {{ repeated KeyValue attributes = 1; }}
message Scope {{ string name = 1; string version = 2; }}
message Event {{ fixed64 time_unix_nano = 1; string name = 2; repeated KeyValue attributes = 3; }}
message Link {{ bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; repeated KeyValue attributes = 4; }}
message Status {{ string message = 2; int32 code = 3; }}
message Span {{
  bytes trace_id = 1;
  bytes span_id = 2;
  string trace_state = 3;
  bytes parent_span_id = 4;
  string name = 5;
  int32 kind = 6;
  fixed64 start_time_unix_nano = 7;
  fixed64 end_time_unix_nano = 8;
  repeated KeyValue attributes = 9;
  repeated Event events = 11;
  repeated Link links = 13;
  Status status = 15;
}}
message ScopeSpans {{ Scope scope = 1; repeated Span spans = 2; }}
message ResourceSpans {{ Resource resource = 1; repeated ScopeSpans scope_spans = 2; }}
message TracesData {{
  repeated ResourceSpans resource_spans = 1;
  fixed64 received_unix_nano = {RECEIVED_FIELD};
  repeated string tenant = {TENANT_FIELD};  // repeated: the reader empties a single text that comes twice
}}
"""


# -- the inbox ------------------------------------------------------------------------------------------------------


def value_type(level: int) -> str:
    """Return the type of a value inside of a container, with *level* further levels of containers."""
    return f"Tuple({', '.join(f'`{path}` {type_}' for _, path, type_ in _members(level))})"


def _members(level: int) -> list[tuple[str, str, str]]:
    """Return name, path and type of a value's members."""
    if level:
        inner = value_type(level - 1)
        containers = [
            ("av", "a.v", f"Array({inner})"),
            ("kk", "k.v.key", "Array(String)"),
            ("kv", "k.v.value", f"Array({inner})"),
        ]
    else:
        containers = [("av", "a", "String"), ("kv", "k", "String")]
    return [*((name, name, type_) for name, type_ in _SCALARS.items()), *containers]


def columns(depth: int = DEPTH) -> list[Column]:
    """Return the columns of the inbox below ``resource_spans``."""
    resource = "resource_spans."
    scope = resource + "scope_spans."
    span = scope + "spans."
    return [
        *_attributes("ra", f"{resource}resource.attributes", 1, 1, depth),
        Column("scope_name", f"{scope}scope.name", "String", 2),
        Column("scope_version", f"{scope}scope.version", "String", 2),
        *(Column(name, span + path, type_, 3) for name, path, type_ in _SPAN),
        *_attributes("sa", f"{span}attributes", 1, 3, depth),
        *(Column(name, span + path, f"Array({type_})", 3) for name, path, type_ in _EVENT),
        *_attributes("ea", f"{span}events.attributes", 2, 3, depth),
        *(Column(name, span + path, f"Array({type_})", 3) for name, path, type_ in _LINK),
        *_attributes("la", f"{span}links.attributes", 2, 3, depth),
    ]


_SPAN: Final = (
    ("trace_id", "trace_id", "String"),
    ("span_id", "span_id", "String"),
    ("trace_state", "trace_state", "String"),
    ("parent_span_id", "parent_span_id", "String"),
    ("span_name", "name", "String"),
    ("kind", "kind", "Int32"),
    ("start", "start_time_unix_nano", "UInt64"),
    ("end", "end_time_unix_nano", "UInt64"),
    ("status_code", "status.code", "Int32"),
    ("status_message", "status.message", "String"),
)
_EVENT: Final = (("event_time", "events.time_unix_nano", "UInt64"), ("event_name", "events.name", "String"))
_LINK: Final = (
    ("link_trace_id", "links.trace_id", "String"),
    ("link_span_id", "links.span_id", "String"),
    ("link_trace_state", "links.trace_state", "String"),
)


def _attributes(prefix: str, path: str, arrays: int, level: int, depth: int) -> list[Column]:
    members = [("key", "key", "String"), *((name, f"value.{below}", type_) for name, below, type_ in _members(depth))]
    return [
        Column(f"{prefix}_{name}", f"{path}.{below}", _array(type_, arrays), level) for name, below, type_ in members
    ]


def _array(type_: str, times: int) -> str:
    return "Array(" * times + type_ + ")" * times


def inbox(depth: int = DEPTH) -> str:
    """Return the table that a segment is inserted into: a column per member of the message, and it keeps nothing."""
    lines = ["received_unix_nano UInt64", "tenant Array(String)"]
    lines += [f"`{column.path}` {_array(column.type, column.level)}" for column in columns(depth)]
    return "CREATE TABLE otlp_traces_inbox (\n" + _lines(lines, 4) + "\n) ENGINE = Null"


# -- the view -------------------------------------------------------------------------------------------------------


def text(depth: int = DEPTH) -> str:
    """Return the expression that prints a value, whose members are the names of a lambda, as an attribute's text."""
    containers = _container("o", "av", "kk", "kv", depth) if depth else _undecoded("o", "av", "kv")
    return (
        "multiIf("
        "o = 's', s, "
        "o = 'i', toString(i), "
        f"o = 'd', if(isFinite(d), {_go('toString(d)')}, {_NOT_FINITE}), "
        "o = 'b', toString(b), "
        "o = 'y', base64Encode(y), "
        "o = 'n', '', "
        f"{containers})"
    )


# The exporter's own words for what is no number in JSON.
_NOT_FINITE: Final = "concat('json: unsupported value: ', transform(toString(d), ['nan', '-nan', 'inf', '-inf'], ['NaN', 'NaN', '+Inf', '-Inf']))"


def _json(value: str, level: int) -> str:
    """Return the expression that prints *value*, an element of a container, as JSON."""
    if level:
        containers = _container(f"{value}.o", f"{value}.`a.v`", f"{value}.`k.v.key`", f"{value}.`k.v.value`", level)
    else:
        containers = _undecoded(f"{value}.o", f"{value}.a", f"{value}.k")
    return (
        "multiIf("
        f"{value}.o = 's', toJSONString(toValidUTF8({value}.s)), "
        f"{value}.o = 'i', toString({value}.i), "
        f"{value}.o = 'd', {_go(f'toJSONString({value}.d)')}, "
        f"{value}.o = 'b', toString({value}.b), "
        f"{value}.o = 'y', toJSONString(base64Encode({value}.y)), "
        f"{value}.o = 'n', 'null', "
        f"{containers})"
    )


def _go(number: str) -> str:
    """Write the exponent as Go does: 1e+21 for 1e21; all else is the same shortest form."""
    return f"replaceOne(replaceOne({number}, 'e', 'e+'), 'e+-', 'e-')"


def _container(kind: str, array: str, keys: str, values: str, level: int) -> str:
    """Print an array, or a key-value list sorted by key: of the two, one is empty."""
    key, value, at = f"k{level}", f"v{level}", f"i{level}"
    prefixes = f"arrayMap({key} -> concat(toJSONString(toValidUTF8({key})), ':'), arraySort({keys}))"
    by_key = f"arraySort(({value}, {key}, {at}) -> ({key}, {at}), {values}, {keys}, arrayEnumerate({keys}))"
    elements = (
        f"arrayMap(({key}, {value}) -> concat({key}, {_json(value, level - 1)}), "
        f"arrayResize({prefixes}, length({array}) + length({values})), arrayConcat({array}, {by_key}))"
    )
    return f"concat(if({kind} = 'a', '[', '{{'), arrayStringConcat({elements}, ','), if({kind} = 'a', ']', '}}'))"


def _undecoded(kind: str, array: str, values: str) -> str:
    """Print a container below the last level: its name in OTLP and its bytes."""
    name = f"if({kind} = 'a', 'array', 'kvlist')"
    return f"concat('{{\"otlp.', {name}, '_value\":\"', base64Encode(concat({array}, {values})), '\"}}')"


def _map(prefix: str, depth: int) -> str:
    """Return the map of the attributes in the columns of *prefix*, sorted by key; of equal keys the first is found."""
    names = [name for name, _, _ in _members(depth)]
    return _attribute_map(f"{prefix}_key", [f"{prefix}_{name}" for name in names], names, depth)


def _maps(prefix: str, depth: int) -> str:
    """Return the maps of a list of attributes, those of events and of links."""
    names = [name for name, _, _ in _members(depth)]
    each = [f"{name}s" for name in names]
    inner = _attribute_map("keys", each, names, depth)
    return f"arrayMap(({', '.join(['keys', *each])}) -> {inner}, {', '.join(f'{prefix}_{n}' for n in ['key', *names])})"


def _attribute_map(keys: str, arrays: Sequence[str], names: Sequence[str], depth: int) -> str:
    pairs = f"arrayMap((key, {', '.join(names)}) -> (key, {text(depth)}), {keys}, {', '.join(arrays)})"
    # Not mapSort: it changes the order of equal keys.
    by_key = f"arraySort((pair, at) -> (pair.1, at), {pairs}, arrayEnumerate({keys}))"
    return f"CAST({by_key}, 'Map(LowCardinality(String), String)')"


def view(depth: int = DEPTH) -> str:
    """Return the view that makes spans of what comes into the inbox.

    One subquery per level of the message: all its columns are joined at once, and what belongs to the level (a
    resource's attributes) is printed once and not per span.
    """
    every = columns(depth)
    scopes = [column for column in every if column.level >= 2]
    spans = [column for column in every if column.level >= 3]
    return _VIEW.format(
        past=PLAUSIBLE_PAST_NS,
        future=PLAUSIBLE_FUTURE_NS,
        ahead=AHEAD_NS,
        year_2000=_YEAR_2000_NS,
        year_2200=_YEAR_2200_NS,
        span_attributes=_map("sa", depth),
        event_attributes=_maps("ea", depth),
        link_attributes=_maps("la", depth),
        resource_attributes=_map("ra", depth),
        span_columns=_lines(_names(spans), 8),
        scope_columns=_lines(_names(scopes), 12),
        inbox_columns=_lines(_names(scopes), 16),
        join_spans=_lines(_joined(spans), 8),
        join_scopes=_lines(_joined(scopes), 12),
        join_resources=_lines((f"`{column.path}` AS {column.name}" for column in every), 16),
    )


def _names(of: Iterable[Column]) -> list[str]:
    return [column.name for column in of]


def _joined(of: Iterable[Column]) -> list[str]:
    return [f"{column.name} AS {column.name}" for column in of]


def _lines(items: Iterable[str], indent: int) -> str:
    return ",\n".join(" " * indent + item for item in items)


_VIEW: Final = """\
CREATE MATERIALIZED VIEW otlp_traces_inbox_to_otel_traces TO otel_traces AS
SELECT
    fromUnixTimestamp64Nano(toInt64(if(TimeQuality IN ('start_missing', 'start_implausible'), received, start)), 'UTC')
        AS Timestamp,
    lower(hex(trace_id)) AS TraceId,
    lower(hex(span_id)) AS SpanId,
    lower(hex(parent_span_id)) AS ParentSpanId,
    trace_state AS TraceState,
    span_name AS SpanName,
    transform(
        kind,
        [0, 1, 2, 3, 4, 5],
        ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'],
        toString(kind)) AS SpanKind,
    resource_attributes['service.name'] AS ServiceName,
    resource_attributes AS ResourceAttributes,
    scope_name AS ScopeName,
    scope_version AS ScopeVersion,
    {span_attributes} AS SpanAttributes,
    if(TimeQuality IN ('', 'ahead'), end - start, 0) AS Duration,
    transform(status_code, [0, 1, 2], ['Unset', 'Ok', 'Error'], toString(status_code)) AS StatusCode,
    status_message AS StatusMessage,
    arrayMap(t -> fromUnixTimestamp64Nano(toInt64(least(t, 9223372036854775807)), 'UTC'), event_time)
        AS `Events.Timestamp`,
    event_name AS `Events.Name`,
    {event_attributes} AS `Events.Attributes`,
    arrayMap(t -> lower(hex(t)), link_trace_id) AS `Links.TraceId`,
    arrayMap(t -> lower(hex(t)), link_span_id) AS `Links.SpanId`,
    link_trace_state AS `Links.TraceState`,
    {link_attributes} AS `Links.Attributes`,
    tenant AS TenantId,
    fromUnixTimestamp64Nano(toInt64(received), 'UTC') AS IngestedAt,
    getSetting('insert_deduplication_token') AS SegmentId,
    multiIf(
        start = 0, 'start_missing',
        start < received - {past} OR start > received + {future}, 'start_implausible',
        end = 0, 'end_missing',
        end < start, 'end_before_start',
        end > received + {future}, 'end_implausible',
        start > received + {ahead}, 'ahead',
        '') AS TimeQuality,
    if(TimeQuality = '', 0, start) AS SentStartUnixNano,
    if(TimeQuality = '', 0, end) AS SentEndUnixNano
FROM (
    SELECT
        tenant,
        received,
        resource_attributes,
        scope_name,
        scope_version,
{span_columns}
    FROM (
        SELECT
            tenant,
            received,
            resource_attributes,
{scope_columns}
        FROM (
            SELECT
                tenant[-1] AS tenant,
                if(received_unix_nano BETWEEN {year_2000} AND {year_2200},
                    received_unix_nano,
                    toUInt64(toUnixTimestamp64Nano(now64(9)))) AS received,
                {resource_attributes} AS resource_attributes,
{inbox_columns}
            FROM otlp_traces_inbox
            ARRAY JOIN
{join_resources}
        )
        ARRAY JOIN
{join_scopes}
    )
    ARRAY JOIN
{join_spans}
)"""


def statements(depth: int = DEPTH) -> str:
    """Return the end of ``0001_otel_traces.sql``: the inbox, and the view that makes spans of what comes into it."""
    return f"{inbox(depth)};\n\n{view(depth)};\n"
