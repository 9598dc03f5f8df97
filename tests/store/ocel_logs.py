"""Logs of OCEL 2.0 with everything that it can hold, drawn by chance; and what one holds, for comparing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from controltower.store.ocel.reading import stage
from controltower.store.ocel.staged import Event, Object, Related, Staged

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
KINDS = ("string", "integer", "float", "boolean", "time")
# What XML can hold, without the surrogates that no text may have; ids and names may be anything of it.
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]) | st.sampled_from("\n\t'\"<&@:%;[]{}")
TEXTS = st.text(CHARACTERS, max_size=12)
NAMES = st.text(CHARACTERS, min_size=1, max_size=8)
TIMES = st.integers(0, 10**12).map(lambda us: (BEGIN + timedelta(microseconds=us)).isoformat(timespec="microseconds"))
VALUES = {
    "string": TEXTS,
    "integer": st.integers(-(2**63), 2**63 - 1).map(str),
    "float": st.floats(allow_nan=False, allow_infinity=False).map(lambda number: str(Decimal(repr(number)))),
    "boolean": st.sampled_from(["true", "false"]),
    "time": TIMES,
}
Types = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Log:
    """A log: types with the kinds of their attributes, objects and events."""

    event_types: Types
    object_types: Types
    objects: tuple[Object, ...]
    events: tuple[Event, ...]

    def stage(self, staged: Staged) -> None:
        """Put the log into the tables."""
        for type_, attributes in self.object_types.items():
            staged.declare("object", type_, attributes)
        for type_, attributes in self.event_types.items():
            staged.declare("event", type_, attributes)
        for each in self.objects:
            staged.object(*each)
        for event in self.events:
            staged.event(*event)
        staged.whole()


@contextmanager
def staging() -> Iterator[Staged]:
    """Give empty tables for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        staged = Staged(Path(folder) / "staged.sqlite")
        try:
            yield staged
        finally:
            staged.close()


def content(staged: Staged) -> tuple[Any, ...]:
    """Return all that a log holds, whatever the order of its file; numbers are compared as numbers."""
    types = staged.types()
    return (
        types.events,
        types.objects,
        sorted(each._replace(values=_same(each.values, types.events[each.type])) for each in staged.each_event()),
        [
            each._replace(values=sorted((name, time, _number(value, types.objects[each.type][name])) for name, time, value in each.values))
            for each in staged.each_object()
        ],
    )  # fmt: skip


def content_of(file: Path) -> tuple[Any, ...]:
    """Return all that the log in a file holds."""
    with staging() as staged:
        stage(file, staged)
        return content(staged)


def _same(values: dict[str, str], kinds: dict[str, str]) -> Any:
    return sorted((name, _number(value, kinds[name])) for name, value in values.items())


def _number(value: str, kind: str) -> str:
    return str(Decimal(value).normalize()) if kind == "float" else value


@st.composite
def types(draw: st.DrawFn) -> Types:
    """Draw types with their attributes, whose names differ by more than capitals."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    attributes = st.lists(NAMES, max_size=3, unique_by=str.lower)
    return {name: {each: draw(st.sampled_from(KINDS)) for each in draw(attributes)} for name in names}


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Draw a log: objects of no event, values that change, relations with many qualifiers, types without anything."""
    event_types, object_types = draw(types()), draw(types())
    ids = draw(st.lists(NAMES, max_size=5, unique=True))
    related = st.lists(st.builds(Related, st.sampled_from(ids), TEXTS), max_size=4, unique=True) if ids else st.just([])
    objects = [
        Object(id_, type_, draw(_changes(object_types[type_])), sorted(draw(related)))
        for id_ in ids
        for type_ in [draw(st.sampled_from(sorted(object_types)))]
    ]
    events = [
        Event(id_, type_, draw(TIMES), draw(_values(event_types[type_])), sorted(draw(related)))
        for id_ in draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
        for type_ in [draw(st.sampled_from(sorted(event_types)))]
    ]
    return Log(event_types, object_types, tuple(objects), tuple(events))


@st.composite
def _values(draw: st.DrawFn, kinds: dict[str, str]) -> dict[str, str]:
    return {name: draw(VALUES[kind]) for name, kind in kinds.items() if draw(st.booleans())}


@st.composite
def _changes(draw: st.DrawFn, kinds: dict[str, str]) -> list[tuple[str, str, str]]:
    times = st.lists(st.just("") | TIMES, max_size=3, unique=True)
    return [(name, time, draw(VALUES[kind])) for name, kind in kinds.items() for time in draw(times)]
