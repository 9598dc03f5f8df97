"""What the rules of a source find in a document of segments, X12 or EDIFACT, by paths such as ``BEG03`` and ``PO1``.

==============  ==============================================================================
``BEG03``       element 3 of the first BEG segment
``REF[IA]02``   element 2 of the first REF whose element 1 is IA; ``HL[03=I]01`` compares another
``SV101-2``     component 2 of an element
``PO1/VN|UP``   the element behind the one that is VN, as items are written; behind UP where there is none
``PRF01+``      all of them, each value once; ``RMR04*`` repeats what is there twice
``PO1``         lines: each from a PO1 segment up to the next, or to the summary
``PO1>ACK``     lines: each ACK in a PO1, with what the PO1 says; a PO1 without any stands for itself
``CAS02x3``     lines: each group of three elements from element 2 on, as elements 2, 3 and 4
==============  ==============================================================================

A qualifier is compared with the element, or with its first component. A line has what stands around it, too: its own
segments come first, then those of the hierarchy above it, then what stands outside of all lines.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from controltower.collector.scrapers.observation import ByPath

Segment = list[str]

PART: Final = "part"
"""The field that says which part of a document a record is: the segment that begins it, nothing for the whole."""

_NAME: Final = r"[A-Z][A-Z0-9]{1,2}"
_PATH: Final = re.compile(
    rf"(?:(?P<inside>{_NAME})>)?(?P<segment>{_NAME}?)(?:\[(?:(?P<where>[0-9]{{2}})=)?(?P<qualifier>[A-Za-z0-9]{{1,30}})\])?"
    r"(?:(?P<element>[0-9]{2})(?:x(?P<every>[1-9])|(?:-(?P<component>[0-9]{1,2}))?(?P<many>[+*])?)|/(?P<behind>[A-Z0-9]{1,3}(?:\|[A-Z0-9]{1,3}){0,20}))?"
)


class Path(NamedTuple):
    """A place in a document."""

    segment: str
    where: int
    qualifier: str | None
    element: int  # 0: the loop that the segment begins
    component: int
    behind: tuple[str, ...]
    many: str | None
    every: int  # elements of a group; 0: no groups
    inside: str | None
    is_loop: bool  # it names lines, and not a value


@lru_cache(4_096)
def path_of(text: str) -> Path | None:
    """Return what a path says; None for what is no path."""
    found = _PATH.fullmatch(text)
    if found is None or found["element"] == "00":
        return None
    element, every, behind = int(found["element"] or 0), int(found["every"] or 0), found["behind"]
    path = Path(
        found["segment"],
        int(found["where"] or 1),
        found["qualifier"],
        element,
        int(found["component"] or 0),
        tuple(behind.split("|")) if behind else (),
        found["many"],
        every,
        found["inside"],
        is_loop=every > 0 or not (element or behind),
    )
    return None if path.inside is not None and not path.is_loop else path


def is_loop(text: str) -> bool:
    """Whether a path names lines, and not a value."""
    path = path_of(text)
    return path is not None and path.is_loop


class Form(NamedTuple):
    """What differs between the standards: what stands between components, and which segments end the lines."""

    component: str
    ends: frozenset[str]
    level: str = ""  # the segment of a hierarchy: its element 1 is its number, element 2 that of the one above
    first: bool = False  # an element without a component is its first one


class Document(ByPath):
    """The fields of a document, of a part or of a line of one."""

    def __init__(
        self,
        segments: Sequence[Segment],
        form: Form,
        around: "Document | None" = None,
        given: Mapping[str, str] | None = None,
    ) -> None:
        """*around* has what is not found in *segments*; *given* are fields by name."""
        self._segments = segments
        self._form = form
        self._around = around
        self._given = given or {}
        self._named: dict[str, list[Segment]] = {}
        for segment in segments:
            self._named.setdefault(segment[0], []).append(segment)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value at a path, a list where it names many."""
        path = path_of(name)
        if path is None:
            return self._by_name(name, default)
        if path.is_loop:
            return self._lines(path)
        values = []
        for segment in self._named.get(path.segment, ()):
            if path.qualifier is not None and not self._is(segment, path.where, path.qualifier):
                continue
            if value := self._value(segment, path):
                if path.many is None:
                    return value
                values.append(value)
        if not values:
            return default if self._around is None else self._around.get(name, default)
        return list(dict.fromkeys(values)) if path.many == "+" else values

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the segments: paths are asked for, not listed."""
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def _by_name(self, name: str, default: Any) -> Any:
        if name in self._given:
            return self._given[name]
        return default if self._around is None else self._around.get(name, default)

    def _is(self, segment: Segment, where: int, qualifier: str) -> bool:
        if where >= len(segment):
            return False
        value = segment[where].strip()
        return value == qualifier or value.split(self._form.component, 1)[0] == qualifier

    def _value(self, segment: Segment, path: Path) -> str:
        if path.behind:
            pairs = dict(reversed([*pairwise(segment[1:])]))
            return next((pairs[name].strip() for name in path.behind if pairs.get(name)), "")
        value = segment[path.element].strip() if path.element < len(segment) else ""
        if not path.component:
            return value.split(self._form.component, 1)[0] if self._form.first else value
        parts = value.split(self._form.component)
        return parts[path.component - 1].strip() if path.component <= len(parts) else ""

    def _lines(self, path: Path) -> list["Document"]:
        if path.inside is None:
            loops = self._loops(path)
        else:
            within = self._loops(Path(path.inside, 1, None, 0, 0, (), None, 0, None, is_loop=True))
            loops = [line for outer in within for line in outer._loops(path) or [outer]]
        return [group for loop in loops for group in loop._groups(path)] if path.every else loops

    def _groups(self, path: Path) -> Iterator["Document"]:
        """Yield the groups of elements of the segment that begins this line, as far as they hold anything."""
        segment = self._segments[0]
        for begin in range(path.element, len(segment), path.every):
            group = segment[begin : begin + path.every]
            if any(group):
                yield Document([[*segment[: path.element], *group]], self._form, self)

    def _loops(self, path: Path) -> list["Document"]:
        named = self._named.get(path.segment, ())
        wanted = {id(each) for each in named if path.qualifier is None or self._is(each, path.where, path.qualifier)}
        if not wanted:
            return []
        ranges = list(self._ranges(path.segment))
        inside = {at for begin, end in ranges for at in range(begin, end)}
        outside = [segment for at, segment in enumerate(self._segments) if at not in inside]
        around = Document(outside, self._form, self._around, self._given)  # a line knows nothing of other lines
        levels: dict[str, Document] = {}
        found: list[Document] = []
        for begin, end in ranges:
            first = self._segments[begin]
            is_level = first[0] == self._form.level and len(first) > 2
            above = levels.get(first[2].strip(), around) if is_level else around
            loop = Document(self._segments[begin:end], self._form, above)
            if is_level:
                levels[first[1].strip()] = loop
            if id(first) in wanted:
                found.append(loop)
        return found

    def _ranges(self, name: str) -> Iterator[tuple[int, int]]:
        """Yield where the loops that begin with a segment of that name begin and end."""
        ends = self._form.ends if name == self._form.level else self._form.ends | {self._form.level}
        begin: int | None = None
        for at, segment in enumerate(self._segments):
            if segment[0] != name and segment[0] not in ends:
                continue
            if begin is not None:
                yield begin, at
            begin = at if segment[0] == name else None
        if begin is not None:
            yield begin, len(self._segments)
