"""Bearer tokens: who presents one, and what it may send. A change of their file counts from the next request on."""

import hmac
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias

from controltower.collector.errors import TokensError
from controltower.collector.token_file import Token, create_token, hash_of, read_tokens

__all__ = ["Denied", "Sender", "Token", "Tokens", "create_token", "read_tokens", "sender_of"]

logger = logging.getLogger(__name__)

_SCHEME: Final = "bearer"

# Ours have 43 characters. What is longer is none, and is not hashed.
_MOST_CHARACTERS: Final = 512

# Tokens are found by this much of their hash, and then compared as a whole. Who measures how long that takes learns
# about the hash of what he presented, and no more about any token.
_INDEX_CHARACTERS: Final = 16

_NOBODY: Final = Token("", "0" * 64)

Why: TypeAlias = Literal["missing", "unknown", "expired"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request, and what it may send."""

    name: str
    tenant: str
    sources: frozenset[str] = frozenset()  # values of service.name, or beginnings with * at the end; empty: all
    signals: frozenset[str] = frozenset()  # names of signals; empty: all
    phi: bool = False  # what it sends is redacted before it is written to disk
    items_per_s: float | None = None  # instead of the setting; 0: no limit
    bytes_per_s: float | None = None  # instead of the setting; 0: no limit


@dataclass(frozen=True, slots=True)
class Denied:
    """Why an Authorization header names nobody, and by what it is known again; the token itself is not kept."""

    why: Why
    name: str = ""  # of a token that was valid once
    fingerprint: str = ""  # the beginning of its hash


class Tokens:
    """The tokens in a file; safe to use from several threads."""

    def __init__(self, path: Path, clock: Callable[[], int] = time.time_ns) -> None:
        """Read the file at *path*; TokensError when it is missing, unreadable, or readable by others."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._version = _version(path)
        self._index = _index(read_tokens(path))

    def recognise(self, authorization: str | None) -> Token | Denied:
        """Return whose token an Authorization header holds, or why it is nobody's."""
        scheme, _, text = (authorization or "").partition(" ")
        presented = text.strip()
        if scheme.lower() != _SCHEME or not presented:
            return Denied("missing")
        if len(presented) > _MOST_CHARACTERS:
            return Denied("unknown")
        hashed = hash_of(presented)
        found = _NOBODY
        for known in self._current().get(hashed[:_INDEX_CHARACTERS], (_NOBODY,)):
            if hmac.compare_digest(hashed, known.hash):
                found = known
        if found is _NOBODY:
            return Denied("unknown", fingerprint=hashed[:_INDEX_CHARACTERS])
        if found.expired(datetime.fromtimestamp(self._clock() / 1e9, UTC)):
            return Denied("expired", found.name, hashed[:_INDEX_CHARACTERS])
        return found

    def sender(self, authorization: str | None) -> Sender | None:
        """Return who may send with an Authorization header, None when it is nobody."""
        token = self.recognise(authorization)
        return None if isinstance(token, Denied) or token.scrape else sender_of(token)

    def _current(self) -> dict[str, tuple[Token, ...]]:
        """Return the tokens, read again if the file changed; a file that cannot be used changes nothing."""
        with self._lock:
            version = _version(self._path)
            if version != self._version:
                self._version = version
                try:
                    self._index = _index(read_tokens(self._path))
                except TokensError as error:
                    logger.error("the tokens that are known stay in use: %s", error)
            return self._index


def sender_of(token: Token) -> Sender:
    """Return who sends with *token*."""
    return Sender(
        token.name, token.tenant, token.sources, token.signals, token.phi, token.items_per_s, token.bytes_per_s
    )


def _index(tokens: list[Token]) -> dict[str, tuple[Token, ...]]:
    index: dict[str, tuple[Token, ...]] = {}
    for token in tokens:
        beginning = token.hash[:_INDEX_CHARACTERS].lower()
        index[beginning] = (*index.get(beginning, ()), token)
    return index


def _version(path: Path) -> tuple[int, ...]:
    """Return what changes when the file is written or its mode is changed; empty when it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return (stat.st_ctime_ns, stat.st_ino, stat.st_size)
