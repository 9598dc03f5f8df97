"""EDIFACT interchanges: split by the separators of their UNA, checked against their own counts and control numbers.

As with X12, what a receiver would refuse is refused as a whole: a message whose UNT is wrong, a group whose UNE is wrong,
an interchange whose UNZ is wrong; and what stands beside it is read.
"""

import re
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from controltower.collector.scrapers.edifact_parts import parts_of
from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.segment_fields import PART, Document, Form

TIME: Final = "interchange_time"
TIME_FORM: Final = "compact"
NAMES: Final = frozenset((TIME, PART))
MOST_SEGMENTS: Final = 200_000  # of one message
DEFAULT: Final = ":+.? '"

_BLANK: Final = b"\r\n\t \x1a"  # and the end of a file, as old systems mark it
_BOM: Final = b"\xef\xbb\xbf"
_BEGINS: Final = re.compile(
    rb"(?:\A|(?<=[\r\n\t ])|(?<=[^A-Za-z0-9]))(?:UNA[^A-Za-z0-9\s][^A-Za-z0-9\s]|UNB[^A-Za-z0-9\s])"
)
_NAME: Final = re.compile(rb"[A-Z]{3}")
_KEPT: Final = b"\x01\x02\x03\x04"  # what was released: the separators of components, elements and segments, and the release itself
_CHARACTERS: Final = {  # of the syntax identifier in UNB
    "UNOC": "iso8859-1",
    "UNOD": "iso8859-2",
    "UNOE": "iso8859-5",
    "UNOF": "iso8859-7",
    "UNOW": "utf-8",
    "UNOY": "utf-8",
}
_FORM: Final = Form("\x1f", frozenset(("UNS", "CNT", "UNT")), "CPS", first=True)

Segments = list[list[bytes]]


class Separators(NamedTuple):
    """What an interchange separates with, a byte each; *release* may be a blank, for none."""

    component: bytes
    element: bytes
    point: bytes
    release: bytes
    reserved: bytes
    segment: bytes

    @property
    def una(self) -> bytes:
        """Return the segment that says so."""
        return b"UNA" + b"".join(self)


class _Defect(Exception):
    """A level of the envelope is refused."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.flaw = f"{reason}: {detail}"


def interchanges(
    content: bytes, *, default: str = DEFAULT, envelopes: Collection[str] = frozenset()
) -> Iterator[Record]:
    """Yield a record for each message of a file, and one with a flaw for all that is refused.

    Of *envelopes* those are told of, too, that are in order: ``UNB`` an interchange, behind what it holds, and ``UCI`` what a
    CONTRL says of an interchange as a whole.

    The content of a record is UNA, UNB, the UNG if there is one, and the message. *default* are the separators of an
    interchange without a UNA.
    """
    content = content.removeprefix(_BOM)
    starts = [*_starts(content), len(content)]
    before = content[: starts[0]]
    if before.strip(_BLANK):
        yield Record("0", before, "no_interchange: UNB")
    seen: set[str] = set()
    for begin, end in pairwise(starts):
        yield from _interchange(content[begin:end], default, seen, envelopes)


def document(record: Record, encoding: str) -> Document:
    """Return the fields of a record. Rejection when it is written in no encoding that it may be in."""
    marks = _separators(record.content, DEFAULT)
    masked = _masked(record.content[len(marks.una) :], marks)
    segments: list[list[str]] = []
    for segment in _split(masked, marks):
        segments.append([_text(element, marks, encoding, segments) for element in segment])
    header = segments[0] if segments else []
    return Document(segments, _FORM, given={PART: record.part, TIME: _time(header)})


def _starts(content: bytes) -> list[int]:
    """Return where interchanges begin: at a UNA, or at a UNB that stands behind none."""
    found: list[int] = []
    una = -100
    for each in _BEGINS.finditer(content):
        is_una = content[each.start() : each.start() + 3] == b"UNA"
        if is_una and content[each.start() + 9 : each.start() + 40].lstrip(_BLANK)[:3] != b"UNB":
            continue  # a value
        if is_una:
            una = each.start()
        elif not content[una + 9 : each.start()].strip(_BLANK) and una >= 0:
            continue  # the one of that UNA
        elif found and not _ends(content[found[-1] : each.start()]):
            continue
        found.append(each.start())
    return found


def _ends(before: bytes) -> bool:
    """Whether a UNB may begin here: behind a segment's end, and not within a value."""
    marks = _separators(before, DEFAULT)
    stripped = before.rstrip(_BLANK)
    return stripped.endswith(marks.segment) or stripped != before


