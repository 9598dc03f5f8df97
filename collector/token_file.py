"""The file of tokens: the hash of each and what it may do, so that reading it gives nobody access."""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from controltower.collector.errors import TokensError
from controltower.collector.otlp import SIGNALS

# The form without a number is that of version 1: name, hash and tenant.
VERSION: Final = 2

# 256 random bits: nobody guesses one, and a plain SHA-256 of it cannot be turned back.
TOKEN_BYTES: Final = 32

# More than any organisation has senders; a larger file is the wrong one.
MOST_TOKENS: Final = 10_000
MOST_FILE_BYTES: Final = 16 * 1024 * 1024
NAME_CHARACTERS: Final = 100

FORM: Final = '{"version": 2, "tokens": [{"name": …, "hash": …, "tenant": …}]}'


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token: who it was given to, its hash, and what it may do. What is empty does not restrict."""

    name: str
    hash: str  # SHA-256 of the token, hexadecimal
    tenant: str = ""
    sources: frozenset[str] = frozenset()  # values of service.name; one that ends in * is the beginning of many
    signals: frozenset[str] = frozenset()
    phi: bool = False  # what it sends is redacted before it is written to disk
    scrape: bool = False  # it reads /metrics, and sends nothing
    items_per_s: float | None = None  # instead of the setting; 0: no limit
    bytes_per_s: float | None = None  # instead of the setting; 0: no limit
    created: datetime | None = None
    expires: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """Whether it counts no more."""
        return self.expires is not None and now >= self.expires


def create_token(path: Path, name: str, tenant: str = "", *, now: datetime | None = None, **scope: Any) -> str:
    """Add a token for *name* to the file at *path*, instead of all it had, and return it: it cannot be shown again.

    *scope* are the other fields of Token. The file is created when missing, readable by its owner only. Raises
    TokensError when the scope cannot be, or the file cannot be used.
    """
    secret = secrets.token_urlsafe(TOKEN_BYTES)
    made = Token(name, hash_of(secret), tenant, created=_second(now), **scope)
    _check(path, made)
    with _changing(path) as known:
        known[:] = [*(token for token in known if token.name != name), made]
    return secret


def rotate_token(
    path: Path, name: str, overlap: timedelta, *, now: datetime | None = None, lasts: timedelta | None = None
) -> str:
    """Add another token for *name* with what it may do, and return it; those it had end after *overlap*.

    It lasts as long as the newest of them did, or for *lasts*. Raises TokensError when there is none to replace.
    """
    at = _second(now)
    secret = secrets.token_urlsafe(TOKEN_BYTES)
    with _changing(path) as known:
        valid = [token for token in known if token.name == name and not token.expired(at)]
        if not valid:
            raise TokensError(path, f"has no token of the name {name!r} that is valid: create one")
        newest = max(valid, key=lambda token: token.created or datetime.min.replace(tzinfo=UTC))
        lasting = lasts or (newest.expires - newest.created if newest.expires and newest.created else None)
        added = replace(newest, hash=hash_of(secret), created=at, expires=at + lasting if lasting else None)
        ending = {token: replace(token, expires=min(token.expires or at + overlap, at + overlap)) for token in valid}
        known[:] = [*(ending.get(token, token) for token in known if token in ending or token.name != name), added]
    return secret


def revoke_tokens(path: Path, name: str) -> int:
    """Take every token of *name* out of use, from the next request on, and return how many there were."""
    with _changing(path) as known:
        before = len(known)
        known[:] = [token for token in known if token.name != name]
        return before - len(known)


def read_tokens(path: Path) -> list[Token]:
    """Return what the file at *path* holds; TokensError when it cannot be used."""
    try:
        stat = path.stat()
        if stat.st_mode & 0o077:
            raise TokensError(path, f"can be read by others: run chmod 600 {path}")
        if stat.st_size > MOST_FILE_BYTES:
            raise TokensError(path, f"is larger than {MOST_FILE_BYTES} bytes, so it is not one of tokens")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("version", 1) not in (1, VERSION):
            raise TokensError(path, f"is of version {content['version']}; this program knows {VERSION}: upgrade it")
        tokens = [_token(path, entry) for entry in content["tokens"]]
    except FileNotFoundError:
        raise TokensError(path, "does not exist") from None
    except OSError as error:
        raise TokensError(path, f"cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise TokensError(path, f"is not of the form {FORM}") from None
    if len(tokens) > MOST_TOKENS:
        raise TokensError(path, f"has more than {MOST_TOKENS} tokens")
    return tokens


def hash_of(token: str) -> str:
    """Return what is kept of *token*."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


