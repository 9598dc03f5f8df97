"""Spans: their messages, their inbox, and the view that makes rows of ``otel_traces`` of them.

Times that cannot be are not believed (``times``): the span then stands at the time of its receipt, ``TimeQuality`` says
why, and what was sent is kept beside it. So a broken clock makes no partition, and no duration wraps.
"""

from typing import Final

from controltower.store.otlp import DEPTH, ENVELOPE, PLAIN, SHALLOW, Column, array, attributes, fields, inbox
from controltower.store.otlp import proto as messages
from controltower.store.otlp_rows import MAP, NAME, OURS, OURS_OF, TEXT, TIME, Rows, Target, steps
from controltower.store.otlp_view import RECEIVED, Level, attribute_map, attribute_maps, view
from controltower.store.times import span_quality

_PROTO: Final = f"""\
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
{ENVELOPE}}}
"""
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
    ("event_time", "events.time_unix_nano", "Array(UInt64)"),
    ("event_name", "events.name", "Array(String)"),
    ("link_trace_id", "links.trace_id", "Array(String)"),
    ("link_span_id", "links.span_id", "Array(String)"),
    ("link_trace_state", "links.trace_state", "Array(String)"),
)

_COLUMNS: Final = (
    ("Timestamp", TIME),
    ("TraceId", TEXT),
    ("SpanId", TEXT),
    ("ParentSpanId", TEXT),
    ("TraceState", TEXT),
    ("SpanName", NAME),
    ("SpanKind", NAME),
    ("ServiceName", NAME),
    ("ResourceAttributes", MAP),
    ("ScopeName", TEXT),
    ("ScopeVersion", TEXT),
    ("SpanAttributes", MAP),
    ("Duration", "UInt64"),
    ("StatusCode", NAME),
    ("StatusMessage", TEXT),
    ("Events.Timestamp", array(TIME)),
    ("Events.Name", array(NAME)),
    ("Events.Attributes", array(MAP)),
    ("Links.TraceId", array(TEXT)),
    ("Links.SpanId", array(TEXT)),
    ("Links.TraceState", array(TEXT)),
    ("Links.Attributes", array(MAP)),
    *OURS,
    ("SentStartUnixNano", "UInt64"),
    ("SentEndUnixNano", "UInt64"),
)
TRACES: Final = Rows("traces", _COLUMNS, (Target("otel_traces", "", tuple(name for name, _ in _COLUMNS)),))


def proto(depth: int = DEPTH) -> str:
    """Return the message definitions, with ``AnyValue`` unrolled to *depth* levels."""
    return messages("traces", depth, _PROTO)


def statements() -> str:
    """Return the end of ``0001_otel_traces.sql``: the inboxes, what makes spans of them, and their way into the table."""
    inboxes, views = zip(*(_way_in(depth) for depth in (DEPTH, SHALLOW)), strict=True)
    return _script(*inboxes, *steps(TRACES), *views)


def plain_statements() -> str:
    """Return the end of ``0026_plain_traces.sql``: an inbox more, and what makes spans of it."""
    return _script(*_way_in(PLAIN))


def _script(*made: str) -> str:
    return ";\n\n".join(made) + ";\n"


def _way_in(depth: int) -> tuple[str, str]:
    """Return the inbox that reads values of *depth* levels, and the view behind it."""
    columns = _columns(depth)
    return inbox("traces", columns, depth), view("traces", columns, _levels(depth), _ROW, depth)


def _columns(depth: int) -> list[Column]:
    resource = "resource_spans."
    scope = resource + "scope_spans."
    span = scope + "spans."
    return [
        *attributes("ra", f"{resource}resource.attributes", 1, 1, depth),
        Column("scope_name", f"{scope}scope.name", "String", 2),
        Column("scope_version", f"{scope}scope.version", "String", 2),
        *fields(span, _SPAN, 3),
        *attributes("sa", f"{span}attributes", 1, 3, depth),
        *attributes("ea", f"{span}events.attributes", 2, 3, depth),
        *attributes("la", f"{span}links.attributes", 2, 3, depth),
    ]


def _levels(depth: int) -> list[Level]:
    message = [name for name, _ in RECEIVED]
    scope = [*message, "resource_attributes", "scope_name", "scope_version"]
    # The span's own are printed apart: putting them behind those of its events would copy all members of each value.
    whole = depth != DEPTH  # what one inbox cannot print, one that reads deeper does
    inner = attribute_maps(["ea_key", "la_key"], ["ea_value", "la_value"], depth, whole=whole)
    return [
        Level([], [*RECEIVED, ("resource_attributes", attribute_map("ra_key", "ra_value", depth, whole=whole))]),
        Level(scope),
        Level(
            [*scope, *(name for name, _, _ in _SPAN)],
            [
                ("span_attributes", attribute_map("sa_key", "sa_value", depth, whole=whole)),
                ("inner_attributes", inner),
                ("TimeQuality", span_quality("start", "end")),
            ],
        ),
    ]


_KINDS: Final = "['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']"
_ROW: Final = (
    (
        "Timestamp",
        "fromUnixTimestamp64Nano(toInt64(if(startsWith(TimeQuality, 'start_'), received, start)), 'UTC')",
    ),
    ("TraceId", "lower(hex(trace_id))"),
    ("SpanId", "lower(hex(span_id))"),
    ("ParentSpanId", "lower(hex(parent_span_id))"),
    ("TraceState", "trace_state"),
    ("SpanName", "span_name"),
    ("SpanKind", f"transform(kind, [0, 1, 2, 3, 4, 5], {_KINDS}, toString(kind))"),
    ("ServiceName", "resource_attributes['service.name']"),
    ("ResourceAttributes", "resource_attributes"),
    ("ScopeName", "scope_name"),
    ("ScopeVersion", "scope_version"),
    ("SpanAttributes", "span_attributes"),
    ("Duration", "if(TimeQuality IN ('', 'ahead'), end - start, 0)"),
    ("StatusCode", "transform(status_code, [0, 1, 2], ['Unset', 'Ok', 'Error'], toString(status_code))"),
    ("StatusMessage", "status_message"),
    (
        "Events.Timestamp",
        "arrayMap(t -> fromUnixTimestamp64Nano(toInt64(least(t, 9223372036854775807)), 'UTC'), event_time)",
    ),
    ("Events.Name", "event_name"),
    ("Events.Attributes", "arraySlice(inner_attributes, 1, length(event_name))"),
    ("Links.TraceId", "arrayMap(t -> lower(hex(t)), link_trace_id)"),
    ("Links.SpanId", "arrayMap(t -> lower(hex(t)), link_span_id)"),
    ("Links.TraceState", "link_trace_state"),
    ("Links.Attributes", "arraySlice(inner_attributes, 1 + length(event_name))"),
    *OURS_OF,
    ("SentStartUnixNano", "if(TimeQuality = '', 0, start)"),
    ("SentEndUnixNano", "if(TimeQuality = '', 0, end)"),
)
