"""A shadow: a database beside the store's own, in which changed flows are tried over all that is stored.

What the engine derived begins as it is in the store, by parts that both share on the disk, so a shadow costs only what
differs. Spans, their links and corrections are read where they are. Nobody reads a shadow until it takes the store's place.

Who makes a shadow has a lease on it. What was killed leaves a shadow whose lease ends, and whoever comes next removes it.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from clickhouse_connect.driver.binding import quote_identifier
from clickhouse_connect.driver.client import Client

from controltower.store.address import StoreAddress
from controltower.store.client import connect
from controltower.store.lease import extend, leased
from controltower.store.queries import statement

# Steps first: what is derived of a step that is not there yet is derived again.
DERIVED: Final = (
    "steps",
    "document_lines",
    "step_keys",
    "key_links",
    "parked_steps",
    "transaction_steps",
    "past_memberships",
    "transactions",
    "transaction_history",
    "deadlines",
    "awaited_deadlines",
    "reconciliations",
    "exceptions",
    "engine_state",
)
_SHADOW: Final = re.compile(r"_[a-z]+_[0-9a-f]{32}")  # what a shadow's name has behind the store's
SHARED: Final = ("otel_traces", "source_watermarks", "span_links", "corrections")

LASTS: Final = timedelta(hours=1)  # of a lease: longer than a cycle of the engine, and than a comparison at the end

_MAKE: Final = "CREATE DATABASE {shadow:Identifier}"
# After AS the engine takes no parameter: names are quoted.
_LIKE: Final = "CREATE TABLE {shadow}.{table} AS {own}.{table}"
_FILL: Final = "ALTER TABLE {shadow}.{table} ATTACH PARTITION tuple() FROM {own}.{table}"
# A view, because an engine that names a table by a text is refused by the endpoint; the engine asks by parts, too.
_THROUGH: Final = "CREATE VIEW {shadow}.{table} AS SELECT *, _part FROM {own}.{table}"
_DROP: Final = "DROP DATABASE IF EXISTS {shadow:Identifier} SYNC"
# A table keeps its comment when it changes its name: so it is known which of two it is.
_MARK: Final = "ALTER TABLE {shadow}.{table} MODIFY COMMENT '{mark}'"
_DATABASES: Final = "SELECT name FROM system.databases WHERE startsWith(name, {begins:String})"
_COMMENTS: Final = "SELECT name, comment FROM system.tables WHERE database = {database:String}"


def make_shadow(address: StoreAddress, own: Client, name: str, now: datetime) -> Client:
    """Return a client on a new shadow of the store at *address*, whose client is *own*; ``keep`` it while it is worked on.
    Raises the engine's errors."""
    keep(own, name, now)
    quoted = {"shadow": quote_identifier(name), "own": quote_identifier(address.database), "mark": _mark(name)}
    try:
        own.command(_MAKE, parameters={"shadow": name})
        for table in (*DERIVED, "engine_lookup"):
            own.command(_LIKE.format(table=table, **quoted))
        for table in DERIVED:
            own.command(_FILL.format(table=table, **quoted))
            own.command(_MARK.format(table=table, **quoted))
        for table in SHARED:
            own.command(_THROUGH.format(table=table, **quoted))
        shadow = open_shadow(address, name)
        shadow.command(statement("shadow_view"))
    except BaseException:
        drop_shadow(own, name)
        raise
    return shadow


def shadow_name(address: StoreAddress, purpose: str) -> str:
    """Return the name of a new shadow."""
    return f"{address.database}_{purpose}_{uuid4().hex}"


def keep(own: Client, name: str, now: datetime) -> None:
    """Say that a shadow is worked on, for ``LASTS``."""
    extend(own, _lease(name), name, now + LASTS)


def drop_abandoned(own: Client, database: str, now: datetime, but: Container[str]) -> list[str]:
    """Remove the shadows of a store that nobody works on any more, *but* those that wait to be taken over; return them."""
    found = own.query(_DATABASES, parameters={"begins": f"{database}_"}).result_rows
    shadows = [name for (name,) in found if _SHADOW.fullmatch(name.removeprefix(database)) and name not in but]
    abandoned = [name for name in shadows if not leased(own, _lease(name), now)]
    for name in abandoned:
        drop_shadow(own, name)
    return abandoned


def _lease(name: str) -> str:
    return f"shadow {name}"


def _mark(name: str) -> str:
    mark = name.rpartition("_")[2]
    if not mark.isalnum():
        raise ValueError(f"{name} is no shadow's name")
    return mark


def open_shadow(address: StoreAddress, name: str) -> Client:
    """Return a client on a shadow that is there."""
    return connect(replace(address, database=name))


def drop_shadow(own: Client, name: str) -> None:
    """Remove a shadow; none is fine."""
    own.command(_DROP, parameters={"shadow": name})


def left_to_exchange(client: Client, database: str, name: str) -> list[str]:
    """Return the tables of a shadow that did not take the place of the store's yet."""
    taken = {
        table
        for table, comment in client.query(_COMMENTS, parameters={"database": database}).result_rows
        if comment == _mark(name)
    }
    return [table for table in DERIVED if table not in taken]


def exchange(client: Client, database: str, name: str, tables: Sequence[str]) -> None:
    """Let these tables of a shadow and of the store change places, in one statement."""
    pairs = ", ".join(f"{{own:Identifier}}.{table} AND {{shadow:Identifier}}.{table}" for table in tables)
    if pairs:
        client.command(f"EXCHANGE TABLES {pairs}", parameters={"own": database, "shadow": name})
