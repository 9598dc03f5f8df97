"""What one record of a journal segment looks like, and how records are found again in damaged bytes.

A record is ``varint length + message``; records stand back to back, so a segment is a stream of length-delimited
protobuf messages, which is what ClickHouse reads as ``Protobuf``. The message is the request body with fields of ours
appended; the numbers are far above those of OTLP, and readers that do not know them skip them.

    message = body | received_unix_nano (20001, fixed64) | tenant (20002, string) | checksum (20003, fixed32)

The checksum is the CRC-32 of everything before it. It makes a segment self-verifying, and since every record ends
with the same tag, reading finds its way back after damaged bytes without any other file. Encrypted records
(``sealing``) have the same form, so all of this works on them without a key.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

RECEIVED_FIELD: Final = 20_001  # fixed64, nanoseconds since 1970: when the body arrived
TENANT_FIELD: Final = 20_002  # string: whose body it is
CHECKSUM_FIELD: Final = 20_003  # fixed32: CRC-32 of the message before this field
POSITION_FIELD: Final = 20_004  # fixed64: where an encrypted record was written in its segment
SEALED_FIELD: Final = 20_005  # bytes: the encrypted message
RESERVED_FIELDS: Final = range(RECEIVED_FIELD, SEALED_FIELD + 1)  # a body must not carry these itself

# Larger than any admitted body (64 MiB after decompression); a length above it is damage, not a record.
MAX_RECORD_BYTES: Final = 100 * 1024 * 1024
MAX_MESSAGE_BYTES: Final = MAX_RECORD_BYTES - 1024  # what can be appended: encryption and the checksum come on top

# How much is read in search of records behind damage: bytes that were made to look like their ends must not hold up a
# start for hours. What is not found then is in quarantine. An honest segment is read twice.
SEARCH_BYTES: Final = 2 * 1024 * 1024 * 1024

FIXED64, LENGTH, FIXED32 = 1, 2, 5  # protobuf's wire types


def varint(number: int) -> bytes:
    """Encode a non-negative *number* as protobuf does."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_RECEIVED_TAG: Final = varint(RECEIVED_FIELD << 3 | FIXED64)
_TENANT_TAG: Final = varint(TENANT_FIELD << 3 | LENGTH)
CHECKSUM_TAG: Final = varint(CHECKSUM_FIELD << 3 | FIXED32)
CHECKSUM_BYTES: Final = len(CHECKSUM_TAG) + 4


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose checksum is right; offsets are those of the segment."""

    offset: int
    length: int  # of the record with its length prefix
    checksum: int

    @property
    def end(self) -> int:
        """Where the next record starts."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that hold no verified record."""

    offset: int
    length: int
    reason: str
    torn: bool  # the segment ends inside a record: a write that was cut short, never acknowledged

    @property
    def end(self) -> int:
        """Where intact bytes start again, or the end of the segment."""
        return self.offset + self.length


def envelope(received_ns: int, tenant: str) -> bytes:
    """Return the fields that are appended to a body: when it arrived and whose it is."""
    name = tenant.encode()
    return b"".join((_RECEIVED_TAG, struct.pack("<Q", received_ns), _TENANT_TAG, varint(len(name)), name))


def digest_of(body: bytes) -> bytes:
    """Return the SHA-256 by which a body that is sent again is recognised."""
    return hashlib.sha256(body).digest()


def encode(message: bytes) -> tuple[tuple[bytes, bytes, bytes], int]:
    """Return the pieces of the record that holds *message*, and its checksum."""
    checksum = zlib.crc32(message)
    trailer = CHECKSUM_TAG + struct.pack("<I", checksum)
    return (varint(len(message) + CHECKSUM_BYTES), message, trailer), checksum


def message_of(segment: bytes, record: Record) -> bytes:
    """Return the message of *record* without its checksum."""
    _, start = read_varint(segment, record.offset)
    return segment[start : record.end - CHECKSUM_BYTES]


def scan(segment: bytes) -> Iterator[Record | Damage]:
    """Yield the records of *segment* in order, and the stretches between them that hold none.

    What is yielded covers every byte of the segment once.
    """
    offset = 0
    search = _Search(segment)
    while offset < len(segment):
        found = _record_at(segment, offset)
        if isinstance(found, str):
            end = search.next_record(offset)
            torn = end == len(segment) and found == _CUT_SHORT
            yield Damage(offset, end - offset, found, torn)
            offset = end
        else:
            yield found
            offset = found.end


