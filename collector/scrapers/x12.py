"""X12 interchanges: split by the separators that each one names, checked against its own counts and control numbers.

What a receiver would refuse is refused as a whole: a set whose SE is wrong, a group whose GE is wrong, an interchange whose
IEA is wrong. So nothing is ever read in part, and what stands beside it is read.
"""

import re
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.x12_parts import LEVEL, PARTS, parts_of

MOST_SEGMENTS: Final = 200_000  # of one set

_WIDTHS: Final = (2, 10, 2, 10, 2, 15, 2, 15, 6, 4, 1, 5, 9, 1, 1)
_TERMINATOR: Final = rb"([\xc2-\xf4][\x80-\xbf]{1,3}|[^A-Za-z0-9 ])"  # a byte, or a character of UTF-8
_HEADER: Final = re.compile(
    rb"ISA([^A-Za-z0-9\s])"
    + b"".join(b"[^\r\n]{%d}\\1" % width for width in _WIDTHS)
    + rb"([^A-Za-z0-9\s])"
    + _TERMINATOR
)
_BEGINS: Final = re.compile(  # also of an interchange whose header is not as wide as it should be
    rb"(?:\A[\r\n\t ]*|IEA[^A-Za-z0-9\s][0-9 ]*[^A-Za-z0-9\s][0-9 ]+[^A-Za-z0-9]{0,3}[\r\n\t ]*)(?=ISA[^A-Za-z0-9\s])"
)
_ENDS: Final = re.compile(rb"([^A-Za-z0-9\s])" + _TERMINATOR)  # of a header
_NUMBERS: Final = {9: 6, 10: 4}  # elements of digits only: the date and the time
_SEGMENT_ID: Final = re.compile(rb"[A-Z][A-Z0-9]{1,2}")
_BLANK: Final = b"\r\n\t \x1a"  # and the end of a file, as old systems mark it
_BOM: Final = b"\xef\xbb\xbf"
_NO_BREAK: Final = b"\xc2\xa0"  # what a text editor makes of a blank
_HEADER_BYTES: Final = 400  # of a header that is not as wide as it should be; a right one has 106

Segments = list[bytes]


class Separators(NamedTuple):
    """What an interchange separates with."""

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
_WHOLE_ANSWER: Final = (
    b"AK1",
    b"AK9",
)  # of a 997 or 999 what it says of the group; without ST rules for sets do not fit


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


def interchanges(content: bytes, *, exact: bool = False, envelopes: Collection[str] = frozenset()) -> Iterator[Record]:
    """Yield a record for each transaction set of a file, and one with a flaw for all that is refused.

    Of *envelopes* those are told of, too, that are in order: ``ISA`` an interchange, ``GS`` a group, both behind what they
    hold, and ``AK1`` what a 997 or 999 says of a group as a whole.

    The content of a record is its ISA and GS segments and the set, with the separators it had. Its place is made of the
    control numbers, so that the same document under another name is the same one. *exact* refuses an ISA that is not as
    wide as the standard says; otherwise it is read when it can only mean one thing.
    """
    content = content.removeprefix(_BOM)
    found = {each.start() for each in _HEADER.finditer(content)} | {each.end() for each in _BEGINS.finditer(content)}
    starts = [*sorted(found), len(content)]
    before = content[: starts[0]]
    if before.strip(_BLANK):
        yield Record("0", before, "no_interchange: ISA")
    seen: set[str] = set()
    for begin, end in pairwise(starts):
        yield from _interchange(content[begin:end], exact, seen, envelopes)


def split(content: bytes, marks: Separators) -> list[Segments]:
    """Return segments as their elements; element 0 is the name."""
    whole = (segment.lstrip(_BLANK) for segment in content.split(marks.segment))
    return [segment.split(marks.element) for segment in whole if segment]


