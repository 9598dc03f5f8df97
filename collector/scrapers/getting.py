"""How a value is taken from a record: a field, a JSONPath, or a text made of several, and changed on the way."""

from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any, Final

import jsonpath_rfc9535

from controltower.collector.scrapers.definition import TimeSpec, ValueSpec
from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.observation import Fields
from controltower.collector.scrapers.times import Clock, day, has_hour, rfc3339, time_reader, zone_of
from controltower.collector.scrapers.transforms import Change, Transform, change_of, together
from controltower.collector.scrapers.xml_documents import Element

Groups = Mapping[str, str]
Get = Callable[[Fields, Groups], Any]
"""Takes a value from a record and what was found in it; None when it is not there."""

GetText = Callable[[Fields, Groups], str | None]
GetTime = Callable[[Fields, Groups], int | None]

EPOCH_ENDS_NS: Final = 2**63 - 1
MOST_VALUES: Final = 1_000  # of one path


def value_getter(spec: ValueSpec, zone: str, clock: Clock) -> Callable[[Fields, Groups], Any]:
    """Return what takes the value of *spec*: a text, a list of texts where a path finds many, or None."""
    get = _first(spec.field, *spec.otherwise) if spec.field is not None else _template(spec.text or "")
    changes: list[Transform] = []
    for transform in spec.do:
        if (join := together(transform)) is not None:
            get, changes = _together(_changed(get, changes, zone, clock), join), []
        else:
            changes.append(transform)
    return _changed(get, changes, zone, clock)


def time_getter(spec: TimeSpec, zone: str, clock: Clock) -> GetTime:
    """Return what takes a time, in nanoseconds since 1970."""
    get, change = getter(spec.field), change_of(spec.do, zone, clock)
    read = time_reader(spec.format, zone_of(spec.zone or zone), clock)

    def time(fields: Fields, groups: Groups) -> int | None:
        text = get(fields, groups)
        if text is None or text == "":
            return None
        if type(text) is not str:
            raise Rejection("bad_time", spec.field)
        return read(change(text) if change else text)

    return time


def business_time_getter(spec: TimeSpec, zone: str, clock: Clock) -> GetText:
    """Return what takes a time as RFC 3339; a day alone stays one, because nothing happened at its midnight."""
    get = _time_text(spec, zone, clock)
    own = zone_of(spec.zone or zone)
    read = time_reader(spec.format, own, clock)

    def time(fields: Fields, groups: Groups) -> str | None:
        text = get(fields, groups)
        if text is None:
            return None
        at_ns = within_epoch(read(text))
        return rfc3339(at_ns) if has_hour(spec.format, text) else day(at_ns, own)

    return time


def within_epoch(at_ns: int) -> int:
    """Return a time that the store can hold; Rejection for another one."""
    if at_ns > EPOCH_ENDS_NS:
        raise Rejection("bad_time")
    return at_ns


def _time_text(spec: TimeSpec, zone: str, clock: Clock) -> GetText:
    get = getter(spec.field)
    change = change_of(spec.do, zone, clock)

    def text(fields: Fields, groups: Groups) -> str | None:
        found = get(fields, groups)
        if found is None or found == "":
            return None
        if not isinstance(found, str):
            raise Rejection("bad_time", spec.field)
        return change(found) if change else found

    return text


def getter(field: str) -> Get:
    """Return what takes *field*: a name, which what was found stands before, or a JSONPath."""
    if field.startswith("$"):
        return _path(field)

    def get(fields: Fields, groups: Groups) -> Any:
        found = groups.get(field)
        if found is None:
            found = fields.get(field)
        return found if type(found) is str else _plain(found)  # nearly always a text

    return get


def items_getter(path: str) -> Callable[[Fields], list[Fields]]:
    """Return what takes the objects at a JSONPath, or the lines of a document."""
    if not path.startswith("$"):
        return lambda fields: _few([*fields.lines(path)] if isinstance(fields, Element) else fields.get(path) or [])
    query: Any = jsonpath_rfc9535.compile(path)

    def items(fields: Fields) -> list[Fields]:
        return _few([value for value in query.find(fields).values() if isinstance(value, dict)])

    return items


def _first(*fields: str) -> Get:
    """Return what takes the first of *fields* that has a value."""
    gets = [getter(field) for field in fields]
    if len(gets) == 1:
        return gets[0]
    return lambda fields, groups: next((value for get in gets if (value := get(fields, groups))), None)


def _few(found: list[Fields]) -> list[Fields]:
    if len(found) > MOST_VALUES:
        raise Rejection("too_many_lines")
    return found


def _path(text: str) -> Get:
    query: Any = jsonpath_rfc9535.compile(text)
    if query.singular_query():  # nearly always; walking costs a tenth of asking the library
        parts = [_part(segment.selectors[0]) for segment in query.segments]
        return lambda fields, groups: _plain(_walked(fields, parts))

    def many(fields: Fields, groups: Groups) -> Any:
        values = [_plain(value) for value in query.find(fields).values()]
        if len(values) > MOST_VALUES:
            raise Rejection("too_many_values", text)
        return [value for value in values if value not in (None, "")] or None

    return many


def _part(selector: Any) -> str | int:
    part: str | int = selector.name if isinstance(selector, jsonpath_rfc9535.selectors.NameSelector) else selector.index
    return part


def _walked(value: Any, parts: list[str | int]) -> Any:
    for part in parts:
        if isinstance(part, str):
            value = value.get(part) if isinstance(value, dict) else None
        else:
            value = value[part] if isinstance(value, list) and -len(value) <= part < len(value) else None
    return value


def _plain(value: Any) -> Any:
    """Return a JSON value as text; a list as its texts."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return [text for text in map(_plain, value) if isinstance(text, str)][:MOST_VALUES]
    return None  # an object is no value


def _template(text: str) -> Get:
    parts = [(literal, getter(field) if field else None) for literal, field, _, _ in Formatter().parse(text)]

    def made(fields: Fields, groups: Groups) -> str | None:
        pieces: list[str] = []
        for literal, get in parts:
            pieces.append(literal)
            if get is not None:
                value = get(fields, groups)
                if not isinstance(value, str) or not value:
                    return None
                pieces.append(value)
        return "".join(pieces)

    return made


def _changed(get: Get, transforms: list[Transform], zone: str, clock: Clock) -> Get:
    change = change_of(transforms, zone, clock)
    return get if change is None else _changing(get, change)


def _together(get: Get, join: Callable[[list[str]], str]) -> Get:
    def joined(fields: Fields, groups: Groups) -> Any:
        value = get(fields, groups)
        texts = [text for text in ([value] if isinstance(value, str) else value or []) if text]
        return join(texts) if texts else None

    return joined


def _changing(get: Get, change: Change) -> Get:
    def changed(fields: Fields, groups: Groups) -> Any:
        value = get(fields, groups)
        if isinstance(value, str):
            return change(value)
        return value if value is None else [change(each) for each in value]

    return changed