def _separators(content: bytes, default: str) -> Separators:
    una = content[3:9] if content.startswith(b"UNA") else default.encode("latin-1")
    return Separators(*(una[at : at + 1] for at in range(6)))


def _interchange(content: bytes, default: str, seen: set[str], envelopes: Collection[str]) -> Iterator[Record]:
    marks = _separators(content, default)
    body = content[len(marks.una) :] if content.startswith(b"UNA") else content
    place = "UNB"
    try:
        header, *segments = _checked(body, marks)
        place = _place(header, marks)
        if place in seen:
            raise _Defect("repeated_control_number", "UNB05")
        seen.add(place)
        end = next((at for at, each in enumerate(segments) if each[0] == b"UNZ"), None)
        groups = list(_groups(segments[:end]))
        if end is None:
            raise _Defect("missing", "UNZ")
        count = len(groups) if any(group for group, _, _ in groups) else sum(len(each) for _, each, _ in groups)
        _closed(segments[end], count, _element(header, 5), "UNZ")
    except _Defect as defect:
        yield Record(place, content, defect.flaw)
        return
    controls: set[bytes] = set()
    for group, messages, closing in groups:
        yield from _group(place, marks, header, group, messages, closing, controls, envelopes)
    if "UNB" in envelopes:
        yield Record(f"{place}|UNB", _record([header, segments[end]], marks), part="UNB")
    if rest := segments[end + 1 :]:
        yield Record(place, _joined(rest, marks), "no_interchange: after UNZ")


def _checked(body: bytes, marks: Separators) -> Segments:
    """Return the segments of an interchange; _Defect when they cannot be told."""
    own = {each for each in marks if each != b" "}
    if len(own) < len(marks) - (marks.release == b" ") - (marks.reserved == b" "):
        raise _Defect("bad_separators", "UNA")
    if any(each in body for each in (_KEPT[at : at + 1] for at in range(len(_KEPT)))):
        raise _Defect("bad_character", "a control character")
    segments = _split(_masked(body, marks), marks)
    if len(segments) < 2:
        raise _Defect("bad_separators", "UNB")  # none ends
    header = segments[0]
    if len(header) < 6 or not all(_element(header, at).strip() for at in (1, 2, 3, 4, 5)):
        raise _Defect("bad_header", f"UNB{next(at for at in range(1, 6) if not _element(header, at).strip()):02d}")
    return segments


def _groups(segments: Segments) -> Iterator[tuple[list[bytes], list[Segments], list[bytes]]]:
    """Yield (UNG, messages, UNE) of each group; of messages without one, both are empty. _Defect for what is outside."""
    group: list[bytes] = []
    messages: list[Segments] = []
    message: Segments = []
    for segment in segments:
        name = segment[0]
        if name == b"UNG" or name == b"UNH":
            if message:
                messages.append(message)
                message = []
            if name == b"UNG":
                if group or messages:
                    yield group, messages, []
                group, messages = segment, []
                continue
            message = [segment]
        elif name == b"UNE" and group:
            if message:
                messages.append(message)
            yield group, messages, segment
            group, messages, message = [], [], []
        elif not message:
            raise _Defect("unexpected_segment", "outside UNH")
        else:
            message.append(segment)
            if name == b"UNT":
                messages.append(message)
                message = []
    if message:
        messages.append(message)
    if group or messages:
        yield group, messages, []


def _group(
    place: str,
    marks: Separators,
    header: list[bytes],
    group: list[bytes],
    messages: list[Segments],
    closing: list[bytes],
    controls: set[bytes],
    envelopes: Collection[str],
) -> Iterator[Record]:
    head = [header, group] if group else [header]
    if group:
        control = _element(group, 5)
        place = f"{place}|{_plain(control, marks)}"
        try:
            if control in controls:
                raise _Defect("repeated_control_number", "UNG05")
            controls.add(control)
            _closed(closing or [b""], len(messages), control, "UNE")
        except _Defect as defect:
            whole = [*head, *(segment for message in messages for segment in message), *([closing] if closing else [])]
            yield Record(place, _record(whole, marks), defect.flaw)
            return
    numbers: set[bytes] = set()
    for message in messages:
        number = _element(message[0], 1)
        at = f"{place}|{_plain(number, marks)}"
        try:
            _check_message(message, number, numbers)
        except _Defect as defect:
            yield Record(at, _record([*head, *message], marks), defect.flaw)
            continue
        for count, (part, begins) in enumerate(parts_of(message, marks.component, envelopes)):
            suffix = f"|{count}" if begins else ""
            yield Record(at + suffix, _record([*head, *part], marks), part=begins)


