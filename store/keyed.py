"""Messages on their way to the engine, each with the keys for the tokens of redaction behind it.

A key must stand in no statement, no setting and no file: settings are in addresses, in logs and in the list of running
queries. So it travels inside of the messages, as a field that the inbox has and no table keeps.
"""

import io
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from controltower.store.otlp import KEYS_FIELD

_LENGTH_DELIMITED: Final = 2


def keyed(opened: Callable[[], BinaryIO], keys: Sequence[bytes]) -> Callable[[], BinaryIO]:
    """Return what opens the same messages with *keys* in each; without keys, *opened* itself."""
    if not keys:
        return opened
    fields = b"".join(varint(KEYS_FIELD << 3 | _LENGTH_DELIMITED) + varint(len(key)) + key for key in keys)

    def open_keyed() -> BinaryIO:
        with opened() as messages:
            return io.BytesIO(with_fields(messages.read(), fields))

    return open_keyed


def with_fields(messages: bytes, fields: bytes) -> bytes:
    """Return *messages*, each after its length, with *fields* at the end of each; what is cut short stays as it is."""
    pieces: list[bytes] = []
    offset = 0
    while offset < len(messages):
        length, start = _read_varint(messages, offset)
        if start + length > len(messages):
            pieces.append(messages[offset:])
            break
        pieces += (varint(length + len(fields)), messages[start : start + length], fields)
        offset = start + length
    return b"".join(pieces)


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return the number at *offset* and where it ends; a number that is cut short reaches beyond the data."""
    number = shift = 0
    for at in range(offset, min(offset + 10, len(data))):
        number |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return number, at + 1
        shift += 7
    return len(data) + 1, offset