@contextmanager
def _changing(path: Path) -> Iterator[list[Token]]:
    """Give the tokens to change and write them in one step; of several that change them, one at a time does.

    The folder is locked, not the file: that one is replaced.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        tokens = read_tokens(path) if path.exists() else []
        yield tokens
        _write(path, tokens)
    finally:
        os.close(folder)


def _write(path: Path, tokens: list[Token]) -> None:
    """Write the file in one step, so that no reader sees a part of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"version": VERSION, "tokens": [_entry(token) for token in tokens]}, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(descriptor)
    os.replace(draft, path)


def _entry(token: Token) -> dict[str, Any]:
    """Return *token* for the file, without what restricts nothing."""
    entry: dict[str, Any] = {"name": token.name, "hash": token.hash, "tenant": token.tenant}
    for field in fields(Token)[3:]:
        value = getattr(token, field.name)
        if isinstance(value, datetime):
            entry[field.name] = value.strftime("%Y-%m-%dT%H:%M:%SZ")
        elif isinstance(value, frozenset) and value:
            entry[field.name] = sorted(value)
        elif value is True or (isinstance(value, float) and value is not None):
            entry[field.name] = value
    return entry


def _token(path: Path, entry: dict[str, Any]) -> Token:
    values = dict(entry)
    for name in ("sources", "signals"):
        if name in values:
            # An empty list reads as "nothing" and would mean "everything".
            if not (isinstance(values[name], list) and values[name] and all(isinstance(v, str) for v in values[name])):
                raise ValueError(f"{name} is a list of at least one text")
            values[name] = frozenset(values[name])
    for name in ("created", "expires"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    for name in ("items_per_s", "bytes_per_s"):
        if name in values:
            values[name] = float(values[name])
    token = Token(**values)
    texts = isinstance(token.name, str) and isinstance(token.tenant, str)
    if not (texts and isinstance(token.phi, bool) and isinstance(token.scrape, bool)):
        raise ValueError("not a token")
    if len(bytes.fromhex(token.hash)) != hashlib.sha256().digest_size:
        raise ValueError("not a hash")
    if any(moment is not None and moment.tzinfo is None for moment in (token.created, token.expires)):
        raise ValueError("a time without a zone")
    _check(path, token)
    return token


def _check(path: Path, token: Token) -> None:
    """Refuse what cannot be meant; raises TokensError."""
    if not (isinstance(token.sources, frozenset) and isinstance(token.signals, frozenset)):
        raise TypeError("sources and signals are sets: another type would not be written, and would restrict nothing")
    unknown = token.signals - SIGNALS.keys()
    if not token.name or len(token.name) > NAME_CHARACTERS or not token.name.isprintable():
        raise TokensError(path, f"cannot hold the name {token.name!r}: 1 to {NAME_CHARACTERS} printable characters")
    if unknown:
        raise TokensError(path, f"cannot hold the signal {min(unknown)!r}: there are {', '.join(SIGNALS)}")
    wrong = [source for source in token.sources if not source or "*" in source[:-1]]
    if wrong:
        raise TokensError(path, f"cannot hold the source {min(wrong)!r}: * may stand at the end only")
    for rate in (token.items_per_s, token.bytes_per_s):
        if rate is not None and not 0 <= rate < float("inf"):
            raise TokensError(path, f"cannot hold the rate {rate}: it is a number, 0 for no limit")


def _second(now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)).replace(microsecond=0)
