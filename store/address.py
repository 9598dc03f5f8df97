"""Addresses of the store: an embedded engine's folder, or a ClickHouse server."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from controltower.store.errors import AddressError

Scheme = Literal["chdb", "clickhouse", "clickhouses"]

DEFAULT_DATABASE: Final = "controltower"
FILES_DATABASE: Final = "default"  # of the embedded engine: a table that does not exist there is a file
HTTP_PORT: Final = 8123
HTTPS_PORT: Final = 8443
FORMS: Final = "chdb:///absolute/folder, clickhouse://user:password@host:8123/database or clickhouses://… for TLS"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the store is. ``path`` is set for the embedded engine, ``host`` for a server; the password never shows."""

    scheme: Scheme
    path: Path | None = None
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = DEFAULT_DATABASE

    @property
    def embedded(self) -> bool:
        """Whether the engine runs in a process of ours, over a folder."""
        return self.scheme == "chdb"

    @property
    def secure(self) -> bool:
        """Whether the server is spoken to over TLS."""
        return self.scheme == "clickhouses"

    def __str__(self) -> str:
        """Return the address for people: without the password."""
        if self.embedded:
            return f"chdb://{self.path}" + ("" if self.database == DEFAULT_DATABASE else f"?database={self.database}")
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{host}:{self.port}/{self.database}"


def embedded_address(folder: Path, database: str = DEFAULT_DATABASE) -> StoreAddress:
    """Return the address of the embedded engine over *folder*."""
    return StoreAddress("chdb", path=folder.expanduser().absolute(), database=database)


def parse_address(text: str) -> StoreAddress:
    """Parse *text*; an address that cannot be understood raises AddressError with a sentence."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise AddressError(f"The store's address {_shown(text)} is not a URL; use {FORMS}.") from None
    if parts.scheme == "chdb":
        return _embedded(parts, text)
    if parts.scheme in ("clickhouse", "clickhouses"):
        return _server(parts, port, text)
    raise AddressError(f"The store's address {_shown(text)} has an unknown form; use {FORMS}.")


def _embedded(parts: SplitResult, text: str) -> StoreAddress:
    if parts.netloc or not parts.path.strip("/"):
        raise AddressError(f"The store's address {_shown(text)} names no absolute folder; use chdb:///absolute/folder.")
    database = _options(parts, text).get("database") or DEFAULT_DATABASE
    if database == FILES_DATABASE:
        raise AddressError(f"The embedded engine's database {database!r} is no place for tables; name another one.")
    return embedded_address(Path(unquote(parts.path)), database)


def _server(parts: SplitResult, port: int | None, text: str) -> StoreAddress:
    if not parts.hostname:
        raise AddressError(f"The store's address {_shown(text)} names no host; use clickhouse://host:8123/database.")
    secure = parts.scheme == "clickhouses"
    options = _options(parts, text)
    named = [unquote(part) for part in parts.path.split("/") if part]
    if len(named) > 1:
        raise AddressError(f"The store's address {_shown(text)} has more than a database after the host.")
    return StoreAddress(
        "clickhouses" if secure else "clickhouse",
        host=parts.hostname,
        port=port or (HTTPS_PORT if secure else HTTP_PORT),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=(named[0] if named else options.get("database")) or DEFAULT_DATABASE,
    )


def _options(parts: SplitResult, text: str) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - {"database"})
    if unknown:
        raise AddressError(f"The store's address {_shown(text)} has an unknown option {unknown[0]!r}; known: database.")
    return options


def _shown(text: str) -> str:
    """Return *text* fit for a message: what stands between the scheme and the host may be a password."""
    scheme, separator, rest = text.partition("://")
    return repr(f"{scheme}{separator}{rest.rpartition('@')[2]}")
