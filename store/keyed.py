"""Messages on their way to the engine, each with the keys for the tokens of redaction behind it.

A key must stand in no statement, no setting and no file: settings are in addresses, in logs and in the list of running
queries. So it travels inside of the messages, as a field that the inbox has and no table keeps.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Final

from controltower.store.otlp import KEYS_FIELD, TENANT_FIELD

EVERY_TENANT: Final = ""  # whose keys are those of each tenant that has none of its own

_LENGTH_DELIMITED: Final = 2
_KEYS_TAG: Final = KEYS_FIELD << 3 | _LENGTH_DELIMITED
_TENANT_TAG: Final = TENANT_FIELD << 3 | _LENGTH_DELIMITED
_FIXED: Final = {1: 8, 5: 4}

AddKeys = Callable[[bytes], bytes]
"""Returns a message with its tenant's keys at its end."""


def keyed(opened: Callable[[], BinaryIO], keys: Mapping[str, Sequence[bytes]]) -> Callable[[], BinaryIO]:
    """Return what opens the same messages with the *keys* of its tenant in each; without keys, *opened* itself."""
    if not keys:
        return opened
    fields = {tenant: b"".join(map(_field, own)) for tenant, own in keys.items()}
    every = fields.get(EVERY_TENANT, b"")
    add = _of_tenants(fields, every) if set(keys) != {EVERY_TENANT} else lambda message: message + every

    def open_keyed() -> BinaryIO:
        with opened() as messages:
            return io.BytesIO(with_keys(messages.read(), add))

    return open_keyed


def with_keys(messages: bytes, add: AddKeys) -> bytes:
    """Return *messages*, each after its length, each with what *add* gives it; what is cut short stays as it is."""
    pieces: list[bytes] = []
    offset = 0
    while offset < len(messages):
        length, start = _read_varint(messages, offset)
        if start + length > len(messages):
            pieces.append(messages[offset:])
            break
        message = add(messages[start : start + length])
        pieces += (varint(len(message)), message)
        offset = start + length
    return b"".join(pieces)


def _of_tenants(fields: Mapping[str, bytes], every: bytes) -> AddKeys:
    def add(message: bytes) -> bytes:
        tenant, bare = _tenant_and_bare(message)
        return bare + fields.get(tenant, every)

    return add


def _tenant_and_bare(message: bytes) -> tuple[str, bytes]:
    """Return the tenant of a message, and the message without keys that its sender put there.

    The last tenant counts: it is the collector's. A tenant without keys gets none, so a sender's own would count.
    """
    tenant, kept, begin, offset = b"", [], 0, 0
    while offset < len(message):
        at = offset
        tag, offset = _read_varint(message, offset)
        if offset == at:  # cut short: the engine refuses it
            break
        if tag & 7 == _LENGTH_DELIMITED:
            length, offset = _read_varint(message, offset)
            if tag == _TENANT_TAG:
                tenant = message[offset : offset + length]
            offset += length
        elif tag & 7 == 0:
            _, offset = _read_varint(message, offset)
        else:
            offset += _FIXED.get(tag & 7, len(message))  # of another type the engine refuses the message
        if tag == _KEYS_TAG:
            kept.append(message[begin:at])
            begin = offset
    return tenant.decode("utf-8", "replace"), b"".join((*kept, message[begin:]))


def _field(key: bytes) -> bytes:
    return varint(_KEYS_TAG) + varint(len(key)) + key


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
