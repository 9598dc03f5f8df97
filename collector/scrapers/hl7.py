"""HL7 version 2: messages as listeners archive them, one or many in a file, in batches, framed or not.

A message is read when its header says what it is, and all of its segments are some. A batch is refused as a whole when
its count is wrong or its end is missing, and a framed message when its frame does not end.
"""

import re
from collections.abc import Iterator
from typing import Final

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.hl7_fields import Marks, Message
from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.segment_fields import PART

NAMES: Final = frozenset((PART,))
TIME: Final = "MSH-7"
TIME_FORM: Final = "compact"

# A message is a record, or one for each of these: what is told of each master file entry, of each order.
PARTS: Final = {b"MFN": b"MFE", b"ORM": b"ORC", b"OML": b"ORC", b"OMG": b"ORC", b"OMP": b"ORC", b"OMI": b"ORC"}

_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = b"\r\n\t \x1a"  # and the end of a file, as old systems mark it
_START: Final = b"\x0b"
_END: Final = b"\x1c"
_SEGMENT: Final = re.compile(rb"[A-Z][A-Z0-9]{2}")
_CHARACTERS: Final = {  # of MSH-18
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/15": "iso8859-15",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
}
_NEEDED: Final = ((9, "MSH-9"), (10, "MSH-10"), (12, "MSH-12"))  # type, control id, version


class _Defect(Exception):
    """A message or a batch is refused."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.flaw = f"{reason}: {detail}"


def messages(content: bytes) -> Iterator[Record]:
    """Yield a record for each message of a file or its parts, and one with a flaw for all that is refused.

    The content of a record are the segments, each with a carriage return. Its place is made of sender, receiver and
    control id.
    """
    content = content.removeprefix(_BOM)
    seen: set[bytes] = set()
    if _START in content:
        for number, (frame, flaw) in enumerate(_frames(content)):
            if flaw:
                yield Record(str(number), frame, flaw)
            else:
                yield from _stream(frame, seen)
    else:
        yield from _stream(content, seen)


def document(record: Record, encoding: str) -> Message:
    """Return the fields of a record. Rejection when it is written in no encoding that it may be in."""
    segments = record.content.split(b"\r")[:-1]
    mark = segments[0][3:4].decode("latin-1")
    charset = _field(segments[0], 18).split(segments[0][4:5])[0].decode("ascii", "replace")
    for name in (encoding, _CHARACTERS.get(charset, encoding)):
        try:
            texts = [segment.decode(name) for segment in segments]
        except UnicodeDecodeError:
            continue
        return _message(texts, mark, record.part)
    raise Rejection("bad_encoding", encoding)


def _message(texts: list[str], mark: str, part: str) -> Message:
    encoding = texts[0][4:].split(mark)[0]
    marks = Marks(mark, *(encoding[at : at + 1] for at in range(4)))
    split = [text.split(mark) for text in texts]
    split[0].insert(1, mark)  # the separator is field 1 of MSH
    given = {PART: part}
    if not part:
        return Message(split, marks, given=given)
    begin = next(at for at, segment in enumerate(split) if segment[0] == part)
    return Message(split[begin:], marks, Message(split[:begin], marks), given)


def _frames(content: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield (what is in a frame, why it is none)."""
    before, *framed = content.split(_START)
    if before.strip(_BLANK):
        yield before, "unframed: before the first message"
    for frame in framed:
        inside, end, behind = frame.partition(_END)
        if not end:
            yield frame, "truncated: a frame without its end"
            continue
        yield inside, ""
        if behind.strip(_BLANK):
            yield behind, "unframed: behind a message"


def _stream(content: bytes, seen: set[bytes]) -> Iterator[Record]:
    """Yield the records of what is framed no more: messages, batches, and files of batches."""
    lines = [line for line in re.split(rb"[\r\n]+", content.lstrip(_BLANK)) if line.strip(_BLANK)]
    head = next((at for at, line in enumerate(lines) if line[:3] in (b"MSH", b"BHS", b"FHS")), len(lines))
    if head:
        yield Record("0", b"\r".join(lines[:head]), "no_message: MSH")
    lines = lines[head:]
    flaw = _envelope(lines)
    if flaw:
        yield Record(_name(lines[0]), b"\r".join(lines), flaw)
        return
    message: list[bytes] = []
    for line in [*(line for line in lines if line[:3] not in (b"FHS", b"BHS", b"BTS", b"FTS")), b"MSH"]:
        if line[:3] == b"MSH" and message:
            yield from _records(message, seen)
            message = []
        message.append(line)


