"""Bearer tokens: a file with the hash of each, so that reading it gives nobody access."""

import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from controltower.collector.errors import TokensError

logger = logging.getLogger(__name__)

_SCHEME: Final = "bearer"

# 256 random bits: nobody guesses one, and a plain SHA-256 of it cannot be turned back.
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token: who it was given to, and its hash."""

    name: str
    hash: str  # SHA-256 of the token, hexadecimal
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request, and what it may send."""

    name: str
    tenant: str
    sources: frozenset[str] = frozenset()  # values of service.name; empty: all
    signals: frozenset[str] = frozenset()  # names of signals; empty: all
    phi: bool = False  # what it sends is redacted before it is written to disk


class Tokens:
    """The tokens in a file; a change of the file counts from the next request on."""

    def __init__(self, path: Path) -> None:
        """Read the file at *path*; TokensError when it is missing, unreadable, or readable by others."""
        self._path = path
        self._lock = threading.Lock()
        self._version = _version(path)
        self._tokens = read_tokens(path)

    def sender(self, authorization: str | None) -> Sender | None:
        """Return who an Authorization header names, None when it names nobody. Takes the same time for each token."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != _SCHEME:
            return None
        presented = _hash(token.strip())
        found: Token | None = None
        for known in self._current():
            if hmac.compare_digest(presented, known.hash):
                found = known
        return Sender(found.name, found.tenant) if found else None

    def _current(self) -> list[Token]:
        """Return the tokens, read again if the file changed; a file that cannot be used changes nothing."""
        with self._lock:
            version = _version(self._path)
            if version != self._version:
                self._version = version
                try:
                    self._tokens = read_tokens(self._path)
                except TokensError as error:
                    logger.error("the tokens that are known stay in use: %s", error)
            return self._tokens


def create_token(path: Path, name: str, tenant: str = "") -> str:
    """Add a token for *name* to the file at *path*, instead of one it had, and return it: it cannot be shown again.

    The file is created when missing, readable by its owner only.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    kept = [known for known in (read_tokens(path) if path.exists() else []) if known.name != name]
    _write(path, [*kept, Token(name, _hash(token), tenant)])
    return token


def read_tokens(path: Path) -> list[Token]:
    """Return what the file at *path* holds; TokensError when it cannot be used."""
    try:
        if path.stat().st_mode & 0o077:
            raise TokensError(path, f"can be read by others: run chmod 600 {path}")
        return [_token(entry) for entry in json.loads(path.read_text(encoding="utf-8"))["tokens"]]
    except FileNotFoundError:
        raise TokensError(path, "does not exist") from None
    except OSError as error:
        raise TokensError(path, f"cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        message = 'is not of the form {"tokens": [{"name": …, "hash": …, "tenant": …}]}'
        raise TokensError(path, message) from None


def _token(entry: dict[str, Any]) -> Token:
    token = Token(**entry)
    if not (isinstance(token.name, str) and isinstance(token.tenant, str) and len(bytes.fromhex(token.hash)) == 32):
        raise ValueError("not a token")
    return token


def _write(path: Path, tokens: list[Token]) -> None:
    """Write the file in one step, so that no reader sees a part of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"tokens": [asdict(token) for token in tokens]}, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(descriptor)
    os.replace(draft, path)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _version(path: Path) -> tuple[int, ...]:
    """Return what changes when the file is written or its mode is changed; empty when it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return (stat.st_ctime_ns, stat.st_ino, stat.st_size)
