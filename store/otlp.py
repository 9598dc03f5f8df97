"""The messages of the load and the inbox that mirrors them.

ClickHouse's ``Protobuf`` reader knows no recursive message, and an OTLP ``AnyValue`` is one: it may be an array or a
key-value list of further values. So it is unrolled to ``DEPTH`` levels of containers; what lies deeper is read as bytes.

The engine analyses the view behind the inbox anew for each insert, about 0.05 ms per function, so the shape matters:
one column per member instead of one tuple, names of one letter inside, and each level named once by the level above it.

The texts are committed: ``otlp_traces.proto`` whole, and the end of ``0001_otel_traces.sql``. A test builds them again.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

DEPTH: Final = 3
"""Levels of arrays and key-value lists that are printed as JSON. A level costs some 15 ms per insert at 2, 30 at 3."""

RECEIVED_FIELD: Final = 20001
"""Envelope of the journal: when the message was received, in Unix nanoseconds; the last one in a message counts."""

TENANT_FIELD: Final = 20002
"""Envelope of the journal: the tenant of the sender's token; the last one in a message counts."""

_KIND: Final = "Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7)"
_SCALARS: Final = {"o": _KIND, "s": "String", "b": "Bool", "i": "Int64", "d": "Float64", "y": "String"}


class Column(NamedTuple):
    """A column of the inbox: its name in the view, its path in the message, its type and the level it is joined at."""

    name: str
    path: str
    type: str
    level: int


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


def value_type(level: int) -> str:
    """Return the type of a value inside of a container, with *level* further levels of containers."""
    return f"Tuple({', '.join(f'`{path}` {type_}' for _, path, type_ in members(level))})"


def members(level: int) -> list[tuple[str, str, str]]:
    """Return name, path and type of a value's members, with *level* levels of containers."""
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
    parts = [("key", "key", "String"), *((name, f"value.{below}", type_) for name, below, type_ in members(depth))]
    return [Column(f"{prefix}_{name}", f"{path}.{below}", _array(type_, arrays), level) for name, below, type_ in parts]


def _array(type_: str, times: int) -> str:
    return "Array(" * times + type_ + ")" * times


def inbox(depth: int = DEPTH) -> str:
    """Return the table that a segment is inserted into: a column per member of the message, and it keeps nothing."""
    shown = ["received_unix_nano UInt64", "tenant Array(String)"]
    shown += [f"`{column.path}` {_array(column.type, column.level)}" for column in columns(depth)]
    return "CREATE TABLE otlp_traces_inbox (\n" + lines(shown, 4) + "\n) ENGINE = Null"


def lines(items: Iterable[str], indent: int) -> str:
    """Return *items* as a list of SQL, one per line."""
    return ",\n".join(" " * indent + item for item in items)
