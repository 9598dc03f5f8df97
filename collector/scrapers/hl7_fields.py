r"""What the rules of a source find in an HL7 message, by paths such as ``PID-18`` and ``FT1``.

===================  ==========================================================================
``PID-18``           field 18 of the first PID: its first repetition, component and subcomponent
``FT1-11.1.2``       component 1 of it, subcomponent 2
``PID-3[5=MR].1``    of the first repetition whose component 5 is MR
``ORC[1=NW]-2``      of the first ORC whose field 1 is NW
``FT1-2+``           of all FT1 and all repetitions, each value once; ``FT1-11*`` repeats what is there twice
``FT1``              lines: each from an FT1 segment up to the next
===================  ==========================================================================

A value that is ``""`` says that there is none. A line has what stands around it, too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from controltower.collector.scrapers.observation import ByPath

_PATH: Final = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})(?:\[(?P<where>[0-9]{1,2})=(?P<qualifier>[^\]]{1,40})\])?"
    r"(?:-(?P<field>[0-9]{1,3})(?:\[(?P<which>[0-9]{1,2})=(?P<is>[^\]]{1,40})\])?"
    r"(?:\.(?P<component>[0-9]{1,2})(?:\.(?P<sub>[0-9]{1,2}))?)?(?P<many>[+*])?)?"
)
_NOTHING: Final = '""'


class Marks(NamedTuple):
    """What a message separates with."""

    field: str
    component: str
    repetition: str
    escape: str
    sub: str


class Path(NamedTuple):
    """A place in a message."""

    segment: str
    where: int
    qualifier: str | None
    field: int  # 0: the loop that the segment begins
    which: int
    equal: str | None
    component: int
    sub: int
    many: str | None


@lru_cache(4_096)
def path_of(text: str) -> Path | None:
    """Return what a path says; None for what is no path."""
    found = _PATH.fullmatch(text)
    if found is None or "0" in (found["field"], found["component"], found["sub"]):
        return None
    numbers = {name: int(found[name] or 1) for name in ("where", "which", "component", "sub")}
    return Path(
        found["segment"],
        numbers["where"],
        found["qualifier"],
        int(found["field"] or 0),
        numbers["which"],
        found["is"],
        numbers["component"],
        numbers["sub"],
        found["many"],
    )


def is_loop(text: str) -> bool:
    """Whether a path names lines, and not a value."""
    path = path_of(text)
    return path is not None and not path.field


class Message(ByPath):
    """The fields of a message, of a part or of a line of one."""

    def __init__(
        self,
        segments: Sequence[list[str]],
        marks: Marks,
        around: "Message | None" = None,
        given: Mapping[str, str] | None = None,
    ) -> None:
        """*around* has what is not found in *segments*; *given* are fields by name."""
        self._segments = segments
        self._marks = marks
        self._around = around
        self._given = given or {}

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value at a path, a list where it names many."""
        path = path_of(name)
        if path is None:
            if name in self._given:
                return self._given[name]
            return default if self._around is None else self._around.get(name, default)
        if not path.field:
            return self._lines(path)
        values = [value for segment in self._of(path) for value in self._values(segment, path) if value]
        if not values and self._around is not None:
            return self._around.get(name, default)
        if path.many is not None:
            return (list(dict.fromkeys(values)) if path.many == "+" else values) or default
        return values[0] if values else default

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the segments: paths are asked for, not listed."""
        return iter(dict.fromkeys(segment[0] for segment in self._segments))

    def __len__(self) -> int:
        return len({segment[0] for segment in self._segments})

    def _of(self, path: Path) -> Iterator[list[str]]:
        for segment in self._segments:
            if segment[0] == path.segment and (
                path.qualifier is None or self._first(segment, path.where) == path.qualifier
            ):
                yield segment

    def _first(self, segment: list[str], field: int) -> str:
        value = segment[field] if field < len(segment) else ""
        return value.split(self._marks.component, 1)[0].strip()

    def _values(self, segment: list[str], path: Path) -> Iterator[str]:
        value = segment[path.field] if path.field < len(segment) else ""
        if segment[0] in ("MSH", "FHS", "BHS") and path.field < 3:
            yield value  # the separators themselves
            return
        for repetition in value.split(self._marks.repetition):
            components = repetition.split(self._marks.component)
            if path.equal is not None and _at(components, path.which).strip() != path.equal:
                continue
            text = _at(components, path.component)
            if self._marks.sub:
                text = _at(text.split(self._marks.sub), path.sub)
            text = self._unescaped(text.strip())
            yield "" if text == _NOTHING else text
            if path.many is None:
                return

    def _unescaped(self, text: str) -> str:
        mark = self._marks.escape
        if not mark or mark not in text:
            return text
        field, component, repetition, escape, sub = self._marks
        meant = {"F": field, "S": component, "R": repetition, "E": escape, "T": sub, ".br": "\n"}
        pieces = text.split(mark)
        for at in range(1, len(pieces) - 1, 2):
            pieces[at] = meant.get(pieces[at], "")  # highlighting and the like
        return "".join(pieces)

    def _lines(self, path: Path) -> list["Message"]:
        starts = [at for at, segment in enumerate(self._segments) if segment[0] == path.segment]
        wanted = {id(segment) for segment in self._of(path)}
        if not starts:
            return []
        around = Message(
            self._segments[: starts[0]], self._marks, self._around, self._given
        )  # a line knows nothing of other lines
        return [
            Message(self._segments[begin:end], self._marks, around)
            for begin, end in zip(starts, [*starts[1:], len(self._segments)], strict=True)
            if id(self._segments[begin]) in wanted
        ]


def _at(parts: list[str], number: int) -> str:
    return parts[number - 1] if number <= len(parts) else ""
