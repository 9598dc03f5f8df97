"""The view behind an inbox, as all signals have it: the message is unrolled level by level, then its rows are made.

One subquery per level of the message: all its columns are joined at once, and what belongs to a level (a resource's
attributes) is printed once for it and not per row. Whatever is used twice is computed in a subquery of its own: the
engine analyses the expression behind an alias again for each use.
"""

from collections.abc import Sequence
from textwrap import indent
from typing import Final, NamedTuple

from controltower.store.otlp import DEPTH, PLAIN, Column, lines, stem
from controltower.store.otlp_plain import plain_text
from controltower.store.otlp_rows import KEYS_COLUMN
from controltower.store.otlp_text import text
from controltower.store.times import bounds

_YEAR_2000_NS: Final = 946_684_800 * 10**9
_YEAR_2200_NS: Final = 7_258_118_400 * 10**9
_NOW: Final = "toUInt64(toUnixTimestamp64Nano(now64(9)))"

RECEIVED: Final = (
    ("tenant", "tenant[-1]"),
    (
        "received",
        f"if(received_unix_nano BETWEEN {_YEAR_2000_NS} AND {_YEAR_2200_NS}, received_unix_nano, {_NOW})",
    ),
    *bounds("received"),
    ("redaction_keys", "redaction_keys"),
)
"""What is computed once per message, from the journal's envelope."""


KEYS: Final = (KEYS_COLUMN, "redaction_keys")
"""A column of decoded rows alone: the redaction behind them uses it, and no table has it."""


class Level(NamedTuple):
    """A level of the message: the columns that go on from it as they are, and what is computed once for each of it.

    ``joined`` names the arrays that are unrolled for it, where these are not columns of the inbox.
    """

    kept: Sequence[str]
    computed: Sequence[tuple[str, str]] = ()
    joined: Sequence[str] = ()


def view(
    signal: str,
    columns: Sequence[Column],
    levels: Sequence[Level],
    row: Sequence[tuple[str, str]],
    depth: int = DEPTH,
) -> str:
    """Return the view that makes rows of what comes into the inbox: *row* is each column and its expression."""
    name = stem(signal, depth)
    return (
        f"CREATE MATERIALIZED VIEW {name}_decode TO otlp_{signal}_decoded AS\n"
        f"SELECT\n{lines((_named(*each) for each in [*row, KEYS]), 4)}\n"
        f"FROM {_unrolled(f'{name}_inbox', columns, levels)}"
    )


def attribute_map(keys: str, values: str, depth: int, *, whole: bool = False) -> str:
    """Return the map of the attributes with *keys* and *values*, sorted by key; of equal keys the first is found.

    Values that lie deeper than *depth* are bytes, or refused when all must be *whole*.
    """
    printed = plain_text("value") if depth == PLAIN else text("value", depth, whole=whole)
    pairs = f"arrayMap((key, value) -> (key, {printed}), {keys}, {values})"
    # Not mapSort: it changes the order of equal keys.
    by_key = f"arraySort((pair, at) -> (pair.1, at), {pairs}, arrayEnumerate({keys}))"
    return f"CAST({by_key}, 'Map(LowCardinality(String), String)')"


def attribute_maps(keys: Sequence[str], values: Sequence[str], depth: int, *, whole: bool = False) -> str:
    """Return the maps of arrays of lists, behind each other: the printing of values is analysed once for all."""
    inner = attribute_map("keys", "values", depth, whole=whole)
    return f"arrayMap((keys, values) -> {inner}, arrayConcat({', '.join(keys)}), arrayConcat({', '.join(values)}))"


def _unrolled(inbox: str, columns: Sequence[Column], levels: Sequence[Level]) -> str:
    source = inbox
    for number, level in enumerate(levels, start=1):
        below = [column.name for column in columns if column.level > number]
        names = level.joined or [column.name for column in columns if column.level >= number]
        paths = {column.name: f"`{column.path}`" for column in columns} if number == 1 else {}
        selected = [*level.kept, *(_named(*each) for each in level.computed), *below]
        joined = (f"{paths.get(name, name)} AS {name}" for name in names)
        inner = f"SELECT\n{lines(selected, 4)}\nFROM {source}\nARRAY JOIN\n{lines(joined, 4)}"
        source = f"(\n{indent(inner, '    ')}\n)"
    return source


def _named(name: str, expression: str) -> str:
    plain = f"`{name}`" if "." in name else name
    return plain if expression == name else f"{expression} AS {plain}"