_CUT_SHORT: Final = "the segment ends inside this record"
_WRONG_CHECKSUM: Final = "the checksum does not match"


def _record_at(segment: bytes, offset: int) -> Record | str:
    """Return the record at *offset*, or why there is none."""
    bounds = _bounds(segment, offset)
    if isinstance(bounds, str):
        return bounds
    start, end = bounds
    tail = end - CHECKSUM_BYTES
    if segment[tail : end - 4] != CHECKSUM_TAG:
        return "the record does not end with its checksum"
    (checksum,) = struct.unpack_from("<I", segment, end - 4)
    if zlib.crc32(memoryview(segment)[start:tail]) != checksum:
        return _WRONG_CHECKSUM
    return Record(offset, end - offset, checksum)


def _bounds(segment: bytes, offset: int) -> tuple[int, int] | str:
    """Return where the message of the record at *offset* starts and ends, or why it cannot be."""
    try:
        length, start = read_varint(segment, offset)
    except IndexError:
        return _CUT_SHORT
    except ValueError:
        return "the length is not a number"
    if not CHECKSUM_BYTES <= length <= MAX_RECORD_BYTES:
        return f"a length of {length} bytes is not possible"
    return (start, start + length) if start + length <= len(segment) else _CUT_SHORT


class _Search:
    """Looks for the next record behind a damaged one.

    Every record ends with the checksum's tag and value, so the bytes behind such a tag are candidates. A sender can put
    whole records with right checksums into its body; they are not believed while the damaged record's length leads to
    something intact and they do not.
    """

    def __init__(self, segment: bytes) -> None:
        self._segment = segment
        self._left = SEARCH_BYTES

    def next_record(self, offset: int) -> int:
        """Return where records start again behind the damaged one at *offset*, or the end of the segment."""
        bounds = _bounds(self._segment, offset)
        declared = None if isinstance(bounds, str) or not self._is_boundary(bounds[1]) else bounds[1]
        tag = self._segment.find(CHECKSUM_TAG, offset + 1)
        while tag >= 0 and self._left > 0:
            candidate = tag + CHECKSUM_BYTES
            if declared is not None and candidate >= declared:
                return declared
            if self._runs_on(candidate, declared):
                return candidate
            tag = self._segment.find(CHECKSUM_TAG, tag + 1)
        return len(self._segment) if declared is None else declared

    def _is_boundary(self, offset: int) -> bool:
        return offset == len(self._segment) or self._record(offset) is not None

    def _runs_on(self, offset: int, until: int | None) -> bool:
        """Whether a record starts at *offset*, and if *until* is given, one after the other up to there."""
        record = self._record(offset)
        while record is not None and until is not None and record.end < until:
            record = self._record(record.end)
        return record is not None and (until is None or record.end == until)

    def _record(self, offset: int) -> Record | None:
        found = _record_at(self._segment, offset) if offset < len(self._segment) else ""
        if isinstance(found, str):
            self._left -= 1 if found != _WRONG_CHECKSUM else len(self._segment) - offset
            return None
        self._left -= found.length
        return found


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return the number at *offset* and the offset behind it; IndexError at the end, ValueError when too long."""
    number = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, offset
        shift += 7
        if shift > 63:
            raise ValueError("a varint has at most ten bytes")


def fields(data: bytes, offset: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, start of the field, start of its value, end of the field) of the message in *data*.

    Raises ValueError or IndexError when the bytes are not a message. The start of a length-delimited value is behind
    its length.
    """
    while offset < end:
        start = offset
        tag, offset = read_varint(data, offset)
        value, offset = _skip(data, tag & 7, offset)
        if offset > end:
            raise IndexError("a field ends behind its message")
        yield tag >> 3, start, value, offset


def _skip(data: bytes, wire_type: int, offset: int) -> tuple[int, int]:
    """Return where the value of a field starts, and where it ends."""
    if wire_type == LENGTH:
        length, offset = read_varint(data, offset)
        return offset, offset + length
    if wire_type == 0:
        return offset, read_varint(data, offset)[1]
    if wire_type in (FIXED64, FIXED32):
        return offset, offset + (8 if wire_type == FIXED64 else 4)
    raise ValueError(f"wire type {wire_type} is not used by OTLP")