def _check_message(message: Segments, number: bytes, numbers: set[bytes]) -> None:
    if number in numbers:
        raise _Defect("repeated_control_number", "UNH01")
    numbers.add(number)
    if len(message) > MOST_SEGMENTS:
        raise _Defect("too_long", "UNH")
    _closed(message[-1], len(message), number, "UNT")
    if any(not _NAME.fullmatch(segment[0].split(b":")[0]) for segment in message):
        raise _Defect("bad_segment", "its name")
    if not _element(message[0], 2).strip():
        raise _Defect("bad_header", "UNH02")


def _closed(segment: list[bytes], count: int, control: bytes, name: str) -> None:
    """Compare a closing segment with what it closes."""
    if segment[0] != name.encode() or len(segment) < 3:
        raise _Defect("missing", name)
    given = segment[1].strip(_BLANK)
    if not given.isdigit() or int(given) != count:
        raise _Defect("wrong_count", f"{name}01")
    if segment[2].strip(_BLANK) != control.strip(_BLANK):
        raise _Defect("wrong_control_number", f"{name}02")


def _masked(body: bytes, marks: Separators) -> bytes:
    """Return *body* with one byte of no other meaning instead of what was released."""
    if marks.release == b" " or marks.release not in body:
        return body
    kept = {mark: _KEPT[at : at + 1] for at, mark in enumerate(_released(marks))}
    return re.sub(re.escape(marks.release) + b"(.)", lambda found: kept.get(found[1], found[1]), body, flags=re.DOTALL)


def _released(marks: Separators) -> tuple[bytes, ...]:
    return (marks.component, marks.element, marks.segment, marks.release)


def _split(masked: bytes, marks: Separators) -> Segments:
    whole = (segment.strip(_BLANK) for segment in masked.split(marks.segment))
    return [segment.split(marks.element) for segment in whole if segment]


def _record(segments: Segments, marks: Separators) -> bytes:
    return marks.una + _joined(segments, marks)


def _joined(segments: Segments, marks: Separators) -> bytes:
    masked = b"".join(marks.element.join(segment) + marks.segment for segment in segments)
    for at, mark in enumerate(_released(marks)):
        masked = masked.replace(_KEPT[at : at + 1], marks.release + mark)
    return masked


def _text(element: bytes, marks: Separators, encoding: str, before: list[list[str]]) -> str:
    value = element.replace(marks.component, b"\x1f")
    for at, mark in enumerate(_released(marks)):
        value = value.replace(_KEPT[at : at + 1], mark)
    if value.isascii():
        return value.decode("ascii")
    syntax = before[0][1][:4] if before and len(before[0]) > 1 else ""
    for name in (encoding, _CHARACTERS.get(syntax, encoding)):
        try:
            return value.decode(name)
        except UnicodeDecodeError:
            continue
    raise Rejection("bad_encoding", encoding)


def _place(header: list[bytes], marks: Separators) -> str:
    return "|".join(_plain(_element(header, at).split(marks.component)[0], marks) for at in (2, 3, 5))


def _plain(value: bytes, marks: Separators) -> str:
    for at, mark in enumerate(_released(marks)):
        value = value.replace(_KEPT[at : at + 1], mark)
    return value[:40].decode("ascii", "replace").strip()


def _element(segment: list[bytes], number: int) -> bytes:
    return segment[number] if number < len(segment) else b""


def _time(header: list[str]) -> str:
    """Return the date and time of preparation with a whole year: one of two digits is of 1969 to 2068, as ``%y`` says."""
    day, _, time = (header[4] if len(header) > 4 else "").partition("\x1f")
    century = "" if len(day) != 6 else "19" if day >= "69" else "20"
    return f"{century}{day}{time}"
