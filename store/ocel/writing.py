"""A staged log as a file of OCEL 2.0, in JSON, XML or SQLite: read again it is the same log. Memory is bounded."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

from controltower.store.ocel.errors import OcelError
from controltower.store.ocel.staged import OWN_COLUMNS, Object, Related, Staged
from controltower.store.queries import statement

FROM_THE_BEGINNING: Final = "1970-01-01T00:00:00.000000+00:00"  # written as all times are: readers guess from the first
DECIMAL: Final = "decimal"  # of ours: OCEL calls it float, and in JSON and XML every digit is there all the same
COLUMNS: Final[Mapping[str, str]] = {
    "float": "REAL",
    "integer": "INTEGER",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMP",
}
MOST_COLUMNS: Final = 1_990  # SQLite has 2,000
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGERS: Final = range(-(2**63), 2**63)


def write_json(staged: Staged, path: Path) -> None:
    """Write the log as JSON to *path*, which must not be there. OSError."""
    types = staged.types()
    with path.open("x", encoding="utf-8") as file:
        file.write('{"objectTypes": ')
        json.dump(_declared(types.objects), file, ensure_ascii=False)
        file.write(',\n"eventTypes": ')
        json.dump(_declared(types.events), file, ensure_ascii=False)
        file.write(',\n"objects": ')
        _json_list(file, (_json_object(each, types.objects[each.type]) for each in staged.each_object()))
        file.write(',\n"events": ')
        _json_list(
            file,
            (
                f'{{"id": {_text(each.id)}, "type": {_text(each.type)}, "time": {_text(each.time)}, "attributes": ['
                + ", ".join(
                    f'{{"name": {_text(name)}, "value": {_literal(value, types.events[each.type][name])}}}'
                    for name, value in each.values.items()
                )
                + f'], "relationships": {_json_related(each.related)}}}'
                for each in staged.each_event()
            ),
        )
        file.write("}\n")


def _declared(types: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    return [
        {"name": type_, "attributes": [{"name": name, "type": _public(kind)} for name, kind in attributes.items()]}
        for type_, attributes in types.items()
    ]


def _public(value_type: str) -> str:
    return "float" if value_type == DECIMAL else value_type


def _json_list(file: TextIOWrapper, items: Iterable[str]) -> None:
    file.write("[")
    for number, item in enumerate(items):
        file.write(",\n" if number else "\n")
        file.write(item)
    file.write("]")


def _json_object(each: Object, kinds: Mapping[str, str]) -> str:
    values = ", ".join(
        f'{{"name": {_text(name)}, "time": {_text(time or FROM_THE_BEGINNING)}, "value": {_literal(value, kinds[name])}}}'
        for name, time, value in each.values
    )
    return (
        f'{{"id": {_text(each.id)}, "type": {_text(each.type)}, "attributes": [{values}], '
        f'"relationships": {_json_related(each.related)}}}'
    )


def _json_related(related: Iterable[Related]) -> str:
    return json.dumps([{"objectId": id_, "qualifier": qualifier} for id_, qualifier in related], ensure_ascii=False)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _literal(value: str, kind: str) -> str:
    """Return a value as JSON has it: a number with the digits it has, never by way of a float."""
    if kind in ("integer", "float", DECIMAL) and _NUMBER.fullmatch(value):
        return value
    return value if kind == "boolean" and value in ("true", "false") else _text(value)


# -- XML


def write_xml(staged: Staged, path: Path) -> None:
    """Write the log as XML to *path*, which must not be there. OcelError for what XML cannot hold; OSError."""
    from lxml import etree

    try:
        with path.open("xb") as file, etree.xmlfile(file, encoding="utf-8") as xml:
            xml.write_declaration()
            with xml.element("log"):
                _xml(staged, xml, etree.Element)
    except ValueError as exc:  # a character that no XML may hold
        raise OcelError(f"The log cannot be written as XML ({exc}); write it as JSON.") from exc


def _xml(staged: Staged, xml: Any, element: Callable[..., Any]) -> None:
    types = staged.types()
    for kind, found in (("object", types.objects), ("event", types.events)):
        with xml.element(f"{kind}-types"):
            for type_, attributes in found.items():
                with xml.element(f"{kind}-type", name=type_), xml.element("attributes"):
                    for name, value_type in attributes.items():
                        xml.write(element("attribute", name=name, type=_public(value_type)))
    with xml.element("objects"):
        for each in staged.each_object():
            with xml.element("object", id=each.id, type=each.type):
                given = [(name, value, {"time": time or FROM_THE_BEGINNING}) for name, time, value in each.values]
                _xml_content(xml, element, given, each.related)
    with xml.element("events"):
        for event in staged.each_event():
            with xml.element("event", id=event.id, type=event.type, time=event.time):
                given = [(name, value, {}) for name, value in event.values.items()]
                _xml_content(xml, element, given, event.related)


def _xml_content(
    xml: Any, element: Callable[..., Any], values: list[tuple[str, str, dict[str, str]]], related: list[Related]
) -> None:
    with xml.element("attributes"):
        for name, value, more in values:
            made = element("attribute", name=name, **more)
            made.text = value
            xml.write(made)
    with xml.element("objects"):
        for id_, qualifier in related:
            xml.write(element("relationship", {"object-id": id_, "qualifier": qualifier}))


# -- SQLite


def write_sqlite(staged: Staged, path: Path) -> None:
    """Write the log as a database to *path*, which must not be there. OcelError for what it cannot hold; OSError.

    A column of numbers holds them as doubles: digits behind the fifteenth are not kept.
    """
    path.open("xb").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as target:
        target.executescript(statement("ocel_sqlite_made"))
        target.execute("BEGIN")
        types = staged.types()
        event_tables = _tables(target, "event", types.events)
        object_tables = _tables(target, "object", types.objects)
        for each in staged.each_object():
            _sqlite_object(target, object_tables[each.type], each)
        for event in staged.each_event():
            target.execute("INSERT INTO event VALUES (?, ?)", (event.id, event.type))
            event_tables[event.type].insert(target, {"ocel_id": event.id, "ocel_time": event.time, **event.values})
            target.executemany(
                "INSERT INTO event_object VALUES (?, ?, ?)", [(event.id, *each) for each in event.related]
            )
        target.execute("COMMIT")


class _Table:
    """The table of one type."""

    def __init__(self, name: str, columns: Mapping[str, str]) -> None:
        self.name = _quoted(name)
        self._kinds = columns

    def create(self, target: sqlite3.Connection, own: Mapping[str, str]) -> None:
        columns = {**own, **{name: COLUMNS.get(_public(kind), "TEXT") for name, kind in self._kinds.items()}}
        listed = ", ".join(f"{_quoted(name)} {kind}" for name, kind in columns.items())
        target.execute(f"CREATE TABLE {self.name} ({listed})")

    def insert(self, target: sqlite3.Connection, row: Mapping[str, str]) -> None:
        names = ", ".join(map(_quoted, row))
        marks = ", ".join("?" * len(row))
        values = [_stored(value, self._kinds.get(name, "")) for name, value in row.items()]
        target.execute(f"INSERT INTO {self.name} ({names}) VALUES ({marks})", values)  # noqa: S608 - quoted


def _tables(target: sqlite3.Connection, kind: str, types: Mapping[str, Mapping[str, str]]) -> dict[str, _Table]:
    own = {"ocel_id": "TEXT", "ocel_time": "TIMESTAMP"} | ({"ocel_changed_field": "TEXT"} if kind == "object" else {})
    taken: set[str] = set()
    tables = {}
    for type_, attributes in types.items():
        _fit_columns(type_, attributes)
        short = re.sub(r"[^A-Za-z0-9_]", "", type_)
        while not short or short.lower() in taken:
            short += "_"
        taken.add(short.lower())
        target.execute(f"INSERT INTO {kind}_map_type VALUES (?, ?)", (type_, short))  # noqa: S608 - event or object
        tables[type_] = _Table(f"{kind}_{short}", attributes)
        tables[type_].create(target, own)
    return tables


def _fit_columns(type_: str, attributes: Mapping[str, str]) -> None:
    """Refuse what columns cannot be called: SQLite does not tell small letters from large ones."""
    names = [*OWN_COLUMNS, *map(_lower, attributes)]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise OcelError(
            f"The attribute {repeated[0]} of {type_} is there twice for a database, or is called as one of OCEL's own; "
            "write the log as JSON."
        )
    if len(names) > MOST_COLUMNS:
        raise OcelError(f"{type_} has more attributes than a database has columns; write the log as JSON.")


def _lower(name: str) -> str:
    return "".join(chr(ord(each) + 32) if "A" <= each <= "Z" else each for each in name)


def _sqlite_object(target: sqlite3.Connection, table: _Table, each: Object) -> None:
    target.execute("INSERT INTO object VALUES (?, ?)", (each.id, each.type))
    first: dict[str, str] = {}
    changes = []
    for name, time, value in each.values:
        if time or name in first:
            changes.append({"ocel_time": time or FROM_THE_BEGINNING, "ocel_changed_field": name, name: value})
        else:
            first[name] = value
    for row in ({"ocel_time": FROM_THE_BEGINNING, **first}, *changes):
        table.insert(target, {"ocel_id": each.id, **row})
    target.executemany("INSERT INTO object_object VALUES (?, ?, ?)", [(each.id, *related) for related in each.related])


def _stored(value: str, kind: str) -> str | int:
    """Return a value as its column takes it without change; OcelError for a number that is too large."""
    if kind == "integer" and _NUMBER.fullmatch(value) and value.lstrip("-").isdecimal():
        if int(value) not in _INTEGERS:
            raise OcelError(f"The number {value[:40]} is too large for a database; write the log as JSON.")
        return int(value)
    return value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


WRITERS: Final[Mapping[str, Callable[[Staged, Path], None]]] = {
    "json": write_json,
    "xml": write_xml,
    "sqlite": write_sqlite,
}
