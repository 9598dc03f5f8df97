"""Keyed tokens: what stands for a patient's key so that it still joins, and tells nobody what it was.

    token = "t" + version + ":" + base32(HMAC-SHA256(key, type 0x1F scope 0x1F normalised value))[:26]

26 characters are 130 bits. Type and scope are inside the MAC, so tokens of different types or issuers cannot be joined.
"""

import base64
import binascii
import hmac
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controltower.collector.errors import SettingsError

VARIABLE: Final = "CONTROLTOWER_REDACTION_KEY"
CHARACTERS: Final = 26
BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
LEAST_KEY_BYTES: Final = 32  # what HMAC-SHA256 is meant for; a shorter one can be guessed
MOST_KEYS: Final = 2  # the present one, and in the overlap of a rotation the one before it
REMEMBERED: Final = 4_096  # tokens; a batch repeats its keys, and more would only hold patients' numbers in memory

_SPACES: Final = re.compile("[ \t\n\v\f\r]+")
_TOKEN: Final = re.compile(rb"t[0-9]{1,4}:[A-Z2-7]{26}")
_PAIRS: Final = tuple(a + b for a in BASE32 for b in BASE32)


@dataclass(frozen=True, slots=True)
class Key:
    """A key and its version, which stands in every token made with it."""

    version: int
    secret: bytes = field(repr=False)


class Tokeniser:
    """Makes tokens; with two keys, as in the overlap of a rotation, one of each."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.keys = keys
        self._known: dict[tuple[str, bytes, bytes], tuple[bytes, ...]] = {}

    @property
    def can(self) -> bool:
        """Whether there is a key; without one, what should become a token is dropped."""
        return bool(self.keys)

    def tokens(self, type_: str, scope: bytes, value: bytes) -> tuple[bytes, ...]:
        """Return the tokens of *value*, the newest key's first; a value that is a token stays as it is."""
        known = self._known.get((type_, scope, value))
        if known is None:
            known = (value,) if is_token(value) else tuple(self._token(key, type_, scope, value) for key in self.keys)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[(type_, scope, value)] = known
        return known

    def _token(self, key: Key, type_: str, scope: bytes, value: bytes) -> bytes:
        plain = value.upper() if value.isalnum() else normalised(_text(value)).encode()  # nearly always ASCII
        digest = hmac.digest(key.secret, b"%b\x1f%b\x1f%b" % (type_.encode(), _text(scope).encode(), plain), "sha256")
        return f"t{key.version}:{_base32(digest)}".encode()


def is_token(value: bytes) -> bool:
    """Whether *value* is a token already."""
    return _TOKEN.fullmatch(value) is not None


def normalised(value: str) -> str:
    """Return what every writer of a key agrees on: NFKC, upper case, no spaces."""
    return _SPACES.sub("", unicodedata.normalize("NFKC", value).upper())


def _base32(digest: bytes) -> str:
    """Return the first characters of *digest* in base32: the library's own takes ten times as long."""
    bits = int.from_bytes(digest[:17], "big") >> 6  # 130 of them
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(5 * CHARACTERS - 10, -1, -10)])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def read_keys(environment: Mapping[str, str]) -> tuple[Key, ...]:
    """Return the keys of ``CONTROLTOWER_REDACTION_KEY`` or of the file that ``…_FILE`` names; none when neither is set.

    The form is ``VERSION:BASE64``; a second one, after a comma or on its own line, is the one before. SettingsError
    never shows the value.
    """
    text, variable = environment.get(VARIABLE, ""), VARIABLE
    named = environment.get(f"{VARIABLE}_FILE", "")
    if named and text:
        raise SettingsError(f"{variable}_FILE", named, f"{VARIABLE} is set, too; keep one of them")
    if named:
        variable, text = f"{VARIABLE}_FILE", _read(Path(named))
    keys = tuple(_key(variable, part.strip()) for part in re.split(r"[,\n]", text) if part.strip())
    if len(keys) > MOST_KEYS:
        raise SettingsError(variable, "…", f"it holds {len(keys)} keys; the present one and the one before are enough")
    if len({key.version for key in keys}) < len(keys):
        raise SettingsError(variable, "…", "two keys have the same version")
    return keys


def _read(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"{VARIABLE}_FILE", str(path), f"others can read it: run chmod 600 {path}")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{VARIABLE}_FILE", str(path), f"it cannot be read ({type(exc).__name__})") from None


def _key(variable: str, text: str) -> Key:
    version, _, encoded = text.partition(":")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not re.fullmatch("[1-9][0-9]{0,3}", version) or len(secret) < LEAST_KEY_BYTES:
        wanted = f"VERSION:BASE64 is expected, as 1:{'A' * 6}…, with {LEAST_KEY_BYTES} bytes or more"
        raise SettingsError(variable, "…", f"{wanted}; `controltower redact key` makes one")
    return Key(int(version), secret)
