"""Log records: their messages, their inbox, and the view that makes rows of ``otel_logs`` of them.

A record stands at its own time, else at the time it was observed, else at its receipt. An id that is none counts as
absent, as OTLP has it for logs; a number that the exporter's column cannot hold stands in a column of ours.
"""

from typing import Final

from controltower.store.otlp import DEPTH, ENVELOPE, Column, attributes, fields, inbox, value_type
from controltower.store.otlp import proto as messages
from controltower.store.otlp_ids import valid_id
from controltower.store.otlp_rows import MAP, NAME, OURS, OURS_OF, TEXT, TIME, Rows, Target, steps
from controltower.store.otlp_view import RECEIVED, Level, attribute_maps, view
from controltower.store.times import moment_quality

_PROTO: Final = f"""\
message Resource {{ repeated KeyValue attributes = 1; }}
message Scope {{ string name = 1; string version = 2; repeated KeyValue attributes = 3; }}
message LogRecord {{
  fixed64 time_unix_nano = 1;
  int32 severity_number = 2;
  string severity_text = 3;
  Any body = 5;
  repeated KeyValue attributes = 6;
  uint32 dropped_attributes_count = 7;
  fixed32 flags = 8;
  bytes trace_id = 9;
  bytes span_id = 10;
  fixed64 observed_time_unix_nano = 11;
  string event_name = 12;
}}
message ScopeLogs {{ Scope scope = 1; repeated LogRecord log_records = 2; string schema_url = 3; }}
message ResourceLogs {{ Resource resource = 1; repeated ScopeLogs scope_logs = 2; string schema_url = 3; }}
message LogsData {{
  repeated ResourceLogs resource_logs = 1;
{ENVELOPE}}}
"""
_RECORD: Final = (
    ("time", "time_unix_nano", "UInt64"),
    ("observed", "observed_time_unix_nano", "UInt64"),
    ("severity", "severity_number", "Int32"),
    ("severity_text", "severity_text", "String"),
    ("flags", "flags", "UInt32"),
    ("trace_id", "trace_id", "String"),
    ("span_id", "span_id", "String"),
    ("event_name", "event_name", "String"),
    ("dropped", "dropped_attributes_count", "UInt32"),
)

_COLUMNS: Final = (
    ("Timestamp", TIME),
    ("TraceId", TEXT),
    ("SpanId", TEXT),
    ("TraceFlags", "UInt8"),
    ("SeverityText", NAME),
    ("SeverityNumber", "UInt8"),
    ("ServiceName", NAME),
    ("Body", TEXT),
    ("ResourceSchemaUrl", NAME),
    ("ResourceAttributes", MAP),
    ("ScopeSchemaUrl", NAME),
    ("ScopeName", TEXT),
    ("ScopeVersion", NAME),
    ("ScopeAttributes", MAP),
    ("LogAttributes", MAP),
    ("EventName", TEXT),
    *OURS,
    ("SentUnixNano", "UInt64"),
    ("ObservedUnixNano", "UInt64"),
    ("Flags", "UInt32"),
    ("SentSeverityNumber", "Int32"),
    ("DroppedAttributes", "UInt32"),
)
LOGS: Final = Rows("logs", _COLUMNS, (Target("otel_logs", "", tuple(name for name, _ in _COLUMNS)),))


def proto(depth: int = DEPTH) -> str:
    """Return the message definitions, with ``AnyValue`` unrolled to *depth* levels."""
    return messages("logs", depth, _PROTO)


def statements(depth: int = DEPTH) -> str:
    """Return the end of ``0004_otel_logs.sql``: the inbox, what makes records of it, and their way into the table."""
    columns = _columns(depth)
    made = view("logs", columns, _levels(columns, depth), _ROW)
    return ";\n\n".join([inbox("logs", columns), *steps(LOGS), made]) + ";\n"


def _columns(depth: int) -> list[Column]:
    resource = "resource_logs."
    scope = resource + "scope_logs."
    record = scope + "log_records."
    return [
        *attributes("ra", f"{resource}resource.attributes", 1, 1, depth),
        Column("resource_schema", f"{resource}schema_url", "String", 1),
        *attributes("ca", f"{scope}scope.attributes", 1, 2, depth),
        Column("scope_name", f"{scope}scope.name", "String", 2),
        Column("scope_version", f"{scope}scope.version", "String", 2),
        Column("scope_schema", f"{scope}schema_url", "String", 2),
        *fields(record, _RECORD, 3),
        *attributes("la", f"{record}attributes", 1, 3, depth),
        Column("body", f"{record}body", value_type(depth), 3),
    ]


def _levels(columns: list[Column], depth: int) -> list[Level]:
    message = [name for name, _ in RECEIVED]
    scope = [*message, "resource_schema", "scope_name", "scope_version", "scope_schema"]
    return [
        Level([column.name for column in columns if column.level == 1], RECEIVED),
        Level(scope, [("shared", attribute_maps(["[ra_key]", "[ca_key]"], ["[ra_value]", "[ca_value]"], depth))]),
        Level(
            [*scope, "shared", *(name for name, _, _ in _RECORD)],
            [
                ("printed", attribute_maps(["[la_key]", "[['']]"], ["[la_value]", "[[body]]"], depth)),
                ("at", "if(time = 0, observed, time)"),
                ("TimeQuality", moment_quality("at")),
            ],
        ),
    ]


_ROW: Final = (
    (
        "Timestamp",
        "fromUnixTimestamp64Nano(toInt64(if(startsWith(TimeQuality, 'time_'), received, at)), 'UTC')",
    ),
    ("TraceId", valid_id("trace_id", 16)),
    ("SpanId", valid_id("span_id", 8)),
    ("TraceFlags", "toUInt8(bitAnd(flags, 255))"),
    ("SeverityText", "severity_text"),
    ("SeverityNumber", "if(toInt32(toUInt8(severity)) = severity, toUInt8(severity), 0)"),
    ("ServiceName", "shared[1]['service.name']"),
    ("Body", "mapValues(printed[2])[1]"),
    ("ResourceSchemaUrl", "resource_schema"),
    ("ResourceAttributes", "shared[1]"),
    ("ScopeSchemaUrl", "scope_schema"),
    ("ScopeName", "scope_name"),
    ("ScopeVersion", "scope_version"),
    ("ScopeAttributes", "shared[2]"),
    ("LogAttributes", "printed[1]"),
    ("EventName", "event_name"),
    *OURS_OF,
    ("SentUnixNano", "time"),
    ("ObservedUnixNano", "observed"),
    ("Flags", "flags"),
    ("SentSeverityNumber", "severity"),
    ("DroppedAttributes", "dropped"),
)
