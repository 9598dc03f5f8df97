"""What is in the records of a segment: whose body, when it arrived, and by what it is recognised when it is sent again."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controltower.tracer.journal.errors import NotAuthenticError, SegmentDamagedError
from controltower.tracer.journal.records import (
    RECEIVED_FIELD,
    TENANT_FIELD,
    Damage,
    Record,
    encode,
    fields,
    message_of,
    scan,
)
from controltower.tracer.journal.sealing import Sealing


class Line(NamedTuple):  # not a dataclass: one is made for each request
    """A verified record, as the index lists it; offsets are those of the segment."""

    offset: int
    length: int  # of the record with its length prefix
    checksum: int
    received_ns: int
    key: bytes  # of 16 bytes: by what the body is recognised

    @property
    def end(self) -> int:
        """Where the next record starts."""
        return self.offset + self.length

    def at(self, offset: int) -> "Line":
        """Return the line of the same record when it lies at *offset*."""
        return self._replace(offset=offset)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a plain message says of its body."""

    body_bytes: int
    received_ns: int
    tenant: str


def read_lines(segment: bytes, name: str, sealing: Sealing) -> Iterator[Line | Damage]:
    """Yield a line for each record of the segment called *name*, and the stretches that hold none.

    An encrypted record that was not written here, or not in this order, is damage. Raises JournalKeyError.
    """
    for part, plain in plain_messages(segment, name, sealing):
        if isinstance(part, Damage):
            yield part
        else:
            known = envelope_of(plain)
            digest = hashlib.sha256(memoryview(plain)[: known.body_bytes]).digest()
            key = sealing.key(known.tenant, digest)
            yield Line(part.offset, part.length, part.checksum, known.received_ns, key)


def plain_messages(segment: bytes, name: str, sealing: Sealing) -> Iterator[tuple[Record | Damage, bytes]]:
    """Yield each record of *segment* with its plain message, and each damaged stretch with nothing."""
    last = -1
    for part in scan(segment):
        if isinstance(part, Damage):
            yield part, b""
            continue
        try:
            plain, position = sealing.unseal(message_of(segment, part), name)
        except NotAuthenticError as error:
            yield Damage(part.offset, part.length, str(error), torn=False), b""
            continue
        if position is not None and position <= last:
            yield Damage(part.offset, part.length, "the record is repeated or out of its order", torn=False), b""
            continue
        last = last if position is None else position
        yield part, plain


def plain_segment(segment: bytes, name: str, sealing: Sealing) -> bytes:
    """Return *segment* as it would be without encryption. Raises SegmentDamagedError, JournalKeyError."""
    pieces: list[bytes] = []
    for part, plain in plain_messages(segment, name, sealing):
        if isinstance(part, Damage):
            raise SegmentDamagedError(name, part.offset, part.reason)
        pieces.extend(encode(plain)[0])
    return b"".join(pieces)


def envelope_of(message: bytes) -> Envelope:
    """Return what is appended to the body of a plain *message*; without an envelope all of it is body."""
    body_bytes, received_ns, tenant = len(message), 0, ""
    try:
        for number, at, value, stop in fields(message, 0, len(message)):
            if number == RECEIVED_FIELD:
                body_bytes, received_ns = min(body_bytes, at), int.from_bytes(message[value:stop], "little")
            elif number == TENANT_FIELD:
                body_bytes, tenant = min(body_bytes, at), message[value:stop].decode(errors="replace")
    except (IndexError, ValueError):
        return Envelope(len(message), 0, "")  # intact, but not a message of ours: the load decides
    return Envelope(body_bytes, received_ns, tenant)
