"""X12 interchanges: split by the separators that each one names, checked against its own counts and control numbers.

What a receiver would refuse is refused as a whole: a set whose SE is wrong, a group whose GE is wrong, an interchange whose
IEA is wrong. So nothing is ever read in part, and what stands beside it is read.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from controltower.collector.scrapers.observation import Record

MOST_SEGMENTS: Final = 200_000  # of one set

_WIDTHS: Final = (2, 10, 2, 10, 2, 15, 2, 15, 6, 4, 1, 5, 9, 1, 1)
_HEADER: Final = re.compile(
    rb"ISA([^A-Za-z0-9\s])"
    + b"".join(b"[^\r\n]{%d}\\1" % width for width in _WIDTHS)
    + rb"([^A-Za-z0-9\s])([^A-Za-z0-9 ])"
)
_SEGMENT_ID: Final = re.compile(rb"[A-Z][A-Z0-9]{1,2}")
_BLANK: Final = b"\r\n\t "

# An acknowledgement is a record for each set that it acknowledges: from the one segment up to the other.
_SPLIT: Final = {b"997": (b"AK2", b"AK9"), b"999": (b"AK2", b"AK9")}

Segments = list[bytes]


class Separators(NamedTuple):
    """What an interchange separates with, a byte each."""

    element: bytes
    component: bytes
    segment: bytes


class _Envelope(NamedTuple):
    """How one level is opened and closed, and what is said of one that is not in order."""

    opens: bytes
    closes: bytes
    control: int  # element of the opening segment that holds the control number


_GROUP: Final = _Envelope(b"GS", b"GE", 6)
_SET: Final = _Envelope(b"ST", b"SE", 2)


class _Defect(Exception):
    """A level of the envelope is refused."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.flaw = f"{reason}: {detail}"


def separators(content: bytes) -> Separators | None:
    """Return the separators of what begins with an ISA segment; None when it does not."""
    header = _HEADER.match(content)
    if header is None or len({*header.groups()}) < len(header.groups()):
        return None
    return Separators(*header.groups())


def interchanges(content: bytes) -> Iterator[Record]:
    """Yield a record for each transaction set of a file, and one with a flaw for all that is refused.

    The content of a record is its ISA and GS segments and the set, with the separators it had. Its place is made of the
    control numbers, so that the same document under another name is the same one.
    """
    starts = [found.start() for found in _HEADER.finditer(content)] + [len(content)]
    before = content[: starts[0]]
    if before.strip(_BLANK):
        yield Record("0", before, "no_interchange: ISA")
    for begin, end in pairwise(starts):
        yield from _interchange(content[begin:end])


def split(content: bytes, marks: Separators) -> list[Segments]:
    """Return segments as their elements; element 0 is the name."""
    whole = (segment.lstrip(_BLANK) for segment in content.split(marks.segment))
    return [segment.split(marks.element) for segment in whole if segment]


def _interchange(content: bytes) -> Iterator[Record]:
    marks = separators(content)
    place = _place(content)
    if marks is None:
        yield Record(place, content, "bad_separators: ISA")
        return
    header, *segments = split(content, marks)
    if len(header) != len(_WIDTHS) + 2:  # a separator stands in a value
        yield Record(place, content, "bad_separators: ISA")
        return
    end = next((number for number, each in enumerate(segments) if each[0] == b"IEA"), None)
    try:
        if end is None:
            raise _Defect("missing", "IEA")
        _closed(segments[end], header[13], sum(each[0] == b"GS" for each in segments[:end]), b"IEA")
        groups = list(_parts(segments[:end], _GROUP, alone=(b"TA1",)))
    except _Defect as defect:
        yield Record(place, content, defect.flaw)
        return
    seen: set[bytes] = set()
    for group in groups:
        yield from _group(place, header, group, marks, seen)
    if rest := segments[end + 1 :]:
        yield Record(place, _joined(rest, marks), "no_interchange: after IEA")


