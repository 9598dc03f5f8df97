"""Numbered migrations: what the store has, what it lacks, and applying it.

Data definition has no transactions, so each statement is recorded, before it runs and after. A statement that was cut
off between the two is run again, and then "exists already" is the answer that is hoped for.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from clickhouse_connect.driver.exceptions import Error as EngineError

from controltower.store.client import Client, engine_text
from controltower.store.errors import SchemaError
from controltower.store.statements import normal, split

State = Literal["started", "done", "failed"]

RECORD: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
    version UInt32,
    name String,
    statement UInt32 COMMENT '0: the whole migration',
    digest String,
    state LowCardinality(String),
    at DateTime64(6, 'UTC'),
    recorded UInt64
) ENGINE = ReplacingMergeTree(recorded)
ORDER BY (version, statement)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1  -- a store that forgot what it has could not be opened again
"""
READ: Final = "SELECT version, statement, digest, state FROM schema_version FINAL ORDER BY version, statement"
WHOLE: Final = 0
# What a statement that ran before answers: TABLE_ALREADY_EXISTS, DATABASE_ALREADY_EXISTS, DUPLICATE_COLUMN,
# ILLEGAL_COLUMN (an index that is there), FUNCTION_ALREADY_EXISTS.
EXISTS_ALREADY: Final = (57, 82, 15, 44, 609)
REPEATABLE: Final = re.compile(r"CREATE |ALTER TABLE \S+ (MODIFY|ADD) ")  # it is as it was, or answers one of these
EXCERPT: Final = 160

_normal = cache(normal)  # each statement is asked for twice: for itself, and for the whole migration
Record = dict[tuple[int, int], tuple[str, State]]
_NEVER: Final[tuple[str, State]] = ("", "failed")  # neither run nor cut off


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of statements."""

    number: int
    name: str
    statements: tuple[str, ...]


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the migrations that ship with the program, in order."""
    folder = files("controltower.store").joinpath("sql")
    named = {entry.name: entry for entry in folder.iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", entry.name)}
    return tuple(
        Migration(int(name[:4]), name, tuple(split(named[name].read_text(encoding="utf-8")))) for name in sorted(named)
    )


def version(client: Client) -> int:
    """Return the number of the last migration that the store has completely; 0 for an empty store."""
    return max(
        (number for (number, statement), (_, state) in _record(client).items() if _whole(statement, state)), default=0
    )


def pending(client: Client, known: Sequence[Migration] | None = None) -> list[str]:
    """Return the names of the migrations that are not completely applied. Raises SchemaError as ``migrate`` does."""
    known = migrations() if known is None else known
    record = _record(client)
    _check(record, known)
    return [migration.name for migration in _open(record, known)]


def migrate(client: Client, known: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing, in order, and return the names of what was applied.

    Running it again is harmless, also after it was cut off. Raises SchemaError when the store is newer than the
    program, when an applied migration differs from the program's, or when a statement fails: the message names it.
    """
    known = migrations() if known is None else known
    client.command(RECORD)
    record = _record(client)
    _check(record, known)
    applied = []
    for migration in _open(record, known):
        _apply(client, migration, record)
        applied.append(migration.name)
    return applied


def _apply(client: Client, migration: Migration, record: Record) -> None:
    # A note costs more than most statements: what may be repeated without harm is noted together, and the end of one
    # group with the start of the next.
    ended: dict[int, State] = {}
    for group in _groups(migration.statements):
        left = [position for position in group if record.get((migration.number, position), _NEVER)[1] != "done"]
        if left:
            _note(client, migration, {**ended, **dict.fromkeys(left, "started")})
            _run(client, migration, left, record)
            ended = dict.fromkeys(left, "done")
    _note(client, migration, {**ended, WHOLE: "done"})


def _groups(statements: Sequence[str]) -> Iterator[list[int]]:
    """Yield the positions of statements that are noted together: in a row what may be repeated, alone what may not."""
    together: list[int] = []
    for position, statement in enumerate(statements, start=1):
        repeatable = REPEATABLE.match(_normal(statement)) is not None
        if together and not repeatable:
            yield together
            together = []
        if repeatable:
            together.append(position)
        else:
            yield [position]
    if together:
        yield together


def _run(client: Client, migration: Migration, positions: Sequence[int], record: Record) -> None:
    for number, position in enumerate(positions):
        cut_off = record.get((migration.number, position), _NEVER)[1] == "started"
        statement = migration.statements[position - 1]
        try:
            client.command(statement)
        except EngineError as exc:
            if cut_off and exc.code in EXISTS_ALREADY:
                continue  # the run that was cut off had come this far
            done, not_done = positions[:number], positions[number:]
            _note(client, migration, {**dict.fromkeys(done, "done"), **dict.fromkeys(not_done, "failed")})
            raise SchemaError(
                f"{migration.name}, statement {position} of {len(migration.statements)} failed "
                f"({normal(statement)[:EXCERPT]} …): {engine_text(exc)} "
                "What came before it is applied; remove the cause and run `controltower migrate` again."
            ) from exc


def _note(client: Client, migration: Migration, states: Mapping[int, State]) -> None:
    client.command(
        "INSERT INTO schema_version SELECT {version:UInt32}, {name:String}, noted.1, noted.2, noted.3, now64(6), "
        "{recorded:UInt64} FROM (SELECT arrayJoin({noted:Array(Tuple(UInt32, String, String))}) AS noted)",
        parameters={
            "version": migration.number,
            "name": migration.name,
            "noted": [(position, _digest(migration, position), state) for position, state in states.items()],
            "recorded": time.time_ns(),
        },
    )


def _record(client: Client) -> Record:
    if not client.command("EXISTS TABLE schema_version"):
        return {}
    rows = client.query(READ).result_rows
    return {(number, statement): (digest, state) for number, statement, digest, state in rows}


def _check(record: Record, known: Sequence[Migration]) -> None:
    newest = known[-1].number if known else 0
    stored = max((number for number, _ in record), default=0)
    if stored > newest:
        raise SchemaError(f"The store has schema {stored} and this program knows {newest}; upgrade controltower.")
    for migration, position in _positions(known):
        digest, state = record.get((migration.number, position), _NEVER)
        if state == "done" and digest != _digest(migration, position):
            where = "with other statements" if position == WHOLE else f"with another statement {position}"
            raise SchemaError(
                f"{migration.name} was applied {where} than this program has; "
                "use the program that made this store, or a new store."
            )


def _open(record: Record, known: Sequence[Migration]) -> list[Migration]:
    return [m for m in known if record.get((m.number, WHOLE), _NEVER)[1] != "done"]


def _positions(known: Sequence[Migration]) -> Iterator[tuple[Migration, int]]:
    for migration in known:
        for position in range(1, len(migration.statements) + 1):
            yield migration, position
        yield migration, WHOLE


def _digest(migration: Migration, position: int) -> str:
    text = migration.statements if position == WHOLE else migration.statements[position - 1 : position]
    return hashlib.sha256("\0".join(map(_normal, text)).encode()).hexdigest()


def _whole(statement: int, state: State) -> bool:
    return statement == WHOLE and state == "done"
