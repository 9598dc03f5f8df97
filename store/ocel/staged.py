"""A log of OCEL in a database of its own on disk: events and objects stand in its files in any order, and memory is bounded.

The three forms are read into the same tables, so that everything behind them knows one form only.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from controltower.store.queries import statement

OWN_COLUMNS: Final = frozenset({"ocel_id", "ocel_time", "ocel_changed_field"})  # of OCEL's tables in a database
CACHE_KIB: Final = 32 * 1024  # of pages in memory, whatever the size of the log

Json = dict[str, Any]


class Related(NamedTuple):
    """An object that an event or another object names, and in which role."""

    object_id: str
    qualifier: str


class Types(NamedTuple):
    """The types of a log, each with its attributes and what kind of value they have: ``string``, ``float`` …"""

    events: dict[str, dict[str, str]]
    objects: dict[str, dict[str, str]]


class Event(NamedTuple):
    """An event as a log has it."""

    id: str
    type: str
    time: str
    values: dict[str, str]
    related: list[Related]


class Object(NamedTuple):
    """An object as a log has it; values are (name, time, value), and an empty time is from the beginning."""

    id: str
    type: str
    values: list[tuple[str, str, str]]
    related: list[Related]


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

    def declare(self, kind: Literal["event", "object"], type_: str, attributes: Mapping[str, str]) -> None:
        """Add a type with its attributes and what kind of value they have."""
        self._connection.execute("INSERT OR IGNORE INTO types (kind, type) VALUES (?, ?)", (kind, type_))
        self._connection.executemany(
            "INSERT OR IGNORE INTO value_types (kind, type, name, value_type) VALUES (?, ?, ?, ?)",
            [(kind, type_, *each) for each in attributes.items()],
        )

    def event(self, id_: str, type_: str, time: str, values: Json, related: Iterable[Related]) -> None:
        """Add an event."""
        found = self._connection.execute(
            "INSERT INTO events (id, type, time, attributes) VALUES (?, ?, ?, ?)",
            (id_, type_, time, json.dumps(values, ensure_ascii=False)),
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO event_objects (event, object, qualifier) VALUES (?, ?, ?)",
            [(found.lastrowid, *each) for each in related],
        )

    def object(self, id_: str, type_: str, values: Iterable[tuple[str, str, str]], related: Iterable[Related]) -> None:
        """Add an object, or more of it; *values* are (name, time, value), and an empty time is from the beginning."""
        self._connection.execute("INSERT OR REPLACE INTO objects (id, type) VALUES (?, ?)", (id_, type_))
        self._connection.executemany(
            "INSERT INTO object_values (object, name, time, value) VALUES (?, ?, ?, ?)",
            [(id_, *each) for each in values],
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO object_objects (source, target, qualifier) VALUES (?, ?, ?)",
            [(id_, *each) for each in related],
        )

    def relate(self, event: str, object_: str, qualifier: str) -> None:
        """Add an object to an event that does not have it yet, when both are there."""
        given = {"event": event, "object": object_, "qualifier": qualifier}
        self._connection.execute(statement("ocel_add_event_object"), given)

    def holds(self, object_: str) -> bool:
        """Whether an object is there."""
        return self._connection.execute("SELECT 1 FROM objects WHERE id = ?", (object_,)).fetchone() is not None

    def whole(self) -> int:
        """Say that all was added, and return how many events there are."""
        self._connection.execute("COMMIT")
        (count,) = self._connection.execute("SELECT count(*) FROM events").fetchone()
        return int(count)

    def types(self) -> Types:
        """Return the types that were declared or are there; an attribute that nobody declared is a string."""
        found = Types({}, {})
        for kind, type_, name, value_type in self._connection.execute(statement("ocel_types")):
            attributes = (found.events if kind == "event" else found.objects).setdefault(type_, {})
            if name:
                attributes[name] = value_type
        return found

    def each_event(self) -> Iterator[Event]:
        """Yield the events in order of time."""
        for event, _ in self.each_typed_event():
            yield event

    def each_typed_event(self) -> Iterator[tuple[Event, list[str]]]:
        """Yield the events in order of time, and the types of their objects; one that is not there has none."""
        with closing(self._connection.execute(statement("ocel_each_event"))) as rows:
            for number, id_, type_, time, values in rows:
                found = self._connection.execute(statement("ocel_event_objects"), {"event": number}).fetchall()
                related = [Related(object_id, qualifier) for object_id, _, qualifier in found]
                yield Event(id_, type_, time, json.loads(values), related), [each for _, each, _ in found]

    def each_object(self) -> Iterator[Object]:
        """Yield the objects by their ids."""
        with closing(self._connection.execute(statement("ocel_each_object"))) as rows:
            for id_, type_ in rows:
                values = self._connection.execute(statement("ocel_all_values"), (id_,)).fetchall()
                related = self._connection.execute(statement("ocel_related_of_object"), (id_,))
                yield Object(id_, type_, values, [Related(*each) for each in related])

    def counts(self) -> dict[str, int]:
        """Return how many events, objects and relations there are."""
        tables = ("events", "objects", "event_objects", "object_objects")
        sql = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)  # noqa: S608 - names above
        return dict(zip(tables, self._connection.execute(sql).fetchone(), strict=True))

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