def _envelope(lines: list[bytes]) -> str:
    """Return what is wrong with the batches, nothing when there is none or all is well."""
    names = [line[:3] for line in lines]
    if not {*names} & {b"FHS", b"BHS", b"BTS", b"FTS"}:
        return ""
    batches = count = 0
    in_batch = False
    for line, name in zip(lines, names, strict=True):
        if name == b"BHS":
            if in_batch:
                return "missing: BTS"
            in_batch, count, batches = True, 0, batches + 1
        elif name == b"MSH":
            count += 1
        elif name == b"BTS":
            if not in_batch:
                return "missing: BHS"
            if _wrong(line, count):
                return "wrong_count: BTS-1"
            in_batch = False
        elif name == b"FTS" and in_batch:
            return "missing: BTS"
    if in_batch:
        return "missing: BTS"
    if (b"FHS" in names) != (b"FTS" in names):
        return "missing: FTS" if b"FHS" in names else "missing: FHS"
    ends = [line for line, name in zip(lines, names, strict=True) if name == b"FTS"]
    if ends and (names[-1] != b"FTS" or len(ends) > 1 or names[0] != b"FHS"):
        return "unexpected_segment: outside FHS"
    return "wrong_count: FTS-1" if ends and _wrong(ends[0], batches) else ""


def _wrong(line: bytes, count: int) -> bool:
    """Whether a count that is there is another one; it may be left out."""
    given = _field(line, 1).strip()
    return given != b"" and (not given.isdigit() or int(given) != count)


def _records(segments: list[bytes], seen: set[bytes]) -> Iterator[Record]:
    content = b"".join(segment + b"\r" for segment in segments)
    place = _name(segments[0])
    try:
        _check(segments)
        if content in seen:
            raise _Defect("repeated", "MSH-10")
    except _Defect as defect:
        yield Record(place, content, defect.flaw)
        return
    seen.add(content)
    begins = PARTS.get(_field(segments[0], 9)[:3], b"")
    starts = [at for at, each in enumerate(segments) if begins and each.startswith(begins)]
    if not starts:
        yield Record(place, content)
        return
    for number, (begin, end) in enumerate(zip(starts, [*starts[1:], len(segments)], strict=True)):
        part = [*segments[: starts[0]], *segments[begin:end]]
        yield Record(f"{place}|{number}", b"".join(each + b"\r" for each in part), part=begins.decode())


def _check(segments: list[bytes]) -> None:
    header = segments[0]
    mark, encoding = header[3:4], header[4:].split(header[3:4])[0] if len(header) > 4 else b""
    if not mark or mark.isalnum() or mark.isspace() or len(encoding) not in (4, 5):
        raise _Defect("bad_separators", "MSH")
    if len({mark, *(encoding[at : at + 1] for at in range(len(encoding)))}) != len(encoding) + 1 or encoding.isalnum():
        raise _Defect("bad_separators", "MSH-2")
    for number, name in _NEEDED:
        if not _field(header, number).strip():
            raise _Defect("missing", name)
    if not re.fullmatch(rb"[A-Z][A-Z0-9]{2}(?:[^A-Za-z0-9].*)?", _field(header, 9)):
        raise _Defect("bad_header", "MSH-9")
    if not re.match(rb"2(?:\.[0-9]+)*\b", _field(header, 12)):
        raise _Defect("bad_header", "MSH-12")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment[:3]) or segment[3:4] not in (mark, b""):
            raise _Defect("bad_segment", "its name")
    if len(segments) < 2:
        raise _Defect("missing", "a segment behind MSH")


def _field(segment: bytes, number: int) -> bytes:
    """Return a field; the separator is the first of a header."""
    mark = segment[3:4]
    if not mark:
        return b""
    fields = segment.split(mark)
    at = number - 1 if segment[:3] in (b"MSH", b"BHS", b"FHS") else number
    return fields[at] if at < len(fields) else b""


def _name(header: bytes) -> str:
    """Return what tells a message from others: sender, receiver and control id, or of a batch its kind."""
    if header[:3] != b"MSH":
        return header[:3].decode("ascii", "replace")
    return "|".join(_field(header, number)[:60].decode("ascii", "replace") for number in (3, 4, 5, 6, 10))
