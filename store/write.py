"""Insert rows of the derived tables by column name; the dataclass is the only list of the columns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, ClassVar, Protocol

from clickhouse_connect.driver.client import Client

# One insert carries at most this many rows: a part large enough to be cheap, small enough to build in memory.
ROWS_PER_INSERT = 50_000


class Row(Protocol):
    """A frozen dataclass of ``rows.py``: its fields are the columns, ``TABLE`` is where it goes."""

    TABLE: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


def insert(client: Client, rows: Sequence[Row]) -> None:
    """Write *rows*, all of one type, to their table; an empty sequence writes nothing. Blocks until stored."""
    if not rows:
        return
    columns = [field.name for field in fields(rows[0])]
    for chunk in _chunks(rows):
        values = [list(map(attrgetter(name), chunk)) for name in columns]
        client.insert(rows[0].TABLE, values, column_names=columns, column_oriented=True, settings={"async_insert": 0})
        values.clear()  # the client's own record of the insert refers to itself, and would keep them


def insert_all(client: Client, groups: Iterable[Sequence[Row]]) -> None:
    """Write each group of rows in turn; the order of the groups is the order of the writes."""
    for rows in groups:
        insert(client, rows)


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), ROWS_PER_INSERT):
        yield rows[start : start + ROWS_PER_INSERT]
