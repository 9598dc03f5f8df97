"""Databases that tests hand on to each other: setting one up costs a second, emptying one nothing.

A database is handed on only when it is as a migrated one is: the same tables by the same statements, and what the
migrations wrote untouched. Any other one is dropped, and the next test gets a new one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.schema import migrate

TABLES: Final = (
    "SELECT name, engine LIKE '%MergeTree' AS keeps, create_table_query FROM system.tables "
    "WHERE database = currentDatabase() ORDER BY name"
)
NOTHING: Final = "(0,0)"
Layout = dict[str, tuple[bool, str]]  # table -> whether it keeps rows, its statement

_migrated: dict[str, tuple[Layout, dict[str, str]]] = {}  # address -> as the migrations left it


@contextmanager
def migrated(address: StoreAddress, *, handed_on: bool = False) -> Iterator[Client]:
    """Give a client on a migrated database without rows, for the length of the block.

    With *handed_on* the database may be that of an earlier block on the same address, and is kept for the next one.
    """
    client = connect(address)
    try:
        if str(address) not in _migrated:
            migrate(client)
            layout = _layout(client)
            _migrated[str(address)] = layout, _written(client, layout)
        yield client
        if not (handed_on and _emptied(client, *_migrated[str(address)])):
            del _migrated[str(address)]
            client.command(f"DROP DATABASE IF EXISTS `{address.database}` SYNC")
    finally:
        client.close()


def _layout(client: Client) -> Layout:
    return {name: (bool(keeps), statement) for name, keeps, statement in client.query(TABLES).result_rows}


def _written(client: Client, layout: Layout) -> dict[str, str]:
    """Return the rows of every table that has some, as one number each."""
    sums = {name: _sum(client, name, statement) for name, (keeps, statement) in layout.items() if keeps}
    return {name: found for name, found in sums.items() if found != NOTHING}


def _sum(client: Client, table: str, statement: str) -> str:
    """Return what a table holds; a merge that happens to replace its rows changes nothing of it."""
    final = " FINAL" if "ReplacingMergeTree" in statement else ""
    return str(client.command(f"SELECT toString((count(), sum(cityHash64(toString(tuple(*)))))) FROM `{table}`{final}"))


def _emptied(client: Client, layout: Layout, written: dict[str, str]) -> bool:
    """Empty the tables; whether the database is as the migrations left it."""
    if _layout(client) != layout:
        return False
    for name, (keeps, _) in layout.items():
        if keeps and name not in written:
            client.command(f"TRUNCATE TABLE `{name}`")
    return all(_sum(client, name, layout[name][1]) == found for name, found in written.items())
