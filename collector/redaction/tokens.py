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
MOST_KEYS: Final = 2  # of a tenant: the present one, and in the overlap of a rotation the one before it
MOST_TENANTS: Final = 100  # with keys of their own
EVERY_TENANT: Final = ""  # whose keys are those of each tenant that has none of its own
REMEMBERED: Final = 4_096  # tokens; a batch repeats its keys, and more would only hold patients' numbers in memory

_SPACES: Final = re.compile("[ \t\n\v\f\r]+")
_TOKEN: Final = re.compile(rb"t[0-9]{1,4}:[A-Z2-7]{26}")
_GIVEN: Final = re.compile(r"(?:(?P<tenant>[^=\s,:]+)=)?(?P<version>[1-9][0-9]{0,3}):(?P<secret>[A-Za-z0-9+/=]+)")
_PAIRS: Final = tuple(a + b for a in BASE32 for b in BASE32)


@dataclass(frozen=True, slots=True)
class Key:
    """A key and its version, which stands in every token made with it."""

    version: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of each tenant, all of the same versions, so that no token joins what is of two tenants."""

    by_tenant: Mapping[str, tuple[Key, ...]] = field(default_factory=dict)

    def of(self, tenant: str) -> tuple[Key, ...]:
        """Return the keys for what is *tenant*'s: its own, else those of every tenant, else none."""
        return self.by_tenant.get(tenant, self.by_tenant.get(EVERY_TENANT, ()))

    @property
    def some(self) -> tuple[Key, ...]:
        """Return the keys of one tenant: as many as each has, and of the versions that each has."""
        return next(iter(self.by_tenant.values()), ())

    def secrets(self) -> dict[str, tuple[bytes, ...]]:
        """Return the secrets of each tenant, as ``by_tenant`` has the keys."""
        return {tenant: tuple(key.secret for key in keys) for tenant, keys in self.by_tenant.items()}


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


def read_keys(environment: Mapping[str, str]) -> Keys:
    """Return the keys of ``CONTROLTOWER_REDACTION_KEY`` or of the file that ``…_FILE`` names; none when neither is set.

    The form is ``VERSION:BASE64``, or ``TENANT=VERSION:BASE64`` for one tenant; a second one of a tenant, after a comma
    or on its own line, is the one before. SettingsError never shows the value.
    """
    text, variable = environment.get(VARIABLE, ""), VARIABLE
    named = environment.get(f"{VARIABLE}_FILE", "")
    if named and text:
        raise SettingsError(f"{variable}_FILE", named, f"{VARIABLE} is set, too; keep one of them")
    if named:
        variable, text = f"{VARIABLE}_FILE", _read(Path(named))
    found: dict[str, tuple[Key, ...]] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        tenant, key = _given(variable, part)
        found[tenant] = (*found.get(tenant, ()), key)
    keys = Keys(found)
    if problem := _contradiction(keys):
        raise SettingsError(variable, "…", problem)
    return keys


def _contradiction(keys: Keys) -> str:
    """Return what is wrong with *keys* that are well formed one by one; nothing when they can be used."""
    if len(keys.by_tenant) > MOST_TENANTS:
        return f"it holds keys of {len(keys.by_tenant)} tenants; {MOST_TENANTS} are the most"
    for tenant, own in keys.by_tenant.items():
        whose = f" of {tenant}" if tenant else ""
        versions = [key.version for key in own]
        if len(own) > MOST_KEYS:
            return f"it holds {len(own)} keys{whose}; the present one and the one before are enough"
        if len(set(versions)) < len(versions):
            return f"two keys{whose} have the same version"
        if versions != [key.version for key in keys.some]:
            return f"the keys{whose} have other versions than those before them; all tenants change keys together"
    secrets = [key.secret for own in keys.by_tenant.values() for key in own]
    if len(set(secrets)) < len(secrets) and len(keys.by_tenant) > 1:
        return "one key is there twice; tokens of two tenants would be the same"
    return ""


def _read(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"{VARIABLE}_FILE", str(path), f"others can read it: run chmod 600 {path}")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{VARIABLE}_FILE", str(path), f"it cannot be read ({type(exc).__name__})") from None


def _given(variable: str, text: str) -> tuple[str, Key]:
    """Return whose key *text* is, and the key."""
    given = _GIVEN.fullmatch(text)
    try:
        secret = base64.b64decode(given["secret"], validate=True) if given else b""
    except (binascii.Error, ValueError):
        secret = b""
    if given is None or len(secret) < LEAST_KEY_BYTES:
        wanted = f"VERSION:BASE64 is expected, as 1:{'A' * 6}…, with {LEAST_KEY_BYTES} bytes or more"
        raise SettingsError(variable, "…", f"{wanted}, or TENANT= before it; `controltower redact key` makes one")
    return given["tenant"] or EVERY_TENANT, Key(int(given["version"]), secret)
