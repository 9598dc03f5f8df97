"""What one record of a journal segment looks like, and how records are found again in damaged bytes.

A record is ``varint length + message``; records stand back to back, so a segment is a stream of length-delimited
protobuf messages, which is what ClickHouse reads as ``Protobuf``. The message is the request body with fields of ours
appended; the numbers are far above those of OTLP, and readers that do not know them skip them.

    message = body | received_unix_nano (20001, fixed64) | tenant (20002, string) | checksum (20003, fixed32)

The checksum is the CRC-32 of everything before it. It makes a segment self-verifying, and since every record ends
with the same tag, reading finds its way back after damaged bytes without any other file.
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
RESERVED_FIELDS: Final = range(RECEIVED_FIELD, CHECKSUM_FIELD + 1)  # a body must not carry these itself

# Larger than any admitted body (64 MiB after decompression); a length above it is damage, not a record.
MAX_MESSAGE_BYTES: Final = 100 * 1024 * 1024

_FIXED64, _LENGTH, _FIXED32 = 1, 2, 5


def varint(number: int) -> bytes:
    """Encode a non-negative *number* as protobuf does."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_RECEIVED_TAG: Final = varint(RECEIVED_FIELD << 3 | _FIXED64)
_TENANT_TAG: Final = varint(TENANT_FIELD << 3 | _LENGTH)
CHECKSUM_TAG: Final = varint(CHECKSUM_FIELD << 3 | _FIXED32)
CHECKSUM_BYTES: Final = len(CHECKSUM_TAG) + 4


@dataclass(frozen=True, slots=True)
class Record:
    """A whole and verified record; offsets are those of the segment."""

    offset: int
    length: int  # of the record with its length prefix
    checksum: int
    received_ns: int
    tenant: str
    digest: bytes  # SHA-256 of the body

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


def scan(segment: bytes) -> Iterator[Record | Damage]:
    """Yield the records of *segment* in order, and the stretches between them that hold none.

    What is yielded covers every byte of the segment once.
    """
    offset = 0
    while offset < len(segment):
        found = _record_at(segment, offset)
        if isinstance(found, str):
            end = _next_record(segment, offset)
            torn = end == len(segment) and found == _CUT_SHORT
            yield Damage(offset, end - offset, found, torn)
            offset = end
        else:
            yield found
            offset = found.end


_CUT_SHORT: Final = "the segment ends inside this record"


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
        return "the checksum does not match"
    body_end, received_ns, tenant = _read_envelope(segment, start, tail)
    digest = hashlib.sha256(memoryview(segment)[start:body_end]).digest()
    return Record(offset, end - offset, checksum, received_ns, tenant, digest)


def _bounds(segment: bytes, offset: int) -> tuple[int, int] | str:
    """Return where the message of the record at *offset* starts and ends, or why it cannot be."""
    try:
        length, start = read_varint(segment, offset)
    except IndexError:
        return _CUT_SHORT
    except ValueError:
        return "the length is not a number"
    if not CHECKSUM_BYTES <= length <= MAX_MESSAGE_BYTES:
        return f"a length of {length} bytes is not possible"
    return (start, start + length) if start + length <= len(segment) else _CUT_SHORT


def _next_record(segment: bytes, offset: int) -> int:
    """Return where the next verified record starts behind the damaged one at *offset*, or the end of the segment.

    Every record ends with the checksum's tag and value, so the bytes behind such a tag are candidates, and so are
    those where the damaged record says that it ends.
    """
    bounds = _bounds(segment, offset)
    declared = len(segment) if isinstance(bounds, str) else bounds[1]
    tag = segment.find(CHECKSUM_TAG, offset + 1)
    while tag >= 0:
        candidate = tag + CHECKSUM_BYTES
        if declared < candidate and _starts_intact(segment, declared):
            return declared
        if _starts_intact(segment, candidate):
            return candidate
        tag = segment.find(CHECKSUM_TAG, tag + 1)
    return len(segment)


def _starts_intact(segment: bytes, offset: int) -> bool:
    return offset < len(segment) and isinstance(_record_at(segment, offset), Record)


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
    if wire_type == _LENGTH:
        length, offset = read_varint(data, offset)
        return offset, offset + length
    if wire_type == 0:
        return offset, read_varint(data, offset)[1]
    if wire_type in (_FIXED64, _FIXED32):
        return offset, offset + (8 if wire_type == _FIXED64 else 4)
    raise ValueError(f"wire type {wire_type} is not used by OTLP")


def _read_envelope(segment: bytes, start: int, end: int) -> tuple[int, int, str]:
    """Return where the body ends, and the receive time and tenant behind it."""
    body_end, received_ns, tenant = end, 0, ""
    try:
        for number, at, value, stop in fields(segment, start, end):
            if number == RECEIVED_FIELD:
                body_end, received_ns = min(body_end, at), int.from_bytes(segment[value:stop], "little")
            elif number == TENANT_FIELD:
                body_end, tenant = min(body_end, at), segment[value:stop].decode(errors="replace")
    except (IndexError, ValueError):
        return end, 0, ""  # intact, but not a message of ours: the load decides
    return body_end, received_ns, tenant
