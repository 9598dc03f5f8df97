"""AES-GCM for the journal at rest, with keys that can be changed.

Every segment has a key of its own, derived from the configured one and the segment's name, and every record a random
nonce: 96 random bits are enough for the records of one segment, and would not be for all that one key ever sees.
Key and position go into the authenticated data, so that a record is accepted at its own place only.
"""

import base64
import binascii
import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from controltower.collector.errors import SettingsError
from controltower.tracer.journal import NotAuthenticError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
ID_BYTES: Final = 8
MOST_KEYS: Final = 16  # more are a mistake: each resent body is looked for under every one of them
_SEGMENTS_KEPT: Final = 64  # derived keys that are remembered: a few segments are read or written at a time


class AesGcm:
    """A journal's cipher: the first key encrypts, all of them decrypt. Safe to use from several threads."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Use *keys*, 32 bytes each, at least one."""
        self._ids = tuple(_derive(key, b"id")[:ID_BYTES] for key in keys)
        self._keys = dict(zip(self._ids, keys, strict=True))
        self._fingerprint_keys = tuple(_derive(key, b"fingerprint") for key in keys)
        self._aead = lru_cache(_SEGMENTS_KEPT)(self._make_aead)

    def __repr__(self) -> str:
        return f"AesGcm({', '.join(self.key_ids)})"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the keys; they follow from the keys and do not tell them."""
        return tuple(key_id.hex() for key_id in self._ids)

    def seal(self, plain: bytes, name: str, position: int) -> bytes:
        """Encrypt *plain* for *position* in the segment *name*: id of the key, nonce, text and tag."""
        key_id = self._ids[0]
        nonce = os.urandom(NONCE_BYTES)
        text: bytes = self._aead(key_id, name).encrypt(nonce, plain, _place(key_id, name, position))
        return key_id + nonce + text

    def unseal(self, sealed: bytes, name: str, position: int) -> bytes:
        """Return what was sealed. Raises NotAuthenticError when these bytes were not sealed for this place."""
        key_id, nonce = sealed[:ID_BYTES], sealed[ID_BYTES : ID_BYTES + NONCE_BYTES]
        try:
            text = memoryview(sealed)[ID_BYTES + NONCE_BYTES :]
            plain: bytes = self._aead(key_id, name).decrypt(nonce, text, _place(key_id, name, position))
        except (InvalidTag, ValueError, KeyError):
            raise NotAuthenticError("the record was changed, or stands where it was not written") from None
        return plain

    def fingerprints(self, data: bytes) -> tuple[bytes, ...]:
        """Return the HMAC-SHA256 of *data* under each key."""
        return tuple(hmac.digest(key, data, "sha256") for key in self._fingerprint_keys)

    def _make_aead(self, key_id: bytes, name: str) -> AESGCM:
        return AESGCM(_derive(self._keys[key_id], b"segment " + name.encode()))


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"controltower journal " + purpose, hashlib.sha256)


def _place(key_id: bytes, name: str, position: int) -> bytes:
    return key_id + struct.pack("<Q", position) + name.encode()


def cipher_of(key: str, key_file: str, variable: str) -> AesGcm | None:
    """Return the cipher for the keys in *key*, or in the file *key_file*; None when neither is given.

    Raises SettingsError by the name of *variable*, and never shows a key.
    """
    if key and key_file:
        raise SettingsError(variable, "", f"give either {variable} or {variable}_FILE, not both")
    if key_file:
        return AesGcm(_parse(_read(Path(key_file), f"{variable}_FILE"), f"{variable}_FILE"))
    return AesGcm(_parse(key, variable)) if key else None


def _read(path: Path, variable: str) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(variable, str(path), "other users may read this file: `chmod 600` it")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(variable, str(path), f"the file cannot be read: {exc}") from exc


def _parse(text: str, variable: str) -> list[bytes]:
    """Return the keys in *text*: one in a line or between commas, base64 of 32 bytes; lines with ``#`` are comments."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    words = [word for line in lines for word in line.replace(",", " ").split()]
    keys = [_key(word, number, variable) for number, word in enumerate(words, 1)]
    if not 1 <= len(keys) <= MOST_KEYS:
        raise SettingsError(variable, "", f"1 to {MOST_KEYS} keys are expected, and there are {len(keys)}")
    if len(set(keys)) < len(keys):
        raise SettingsError(variable, "", "a key stands there twice")
    return keys


def _key(word: str, number: int, variable: str) -> bytes:
    try:
        key = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        hint = "base64 of 32 random bytes is expected: `openssl rand -base64 32` makes one"
        raise SettingsError(variable, "", f"key {number} cannot be used: {hint}")
    return key
