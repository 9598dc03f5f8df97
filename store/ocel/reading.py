"""Logs of OCEL 2.0 in JSON, XML and SQLite, and of OCEL 1.0 in JSON, read piece by piece into tables."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final

import ijson
import ijson.common
from lxml import etree

from controltower.store.ocel.errors import OcelError
from controltower.store.ocel.staged import OWN_COLUMNS, Json, Related, Staged
from controltower.store.queries import statement

SQLITE_HEAD: Final = b"SQLite format 3\0"
BEGINNING: Final = "1970-01-01"  # what OCEL writes for a value that an object always had
COLUMN_TYPES: Final = {"REAL": "float", "INTEGER": "integer", "BOOLEAN": "boolean", "TIMESTAMP": "time"}


def stage(path: Path, staged: Staged) -> int:
    """Read the log at *path* into *staged* and return how many events it has; its form is told by how it begins.

    Raises OcelError for what is no log or is damaged, OSError.
    """
    with path.open("rb") as file:
        head = file.read(512).lstrip(b"\xef\xbb\xbf \r\n\t")
        file.seek(0)
        try:
            if head.startswith(SQLITE_HEAD):
                _sqlite(path, staged)
            elif head.startswith(b"<"):
                _xml(file, staged)
            else:
                _json(file, staged)
        except (
            ijson.common.JSONError,
            etree.XMLSyntaxError,
            sqlite3.Error,
            KeyError,
            TypeError,
            AttributeError,
        ) as exc:
            raise OcelError(f"{path} is no whole log of OCEL: {' '.join(str(exc).split())[:300]}.") from exc
    count = staged.whole()
    if not count:
        raise OcelError(f"{path} holds no event of OCEL.")
    return count


def _time(text: str) -> str:
    """Return a time so written that texts compare as times do; as it is when it is none, which is told of its event."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return text
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def _since(text: str | None) -> str:
    """Return since when a value holds: an empty text for the beginning, as whatever time of its first day that is said."""
    return "" if not text or text.startswith(BEGINNING) else _time(text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


# -- JSON


def _json(file: BinaryIO, staged: Staged) -> None:
    for kind in ("event", "object"):
        file.seek(0)
        for item in ijson.items(file, f"{kind}Types.item"):
            staged.declare(kind, item["name"], {each["name"]: each["type"] for each in item.get("attributes") or []})
    for prefix, read in (("events.item", _json_event), ("objects.item", _json_object)):
        file.seek(0)
        for item in ijson.items(file, prefix):
            read(item, staged)
    _json_1(file, staged)


def _json_1(file: BinaryIO, staged: Staged) -> None:
    """Read OCEL 1.0, which does not declare what kind of value an attribute has: the first one tells."""
    file.seek(0)
    for id_, event in ijson.kvitems(file, "ocel:events"):
        related = [Related(each, "") for each in event.get("ocel:omap", [])]
        given = event.get("ocel:vmap", {})
        values = {name: _text(value) for name, value in given.items()}
        staged.event(id_, event["ocel:activity"], _time(_text(event["ocel:timestamp"])), values, related)
        staged.declare("event", event["ocel:activity"], {name: _value_type(value) for name, value in given.items()})
    file.seek(0)
    for id_, found in ijson.kvitems(file, "ocel:objects"):
        given = found.get("ocel:ovmap", {})
        staged.object(id_, found["ocel:type"], [(name, "", _text(value)) for name, value in given.items()], [])
        staged.declare("object", found["ocel:type"], {name: _value_type(value) for name, value in given.items()})


def _value_type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case Decimal() | float():
            return "float"
    return "string"


def _json_event(event: Json, staged: Staged) -> None:
    values = {each["name"]: _text(each["value"]) for each in event.get("attributes", [])}
    staged.event(event["id"], event["type"], _time(event["time"]), values, _json_related(event))


def _json_object(found: Json, staged: Staged) -> None:
    values = [(each["name"], _since(each.get("time")), _text(each["value"])) for each in found.get("attributes", [])]
    staged.object(found["id"], found["type"], values, _json_related(found))


def _json_related(item: Json) -> list[Related]:
    return [Related(each["objectId"], each.get("qualifier") or "") for each in item.get("relationships") or []]


# -- XML


def _xml(file: BinaryIO, staged: Staged) -> None:
    # Nothing outside of the file is fetched, and no entity of its own is expanded.
    tags = ("event", "object", "event-type", "object-type")
    parsed = etree.iterparse(file, tag=tags, resolve_entities=False, no_network=True, huge_tree=True)
    for _, element in parsed:
        found = element.getparent()
        if element.tag.endswith("-type"):
            attributes = {each.get("name"): each.get("type") for each in element.iterfind("attributes/attribute")}
            staged.declare("event" if element.tag == "event-type" else "object", element.get("name"), attributes)
            continue
        if found is None or found.tag not in ("events", "objects"):
            continue
        related = [
            Related(each.get("object-id"), each.get("qualifier") or "")
            for each in element.iterfind("objects/relationship")
        ]
        values = [
            (each.get("name"), _since(each.get("time")), each.text or "")
            for each in element.iterfind("attributes/attribute")
        ]
        if element.tag == "event":
            given = {name: value for name, _, value in values}
            staged.event(element.get("id"), element.get("type"), _time(element.get("time")), given, related)
        else:
            staged.object(element.get("id"), element.get("type"), values, related)
        element.clear()
        while element.getprevious() is not None:
            del found[0]


# -- SQLite


def _sqlite(path: Path, staged: Staged) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as source:
        for name, type_ in source.execute(statement("ocel_sqlite_event_types")).fetchall():
            _sqlite_events(source, name, type_, staged)
        for name, type_ in source.execute(statement("ocel_sqlite_object_types")).fetchall():
            _sqlite_objects(source, name, type_, staged)


def _sqlite_events(source: sqlite3.Connection, table: str, type_: str, staged: Staged) -> None:
    staged.declare("event", type_, _columns(source, "event_" + table))
    for row in _rows(source, "event_" + table):
        id_, time = row.pop("ocel_id"), row.pop("ocel_time")
        related = source.execute(statement("ocel_sqlite_event_related"), (id_,)).fetchall()
        values = {name: _text(value) for name, value in row.items() if value is not None}
        staged.event(id_, type_, _time(_text(time)), values, [Related(*each) for each in related])


def _sqlite_objects(source: sqlite3.Connection, table: str, type_: str, staged: Staged) -> None:
    staged.declare("object", type_, _columns(source, "object_" + table))
    for row in _rows(source, "object_" + table):
        id_, time, changed = row.pop("ocel_id"), row.pop("ocel_time", ""), row.pop("ocel_changed_field", None)
        names = [changed] if changed else list(row)
        given = [(name, _since(time), _text(row[name])) for name in names if row.get(name) is not None]
        staged.object(id_, type_, given, [])
    for (id_,) in source.execute(statement("ocel_sqlite_objects"), (type_,)):
        related = source.execute(statement("ocel_sqlite_object_related"), (id_,)).fetchall()
        staged.object(id_, type_, [], [Related(*each) for each in related])


def _columns(source: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the attributes that are columns of a table, with what kind of value they have."""
    columns = source.execute("SELECT name, type FROM pragma_table_info(?)", (table,))
    return {name: COLUMN_TYPES.get(type_.upper(), "string") for name, type_ in columns if name not in OWN_COLUMNS}


def _rows(source: sqlite3.Connection, table: str) -> Iterator[Json]:
    quoted = '"' + table.replace('"', '""') + '"'
    with closing(source.execute(f"SELECT * FROM {quoted} ORDER BY rowid")) as rows:  # noqa: S608 - quoted
        names = [each[0] for each in rows.description]
        for row in rows:
            yield dict(zip(names, row, strict=True))