def _group(
    place: str, header: Segments, group: list[Segments], marks: Separators, seen: set[bytes]
) -> Iterator[Record]:
    if group[0][0] == b"TA1":
        yield Record(f"{place}|TA1", _joined([header, *group], marks))
        return
    first, inside, last = group[0], group[1:-1], group[-1]
    control = _element(first, _GROUP.control)
    place = f"{place}|{_text(control)}"
    try:
        if control in seen:
            raise _Defect("repeated_control_number", "GS06")
        seen.add(control)
        _closed(last, control, sum(each[0] == b"ST" for each in inside), b"GE")
        sets = list(_parts(inside, _SET))
    except _Defect as defect:
        yield Record(place, _joined([header, *group], marks), defect.flaw)
        return
    numbers: set[bytes] = set()
    for each in sets:
        number = _element(each[0], _SET.control)
        at = f"{place}|{_text(number)}"
        try:
            _check_set(each, number, numbers)
        except _Defect as defect:
            yield Record(at, _joined([header, first, *each], marks), defect.flaw)
            continue
        for suffix, part in _documents(each):
            yield Record(at + suffix, _joined([header, first, *part], marks))


def _check_set(segments: list[Segments], number: bytes, numbers: set[bytes]) -> None:
    if number in numbers:
        raise _Defect("repeated_control_number", "ST02")
    numbers.add(number)
    if len(segments) > MOST_SEGMENTS:
        raise _Defect("too_long", "ST")
    for segment in segments:
        if not _SEGMENT_ID.fullmatch(segment[0]):
            raise _Defect("bad_segment", "its name")
    _closed(segments[-1], number, len(segments), b"SE")


def _documents(segments: list[Segments]) -> Iterator[tuple[str, list[Segments]]]:
    """Yield a set, or the parts of it that tell of one thing each, with what stands around them."""
    opens, closes = _SPLIT.get(_element(segments[0], 1), (b"", b""))
    starts = [number for number, each in enumerate(segments) if each[0] == opens]
    if not starts:
        yield "", segments
        return
    end = next((number for number, each in enumerate(segments) if each[0] == closes), len(segments) - 1)
    for number, (begin, until) in enumerate(zip(starts, [*starts[1:], end], strict=True)):
        yield f"|{number}", [*segments[: starts[0]], *segments[begin:until], *segments[end:]]


def _parts(segments: list[Segments], level: _Envelope, alone: tuple[bytes, ...] = ()) -> Iterator[list[Segments]]:
    """Yield what stands from an opening segment to its closing one; without one, to the next that opens.

    _Defect for what is outside.
    """
    part: list[Segments] = []
    for segment in segments:
        if part and segment[0] == level.opens:
            yield part
            part = []
        if not part and segment[0] in alone:
            yield [segment]
            continue
        if not part and segment[0] != level.opens:
            raise _Defect("unexpected_segment", f"outside {level.opens.decode()}")
        part.append(segment)
        if segment[0] == level.closes:
            yield part
            part = []
    if part:
        yield part


def _closed(segment: Segments, control: bytes, count: int, name: bytes) -> None:
    """Compare a closing segment with what it closes."""
    if segment[0] != name or len(segment) != 3:  # its name, a count, a control number
        raise _Defect("missing", name.decode())
    if not segment[1].isdigit() or int(segment[1]) != count:
        raise _Defect("wrong_count", f"{name.decode()}01")
    if segment[2].strip(_BLANK) != control:
        raise _Defect("wrong_control_number", f"{name.decode()}02")


def _place(content: bytes) -> str:
    return "|".join(_text(content[begin:end].strip()) for begin, end in ((35, 50), (54, 69), (90, 99)))


def _element(segment: Segments, number: int) -> bytes:
    return segment[number] if number < len(segment) else b""


def _text(value: bytes) -> str:
    return value[:40].decode("ascii", "replace")


def _joined(segments: list[Segments], marks: Separators) -> bytes:
    return b"".join(marks.element.join(segment) + marks.segment for segment in segments)
