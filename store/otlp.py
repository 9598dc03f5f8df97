"""What the messages of all signals have in common: values and attributes, the journal's envelope, and the inboxes.

ClickHouse's ``Protobuf`` reader knows no recursive message, and an OTLP ``AnyValue`` is one: it may be an array or a
key-value list of further values. So it is unrolled to ``DEPTH`` levels of containers; what lies deeper is read as bytes.

The engine analyses the view behind an inbox anew for each insert, about 0.05 ms per function and 0.1 ms per column, so
the shape matters: a list of attributes is two columns, names inside have one letter, and each level of containers is
named once by the level above it.

The texts are committed: ``otlp_*.proto`` whole, and the ends of the migrations. A test builds them again.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

DEPTH: Final = 3
"""Levels of arrays and key-value lists that are printed as JSON. A level costs some 10 ms per insert at 2, 20 at 3."""

SHALLOW: Final = 1
"""Levels in the inbox for what nearly all spans are: it costs a third less, and refuses what lies deeper."""

PLAIN: Final = 0
"""Levels in the inbox for spans whose attributes are texts, numbers, true and false: each is read as its bytes (``otlp_plain``), at half the
cost, and all others are refused."""

RECEIVED_FIELD: Final = 20001
"""Envelope of the journal: when the message was received, in Unix nanoseconds; the last one in a message counts."""

TENANT_FIELD: Final = 20002
"""Envelope of the journal: the tenant of the sender's token; the last one in a message counts."""

KEYS_FIELD: Final = 20101
"""Keys for the tokens of redaction: put into each message on its way to the engine, and written nowhere."""

_KIND: Final = "Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7)"
_SCALARS: Final = {"o": _KIND, "s": "String", "b": "Bool", "i": "Int64", "d": "Float64", "y": "String"}


class Column(NamedTuple):
    """A column of the inbox: its name in the view, its path in the message, its type and the level it is joined at."""

    name: str
    path: str
    type: str
    level: int


def any_values(depth: int) -> str:
    """Return the messages of a value, unrolled to *depth* levels, and of an attribute."""
    if depth == PLAIN:
        return "message KeyValue { string key = 1; bytes value = 2; }\n"
    values = "".join(_any_value(level, depth) for level in range(depth + 1))
    return values + "\nmessage KeyValue { string key = 1; Any value = 2; }\n"


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


def proto(signal: str, depth: int, messages: str) -> str:
    """Return the definitions of a signal's messages; *messages* are its own, and name the envelope ``ENVELOPE``."""
    return _PROTO_HEAD.format(signal=signal) + any_values(depth) + messages


ENVELOPE: Final = f"""\
  fixed64 received_unix_nano = {RECEIVED_FIELD};
  repeated string tenant = {TENANT_FIELD};  // repeated: the reader empties a single text that comes twice
  repeated bytes redaction_keys = {KEYS_FIELD};
"""
_PROTO_HEAD: Final = """\
// What is read of an OTLP {signal} request, and the journal's envelope. Made by the store's builder, which says why
// AnyValue is unrolled; only the numbers are on the wire, the names are those of the inbox's columns.
syntax = "proto3";

"""


def value_type(level: int) -> str:
    """Return the type of a value, with *level* levels of containers."""
    return f"Tuple({', '.join(f'`{name}` {type_}' for name, type_ in members(level))})"


def members(level: int) -> list[tuple[str, str]]:
    """Return name and type of a value's members, with *level* levels of containers.

    The order is: which one is set, text, bool, whole number, double, bytes, then what containers hold.
    """
    if not level:
        return [*_SCALARS.items(), ("a", "String"), ("k", "String")]
    inner = value_type(level - 1)
    containers = [("a.v", f"Array({inner})"), ("k.v.key", "Array(String)"), ("k.v.value", f"Array({inner})")]
    return [*_SCALARS.items(), *containers]


def attributes(prefix: str, path: str, arrays: int, level: int, depth: int) -> list[Column]:
    """Return the columns of a list of attributes, joined at *level*; *arrays* of it are left then."""
    parts = (("key", "String"), ("value", "String" if depth == PLAIN else value_type(depth)))
    return [Column(f"{prefix}_{name}", f"{path}.{name}", array(type_, arrays), level) for name, type_ in parts]


def fields(path: str, of: Iterable[tuple[str, str, str]], level: int) -> list[Column]:
    """Return the columns of fields below *path*: name in the view, path in the message, type."""
    return [Column(name, path + below, type_, level) for name, below, type_ in of]


def array(type_: str, times: int = 1) -> str:
    """Return the type of *times* arrays around *type_*."""
    return "Array(" * times + type_ + ")" * times


def inbox(signal: str, columns: Sequence[Column], depth: int = DEPTH) -> str:
    """Return the table that a segment is inserted into: a column per member of the message, and it keeps nothing."""
    shown = ["received_unix_nano UInt64", "tenant Array(String)", "redaction_keys Array(String)"]
    shown += [f"`{column.path}` {array(column.type, column.level)}" for column in columns]
    return f"CREATE TABLE {stem(signal, depth)}_inbox (\n" + lines(shown, 4) + "\n) ENGINE = Null"


_ENDS: Final = {DEPTH: "", SHALLOW: "_shallow", PLAIN: "_plain"}


def stem(signal: str, depth: int = DEPTH) -> str:
    """Return how the names of what reads a signal's messages to *depth* levels begin."""
    return f"otlp_{signal}{_ENDS[depth]}"


def lines(items: Iterable[str], indent: int) -> str:
    """Return *items* as a list of SQL, one per line."""
    return ",\n".join(" " * indent + item for item in items)
