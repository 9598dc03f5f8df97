"""Backups by the engine's own BACKUP and RESTORE: taken while everything runs, and checked when they are restored.

The embedded engine writes them into the folder ``backups`` beside the store's, a server where its own configuration
allows it (``backups.allowed_path``). A backup holds the database as a whole: tables, views, and the schema's version.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.binding import quote_identifier
from clickhouse_connect.driver.exceptions import Error as EngineError

from controltower.store.address import StoreAddress
from controltower.store.client import Client, backups_of, engine_text
from controltower.store.errors import BackupError

NAME: Final = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # never a path
INSIDE: Final = "controltower"  # what the database is called within a backup, whatever its own name
POLL_S: Final = 0.2
UNDER_WAY: Final = frozenset({"CREATING_BACKUP", "RESTORING"})  # every other state is an end, a cancelled one, too
TABLES: Final = (
    "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree' ORDER BY name"
)
STATE: Final = "SELECT status, error FROM system.backups WHERE id = {id:String}"
# The engine reads a store from its beginning that was last read under other flows: what it derived may be a moment
# older or newer in the backup than the spans.
READ_AGAIN: Final = "INSERT INTO engine_state (name, value, version) VALUES ('flows', '', {version:UInt64})"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup and the rows of its tables."""

    name: str
    rows: Mapping[str, int]

    @property
    def total(self) -> int:
        """Return the rows of all tables."""
        return sum(self.rows.values())


def back_up(client: Client, address: StoreAddress, name: str) -> Backup:
    """Make the backup *name*, which must not be there yet; blocks until it is on the disk. Raises BackupError.

    What is derived from rows as they are inserted belongs to them only if nothing is loaded meanwhile: see to that.
    """
    target = _file(name)
    if not _tables(client, _database(client)):
        raise BackupError(f"The store at {address} holds nothing yet.")
    if address.path is not None:
        backups_of(address.path).mkdir(mode=0o700, exist_ok=True)
    database = quote_identifier(_database(client))
    _run(client, f"BACKUP DATABASE {database} AS {INSIDE} TO {target} ASYNC", "BACKUP_CREATED")
    if address.path is not None:
        _sync(backups_of(address.path) / name)
    with _opened(client, name) as inside:
        return Backup(name, {table: _count(client, inside, table) for table in _tables(client, inside)})


def restore(client: Client, address: StoreAddress, name: str) -> Backup:
    """Fill an empty store from the backup *name*; returns when every row was read and is on the disk.

    Raises BackupError when the store is not empty, or holds other rows than the backup after it.
    """
    source = _file(name)
    own = _database(client)
    if full := [table for table in _tables(client, own) if _count(client, own, table)]:
        raise BackupError(f"The store at {address} is not empty ({', '.join(full[:3])}); restore into an empty one.")
    with _opened(client, name) as inside:
        wanted = {table: _count(client, inside, table) for table in _tables(client, inside)}
    command = f"RESTORE DATABASE {INSIDE} AS {quote_identifier(own)} FROM {source}"
    _run(client, f"{command} SETTINGS structure_only = 1 ASYNC", "RESTORED")
    with _without_merges(
        client, own
    ):  # they would make one of several rows before they are counted, and take files away
        _run(client, f"{command} ASYNC", "RESTORED")
        found = {table: _count(client, own, table, "WHERE NOT ignore(*)") for table in _tables(client, own)}
        if found != wanted:
            differing = sorted(table for table in wanted | found if wanted.get(table) != found.get(table))
            said = ", ".join(f"{table}: {found.get(table, 0):,} of {wanted.get(table, 0):,}" for table in differing[:5])
            raise BackupError(f"The store differs from the backup {name} in its rows ({said}); do not use it.")
        client.command(READ_AGAIN, parameters={"version": time.time_ns()})
        if address.path is not None:
            _sync(address.path)
    return Backup(name, found)


def _file(name: str) -> str:
    if not NAME.fullmatch(name):
        raise BackupError(f"{name!r} is no name of a backup: letters, digits, - and _ make one, at most 64.")
    return f"File('{name}')"


def _database(client: Client) -> str:
    return str(client.command("SELECT currentDatabase()"))


def _tables(client: Client, database: str) -> list[str]:
    return [name for (name,) in client.query(TABLES, parameters={"database": database}).result_rows]


def _count(client: Client, database: str, table: str, condition: str = "") -> int:
    """Return the rows of a table; with a condition that looks at every column, by reading all of it."""
    name = f"{quote_identifier(database)}.{quote_identifier(table)}"
    try:
        return int(client.query(f"SELECT count() FROM {name} {condition}").result_rows[0][0])  # noqa: S608 - a name of the engine's
    except EngineError as exc:
        raise BackupError(f"The table {table} cannot be read: {engine_text(exc)}") from exc


def _run(client: Client, statement: str, wanted: str) -> None:
    """Run a statement that goes on after its answer, however long it takes, and wait for its end."""
    try:
        identity, state = client.command(statement)  # type: ignore[misc]  # a row of two texts
        error = ""
        while state in UNDER_WAY:
            time.sleep(POLL_S)
            ((state, error),) = client.query(STATE, parameters={"id": identity}).result_rows
    except EngineError as exc:
        raise BackupError(f"The store refused: {engine_text(exc)}") from exc
    if state != wanted:
        raise BackupError(f"The store refused: {error or state}")


@contextmanager
def _opened(client: Client, name: str) -> Iterator[str]:
    """Read a backup as a database, whose name is given, without restoring it."""
    inside = f"backup_{name}"
    quoted = quote_identifier(inside)
    try:
        client.command(f"DROP DATABASE IF EXISTS {quoted} SYNC")  # of a process that was killed
        client.command(f"CREATE DATABASE {quoted} ENGINE = Backup('{INSIDE}', {_file(name)})")
    except EngineError as exc:
        raise BackupError(f"The backup {name} cannot be read: {engine_text(exc)}") from exc
    try:
        yield inside
    finally:
        client.command(f"DROP DATABASE {quoted} SYNC")


@contextmanager
def _without_merges(client: Client, database: str) -> Iterator[None]:
    names = [f"{quote_identifier(database)}.{quote_identifier(table)}" for table in _tables(client, database)]
    for name in names:
        client.command(f"SYSTEM STOP MERGES {name}")
    try:
        yield
    finally:
        for name in names:
            client.command(f"SYSTEM START MERGES {name}")


def _sync(folder: Path) -> None:
    """Write out every file and folder below *folder*: the engine does not, and a power cut would take them.

    What goes away meanwhile is the engine's own, of logs and temporary files: nothing that has to stay.
    """
    for root, _, files in os.walk(folder):
        for path in (*(Path(root, file) for file in files), Path(root)):
            with suppress(FileNotFoundError):
                _write_out(path)


def _write_out(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