def _interchange(content: bytes, exact: bool, seen: set[str], envelopes: Collection[str]) -> Iterator[Record]:
    try:
        marks = separators(content)
        if marks is None:
            content, marks = _padded(content, exact)
        header, *segments = split(content, marks)
        if len(header) != len(_WIDTHS) + 2:
            raise _Defect("bad_separators", "ISA")  # one stands in a value
    except _Defect as defect:
        yield Record("ISA", content, defect.flaw)
        return
    place = "|".join(_text(header[number].strip()) for number in (6, 8, 13))
    end = next((number for number, each in enumerate(segments) if each[0] == b"IEA"), None)
    try:
        if place in seen:
            raise _Defect("repeated_control_number", "ISA13")
        seen.add(place)
        groups = list(_parts(segments[:end], _GROUP, alone=(b"TA1",)))
        if end is None:
            raise _Defect("missing", "IEA")
        _closed(segments[end], header[13], sum(each[0] == b"GS" for each in segments[:end]), b"IEA")
    except _Defect as defect:
        yield Record(place, content, defect.flaw)
        return
    controls: set[bytes] = set()
    for group in groups:
        yield from _group(place, header, group, marks, controls, envelopes)
    if "ISA" in envelopes:
        yield Record(f"{place}|ISA", _joined([header, segments[end]], marks), part="ISA")
    if rest := segments[end + 1 :]:
        yield Record(place, _joined(rest, marks), "no_interchange: after IEA")


def _padded(content: bytes, exact: bool) -> tuple[bytes, Separators]:
    """Return an interchange with its header as wide as it should be; _Defect when it can mean more than one thing."""
    mark = content[3:4]
    elements = content[:_HEADER_BYTES].split(mark, len(_WIDTHS) + 1)
    if len(elements) != len(_WIDTHS) + 2:
        raise _Defect("bad_header", "ISA")
    *values, rest = elements
    if not rest.strip(_BLANK):
        raise _Defect("bad_header", "ISA16")
    for number, width in enumerate(_WIDTHS, 1):
        value = values[number].replace(_NO_BREAK, b" ").strip(_BLANK)
        digits = _NUMBERS.get(number)
        if len(value) > width or (digits and (len(value) != digits or not value.isdigit())):
            raise _Defect("bad_header", f"ISA{number:02d}")
        if exact and len(values[number]) != width:
            raise _Defect("bad_header", f"ISA{number:02d}")
        values[number] = value.ljust(width)
    ends = _ENDS.match(rest)
    if ends is None or len({mark, *ends.groups()}) < 3:
        raise _Defect("bad_separators", "ISA")
    header = mark.join([*values, ends[0]])
    behind = content[len(mark.join(elements[:-1])) + 1 + ends.end() :]
    return header + behind, Separators(mark, *ends.groups())


def _group(
    place: str,
    header: Segments,
    group: list[Segments],
    marks: Separators,
    seen: set[bytes],
    envelopes: Collection[str],
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
        for suffix, part, begins in _documents(each):
            yield Record(at + suffix, _joined([header, first, *part], marks), part=begins)
        if "AK1" in envelopes and any(segment[0] == b"AK1" for segment in each):
            whole = [segment for segment in each if segment[0] in _WHOLE_ANSWER]
            yield Record(f"{at}|AK1", _joined([header, first, *whole], marks), part="AK1")
    if "GS" in envelopes:
        yield Record(f"{place}|GS", _joined([header, first, last], marks), part="GS")


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


def _documents(segments: list[Segments]) -> Iterator[tuple[str, list[Segments], str]]:
    """Yield (suffix of the place, segments, what begins it) of a set and of its parts."""
    set_id = _text(_element(segments[0], 1))
    kind = PARTS.get(set_id)
    parts = list(parts_of(set_id, *_levels(segments))) if kind else []
    if kind is None or not parts or kind.whole:
        yield "", segments, ""
    for number, part in enumerate(parts):
        yield f"|{number}", part.of(segments), kind.begins if kind else ""


def _levels(segments: list[Segments]) -> tuple[list[str], list[str], list[str]]:
    """Return names, and of each level of a hierarchy the number of the one above, and its own."""
    names = [_text(segment[0]) for segment in segments]
    above = [_text(_element(each, 2)) if name == LEVEL else "" for name, each in zip(names, segments, strict=True)]
    own = [_text(_element(each, 1)) if name == LEVEL else "" for name, each in zip(names, segments, strict=True)]
    return names, above, own


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
    if not _same(segment[2].strip(_BLANK), control, exact=name == b"SE"):
        raise _Defect("wrong_control_number", f"{name.decode()}02")


def _same(given: bytes, control: bytes, *, exact: bool) -> bool:
    """Whether two control numbers are one: those of a group and an interchange are numbers, with any zeros before."""
    return given == control or (not exact and given.isdigit() and control.isdigit() and int(given) == int(control))


def _element(segment: Segments, number: int) -> bytes:
    return segment[number] if number < len(segment) else b""


def _text(value: bytes) -> str:
    return value[:40].decode("ascii", "replace")


def _joined(segments: list[Segments], marks: Separators) -> bytes:
    return b"".join(marks.element.join(segment) + marks.segment for segment in segments)
