"""A log of OCEL in a database of its own on disk: events and objects stand in its files in any order, and memory is bounded.

The three forms are read into the same tables, so that everything behind them knows one form only.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from controltower.store.queries import statement

CACHE_KIB: Final = 32 * 1024  # of pages in memory, whatever the size of the log

Json = dict[str, Any]


class Related(NamedTuple):
    """An object that an event or another object names, and in which role."""

    object_id: str
    qualifier: str


class Staged:
    """The tables. For one thread; ``close`` removes nothing."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(statement("ocel_staged"))
        self._connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._connection.execute("BEGIN")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def event(self, id_: str, type_: str, time: str, values: Json, related: list[Related]) -> None:
        """Add an event."""
        found = self._connection.execute(
            "INSERT INTO events (id, type, time, attributes) VALUES (?, ?, ?, ?)",
            (id_, type_, time, json.dumps(values, ensure_ascii=False)),
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO event_objects (event, object, qualifier) VALUES (?, ?, ?)",
            [(found.lastrowid, *each) for each in related],
        )

    def object(self, id_: str, type_: str, values: list[tuple[str, str, str]], related: list[Related]) -> None:
        """Add an object; *values* are (name, time, value), and an empty time is from the beginning."""
        self._connection.execute("INSERT OR REPLACE INTO objects (id, type) VALUES (?, ?)", (id_, type_))
        self._connection.executemany(
            "INSERT INTO object_values (object, name, time, value) VALUES (?, ?, ?, ?)",
            [(id_, *each) for each in values],
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO object_objects (source, target, qualifier) VALUES (?, ?, ?)",
            [(id_, *each) for each in related],
        )

    def whole(self) -> int:
        """Say that all was added, and return how many events there are."""
        self._connection.execute("COMMIT")
        (count,) = self._connection.execute("SELECT count(*) FROM events").fetchone()
        return int(count)

    def events(self, behind: int) -> Iterator[tuple[int, Json]]:
        """Yield (number, event) in the file's order, of those behind number *behind*.

        An event has id, type, time, attributes, objects (id, type, qualifier and the values at its time), related (type
        and id of the objects that its objects are related with), and ``repeated`` when its id was there before.
        """
        with closing(self._connection.execute(statement("ocel_events"), {"behind": behind})) as rows:
            for number, id_, type_, time, values, repeated in rows:
                yield (
                    number,
                    {
                        "id": id_,
                        "type": type_,
                        "time": time,
                        "attributes": json.loads(values),
                        "objects": list(self._objects(number, time)),
                        "related": self._connection.execute(statement("ocel_related"), {"event": number}).fetchall(),
                        "repeated": bool(repeated),
                    },
                )

    def _objects(self, event: int, time: str) -> Iterator[Json]:
        for id_, type_, qualifier in self._connection.execute(statement("ocel_event_objects"), {"event": event}):
            found = self._connection.execute(statement("ocel_object_values"), {"object": id_, "time": time})
            yield {"id": id_, "type": type_, "qualifier": qualifier, "values": dict(found)}
