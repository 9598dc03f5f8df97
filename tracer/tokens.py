"""Keyed tokens: what stands for a patient's key so that it still joins, and tells nobody what it was.

    token = "t" + version + ":" + base32(HMAC-SHA256(key, type 0x1F scope 0x1F normalised value))[:26]

26 characters are 130 bits. Type and scope are inside the MAC, so tokens of different types or issuers cannot be joined.
The SDK makes them at the source, the collector of what still comes in clear: both by this module.
"""

import base64
import binascii
import hmac
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CHARACTERS: Final = 26
BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
LEAST_KEY_BYTES: Final = 32  # what HMAC-SHA256 is meant for; a shorter one can be guessed
MOST_KEYS: Final = 2  # of a tenant: the present one, and in the overlap of a rotation the one before it
REMEMBERED: Final = 4_096  # tokens; a batch repeats its keys, and more would only hold patients' numbers in memory

_SPACES: Final = re.compile("[ \t\n\v\f\r]+")
_TOKEN: Final = re.compile(rb"t[0-9]{1,4}:[A-Z2-7]{26}")
_GIVEN: Final = re.compile(r"(?:(?P<tenant>[^=\s,:]+)=)?(?P<version>[1-9][0-9]{0,3}):(?P<secret>[A-Za-z0-9+/=]+)")
_PAIRS: Final = tuple(a + b for a in BASE32 for b in BASE32)


class BadKeyError(ValueError):
    """A key that cannot be used. The sentence says why and never shows the key."""


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


def read_key_file(path: Path) -> str:
    """Return what a file of keys holds. BadKeyError when others can read it, or nobody can."""
    try:
        if path.stat().st_mode & 0o077:
            raise BadKeyError(f"others can read it: run chmod 600 {path}")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadKeyError(f"it cannot be read ({type(exc).__name__})") from None


def parse_keys(text: str) -> dict[str, tuple[Key, ...]]:
    """Return the keys of each tenant, the present one first; BadKeyError for what cannot be used.

    The form is ``VERSION:BASE64``, or ``TENANT=VERSION:BASE64`` for one tenant (the others are under the empty name); a
    second one of a tenant, after a comma or on its own line, is the one before.
    """
    found: dict[str, tuple[Key, ...]] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        tenant, key = _given(part)
        found[tenant] = (*found.get(tenant, ()), key)
    for tenant, keys in found.items():
        _check(f" of {tenant}" if tenant else "", [key.version for key in keys])
    return found


def _check(whose: str, versions: list[int]) -> None:
    if len(versions) > MOST_KEYS:
        raise BadKeyError(f"it holds {len(versions)} keys{whose}; the present one and the one before are enough")
    if len(set(versions)) < len(versions):
        raise BadKeyError(f"two keys{whose} have the same version")


def _given(text: str) -> tuple[str, Key]:
    """Return whose key *text* is, and the key."""
    given = _GIVEN.fullmatch(text)
    try:
        secret = base64.b64decode(given["secret"], validate=True) if given else b""
    except (binascii.Error, ValueError):
        secret = b""
    if given is None or len(secret) < LEAST_KEY_BYTES:
        wanted = f"VERSION:BASE64 is expected, as 1:{'A' * 6}…, with {LEAST_KEY_BYTES} bytes or more"
        raise BadKeyError(f"{wanted}, or TENANT= before it; `controltower redact key` makes one")
    return given["tenant"] or "", Key(int(given["version"]), secret)


def _base32(digest: bytes) -> str:
    """Return the first characters of *digest* in base32: the library's own takes ten times as long."""
    bits = int.from_bytes(digest[:17], "big") >> 6  # 130 of them
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(5 * CHARACTERS - 10, -1, -10)])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
