"""What the rules of a source find in an X12 document, by paths such as ``BEG03``, ``REF[IA]02`` and ``PO1``.

=============  ==============================================================================
``BEG03``      element 3 of the first BEG segment
``REF[IA]02``  element 2 of the first REF whose element 1 is IA; ``HL[03=I]01`` compares another
``SV101-2``    component 2 of an element
``PO1/VN``     the element behind the one that is VN, as items are written
``PRF01+``     all of them, each value once
``PO1``        lines: each from a PO1 segment up to the next, or to the summary
=============  ==============================================================================

A line has what stands around it, too: its own segments come first, then those of the hierarchy above it, then all.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.x12 import separators

TIME: Final = "interchange_time"
TIME_FORM: Final = "%y%m%d%H%M"

_PATH: Final = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{1,2}?)(?:\[(?:(?P<where>[0-9]{2})=)?(?P<qualifier>[A-Z0-9]{1,30})\])?"
    r"(?:(?P<element>[0-9]{2})(?:-(?P<component>[0-9]{1,2}))?(?P<all>\+)?|/(?P<behind>[A-Z0-9]{1,3}))?"
)
_LOOPS_END: Final = frozenset(("CTT", "TDS", "SE"))


class Path(NamedTuple):
    """A place in a document."""

    segment: str
    where: int
    qualifier: str | None
    element: int  # 0: the loop that the segment begins
    component: int
    behind: str | None
    all: bool


@lru_cache(4_096)
def path_of(text: str) -> Path | None:
    """Return what a path says; None for what is no path."""
    found = _PATH.fullmatch(text)
    if found is None or found["element"] == "00":
        return None
    return Path(
        found["segment"],
        int(found["where"] or 1),
        found["qualifier"],
        int(found["element"] or 0),
        int(found["component"] or 0),
        found["behind"],
        found["all"] is not None,
    )


def is_loop(text: str) -> bool:
    """Whether a path names lines, and not a value."""
    path = path_of(text)
    return path is not None and not path.element and path.behind is None


class Document(Mapping[str, Any]):
    """The fields of a document, or of a line of one."""

    def __init__(self, segments: list[list[str]], component: str, around: "Document | None" = None) -> None:
        self._segments = segments
        self._component = component
        self._around = around
        self._named: dict[str, list[list[str]]] = {}
        for segment in segments:
            self._named.setdefault(segment[0], []).append(segment)

    def __getitem__(self, name: str) -> Any:
        """Return the value at a path; KeyError when there is none."""
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value at a path, a list where it names many."""
        if name == TIME:
            return self.get("ISA09", "") + self.get("ISA10", "")
        path = path_of(name)
        if path is None:
            return default
        if not path.element and path.behind is None:
            return self._loops(path)
        values = [value for segment in self._of(path) if (value := self._value(segment, path))]
        if not values and self._around is not None:
            return self._around.get(name, default)
        if path.all:
            return list(dict.fromkeys(values)) or default
        return values[0] if values else default

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the segments: paths are asked for, not listed."""
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def _of(self, path: Path) -> Iterator[list[str]]:
        for segment in self._named.get(path.segment, ()):
            if path.qualifier is None or (path.where < len(segment) and segment[path.where] == path.qualifier):
                yield segment

    def _value(self, segment: list[str], path: Path) -> str:
        if path.behind is not None:
            return next((value for name, value in pairwise(segment[1:]) if name == path.behind), "")
        value = segment[path.element].strip() if path.element < len(segment) else ""
        if not path.component:
            return value
        parts = value.split(self._component)
        return parts[path.component - 1] if path.component <= len(parts) else ""

    def _loops(self, path: Path) -> list["Document"]:
        wanted = {id(segment) for segment in self._of(path)}
        found: list[Document] = []
        levels: dict[str, Document] = {}
        begin: int | None = None
        for at, segment in enumerate(self._segments):
            if segment[0] != path.segment and segment[0] not in _LOOPS_END:
                continue
            if begin is not None:
                self._end(begin, at, levels, found, wanted)
            begin = at if segment[0] == path.segment else None
        return found

    def _end(
        self, begin: int, end: int, levels: dict[str, "Document"], found: list["Document"], wanted: set[int]
    ) -> None:
        segments = self._segments[begin:end]
        first = segments[0]
        is_level = first[0] == "HL" and len(first) > 2
        around = levels.get(first[2], self) if is_level else self
        loop = Document(segments, self._component, around)
        if is_level:
            levels[first[1]] = loop
        if id(first) in wanted:
            found.append(loop)


def document(content: bytes, encoding: str) -> Document:
    """Return the fields of a record's content. Rejection when it is not written in *encoding*."""
    marks = separators(content)
    if marks is None:
        raise Rejection("no_interchange", "ISA")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise Rejection("bad_encoding", encoding) from None
    element, segment = marks.element.decode("latin-1"), marks.segment.decode("latin-1")
    segments = [each.split(element) for each in text.split(segment) if each]
    return Document(segments, marks.component.decode("latin-1"))
