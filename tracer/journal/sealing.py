"""Encryption of records at rest: what a journal asks of a cipher, and how an encrypted record looks.

A record of an encrypted journal is a record like any other (``records``), whose message is

    position (20004, fixed64) | sealed (20005, bytes) | checksum (20003, fixed32)

``sealed`` begins with the id of the key. The cipher binds it to the segment in which it was written and to its position
there, so that no record can be moved, repeated or put into another segment unnoticed. A segment whose name was given to
it by halving keeps the name under which it was written as its beginning.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from controltower.tracer.journal.errors import JournalKeyError
from controltower.tracer.journal.records import FIXED64, LENGTH, POSITION_FIELD, SEALED_FIELD, read_varint, varint

KEY_ID_BYTES: Final = 8
KEY_BYTES: Final = 16  # by which a body is recognised: no two share it by accident
NAME_CHARACTERS: Final = 37  # of a segment when it is written: 20 digits, a hyphen, 16 hexadecimal digits

_POSITION_TAG: Final = varint(POSITION_FIELD << 3 | FIXED64)
_SEALED_TAG: Final = varint(SEALED_FIELD << 3 | LENGTH)
_HEAD_BYTES: Final = len(_POSITION_TAG) + 8 + len(_SEALED_TAG)


class Cipher(Protocol):
    """Authenticated encryption under one or more keys; safe to use from several threads."""

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the keys, 16 hexadecimal digits each: the first encrypts, all decrypt."""

    def seal(self, plain: bytes, name: str, position: int) -> bytes:
        """Encrypt *plain* for *position* in the segment *name*; the result begins with the key's id (8 bytes)."""

    def unseal(self, sealed: bytes, name: str, position: int) -> bytes:
        """Return what was sealed. Raises NotAuthenticError when these bytes were not sealed for this place."""

    def fingerprints(self, data: bytes) -> tuple[bytes, ...]:
        """Return keyed hashes of *data* (at least 16 bytes each), one for each key in their order."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """How the records of a journal lie on the disk: as they are, or encrypted when there is a cipher."""

    cipher: Cipher | None = None

    def knows(self, key_id: str) -> bool:
        """Whether what was encrypted with this key can be read."""
        return self.cipher is not None and key_id in self.cipher.key_ids

    def seal(self, message: bytes, name: str, position: int) -> bytes:
        """Return *message* in the form in which it lies at *position* in the segment *name*."""
        if self.cipher is None:
            return message
        sealed = self.cipher.seal(message, written_as(name), position)
        return b"".join(
            (_POSITION_TAG, struct.pack("<Q", position), _SEALED_TAG, varint(len(sealed)), sealed),
        )

    def unseal(self, message: bytes, name: str) -> tuple[bytes, int | None]:
        """Return the plain form of *message* in the segment *name*, and its position if it was encrypted.

        Raises NotAuthenticError, JournalKeyError when the key is not here.
        """
        sealed = sealed_in(message)
        if sealed is None:
            return message, None
        key_id = sealed[:KEY_ID_BYTES].hex()
        if self.cipher is None or not self.knows(key_id):
            raise JournalKeyError([key_id], 1)
        position = int.from_bytes(message[len(_POSITION_TAG) : len(_POSITION_TAG) + 8], "little")
        return self.cipher.unseal(sealed, written_as(name), position), position

    def keys(self, tenant: str, digest: bytes) -> tuple[bytes, ...]:
        """Return by what a body of *tenant* with this SHA-256 is recognised, the form that is stored first.

        Without the journal's key nobody can tell from it what a body was. The other forms are those of earlier keys, and
        of the time before there was one. Two tenants may send the same bytes.
        """
        identity = tenant.encode() + b"\0" + digest
        plain = hashlib.sha256(identity).digest()[:KEY_BYTES]
        if self.cipher is None:
            return (plain,)
        return (*(key[:KEY_BYTES] for key in self.cipher.fingerprints(identity)), plain)

    def key(self, tenant: str, digest: bytes) -> bytes:
        """Return the first of ``keys``."""
        return self.keys(tenant, digest)[0]


PLAIN: Final = Sealing()


def written_as(name: str) -> str:
    """Return the name that the segment *name* had when its records were written."""
    return name[:NAME_CHARACTERS]


def sealed_in(message: bytes) -> bytes | None:
    """Return the encrypted part of *message*, None when it is not encrypted."""
    if not message.startswith(_POSITION_TAG) or message[_HEAD_BYTES - len(_SEALED_TAG) : _HEAD_BYTES] != _SEALED_TAG:
        return None
    try:
        length, start = read_varint(message, _HEAD_BYTES)
    except (IndexError, ValueError):
        return None
    return message[start:] if length >= KEY_ID_BYTES and start + length == len(message) else None


def key_needed(head: bytes) -> str | None:
    """Return the id of the key that a segment needs that begins with *head* (64 bytes are enough), if it needs one."""
    try:
        _, start = read_varint(head, 0)
        if head[start : start + len(_POSITION_TAG)] != _POSITION_TAG:
            return None
        if head[start + _HEAD_BYTES - len(_SEALED_TAG) : start + _HEAD_BYTES] != _SEALED_TAG:
            return None
        _, start = read_varint(head, start + _HEAD_BYTES)
    except (IndexError, ValueError):
        return None
    key_id = head[start : start + KEY_ID_BYTES]
    return key_id.hex() if len(key_id) == KEY_ID_BYTES else None
