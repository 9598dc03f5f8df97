"""Clients of the store: one type and one behaviour for the embedded engine and for a ClickHouse server."""

import os
import re
from pathlib import Path
from typing import Any, Final, Literal

import clickhouse_connect
from clickhouse_connect.driver import options
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as EngineError
from urllib3.exceptions import HTTPError

from controltower.store.address import StoreAddress
from controltower.store.errors import StoreError, StoreUnavailableError

__all__ = ["READER_SETTINGS", "SETTINGS", "Client", "Role", "connect", "engine_text", "forgo_frames"]

Role = Literal["writer", "reader"]

# The same for every address, whatever the engine's own defaults are (they differ between embedded and server).
SETTINGS: Final[dict[str, Any]] = {
    "session_timezone": "UTC",  # texts, dates and partitions mean UTC on a machine of any zone
    "async_insert": 0,  # an insert that returned is stored
    "wait_for_async_insert": 1,
    "insert_deduplicate": 1,  # a token loads once ...
    "deduplicate_blocks_in_dependent_materialized_views": 1,  # ... also behind views
}
# A reader cannot write, and one query cannot take the engine away from the others. 2, not 1: settings stay possible.
READER_SETTINGS: Final[dict[str, Any]] = {
    "max_execution_time": 30,
    "max_memory_usage": 2 * 1024**3,
    "readonly": 2,
}
CONNECT_TIMEOUT_S: Final = 5
ANSWER_TIMEOUT_S: Final = {"writer": 300, "reader": 60}
UNKNOWN_DATABASE: Final = 81
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def forgo_frames() -> None:
    """Keep this process' clients from importing pandas when they insert: to ask whether rows are a frame takes a second of
    processor time and 50 MB. For processes that are ours alone, since clients no longer know frames then.
    """
    vars(options)["pd"] = None  # as where pandas is not installed


def connect(address: StoreAddress, *, role: Role = "writer") -> Client:
    """Open a client for the thread that calls: clients are not shared between threads.

    Creates the database when it is missing (a reader of a server does not). Raises StoreUnavailableError with one
    sentence when the store does not answer or another process holds its folder.
    """
    try:
        client = _open(address, role, address.database)
    except EngineError as exc:
        if exc.code != UNKNOWN_DATABASE:
            raise _refused(address, exc) from exc
        _create_database(address, role)
        client = _open(address, role, address.database)
    except (HTTPError, OSError) as exc:
        raise StoreUnavailableError(f"The store at {address} does not answer: {exc}.") from exc
    return client


def _create_database(address: StoreAddress, role: Role) -> None:
    if role == "reader" and not address.embedded:
        raise StoreUnavailableError(
            f"The store at {address} has no database {address.database!r} yet; run `controltower migrate` or start it."
        )
    client = _open(address, "writer", None)
    try:
        client.command("CREATE DATABASE IF NOT EXISTS {database:Identifier}", parameters={"database": address.database})
    except EngineError as exc:
        raise _refused(address, exc) from exc
    finally:
        client.close()


def _open(address: StoreAddress, role: Role, database: str | None) -> Client:
    settings = SETTINGS | (READER_SETTINGS if role == "reader" else {})
    if address.path is not None:
        return _open_folder(address.path, database, settings)
    return clickhouse_connect.get_client(
        host=address.host,
        port=address.port,
        username=address.user or None,
        password=address.password,
        secure=address.secure,
        interface="https" if address.secure else "http",
        database=database,
        tz_mode="aware",
        settings=settings,
        compress=address.host not in LOOPBACK,  # on one machine it only costs time
        autogenerate_session_id=False,  # no state between statements, as with the embedded engine
        connect_timeout=CONNECT_TIMEOUT_S,
        send_receive_timeout=ANSWER_TIMEOUT_S[role],
    )


def _open_folder(path: Path, database: str | None, settings: dict[str, Any]) -> Client:
    _make_folder(path)
    holder = _holder(path)
    if holder is not None and holder != os.getpid():
        raise StoreUnavailableError(
            f"The store's folder {path} is held by process {holder}; stop it or use its endpoint."
        )
    return clickhouse_connect.get_client(
        interface="chdb",
        path=str(path),
        database=database,
        tz_mode="aware",
        settings=settings,
        chdb_options=engine_options(path),
    )


def engine_options(path: Path) -> dict[str, str]:
    """Return what the embedded engine over the folder *path* is started with: the same for each of its handles."""
    return {
        "session_timezone": "UTC",  # known before a client asks for the server's zone
        "backups.allowed_path": f"{backups_of(path).resolve()}/",
    }


def backups_of(path: Path) -> Path:
    """Return the folder of the backups of the embedded engine over the folder *path*."""
    return path.parent / "backups"


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreUnavailableError(f"The store's folder {path} cannot be made: {exc.strerror}.") from exc
    if not os.access(path, os.W_OK | os.X_OK):
        raise StoreUnavailableError(
            f"The store's folder {path} cannot be written; choose another or change its rights."
        )


def _holder(path: Path) -> int | None:
    """Return the process that holds the engine's folder: the engine locks ``status``, which holds its process id.

    Asked before the engine is started, because the engine reports a held folder on its own standard error only.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        with (path / "status").open("rb") as status:
            try:
                fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                first = status.readline().decode(errors="replace").split()
                return int(first[-1]) if first and first[-1].isdigit() else 0
            return None
    except FileNotFoundError:
        return None


def engine_text(error: Exception) -> str:
    """Return what the engine said, in one line: ``Code: 60. DB::Exception: … (UNKNOWN_TABLE)``, without the client's words."""
    text = " ".join(str(error).split())
    text = text[max(text.find("Code: "), 0) :]
    return re.sub(r"( \(version [^()]*(\([^()]*\))?\))?( \(for url [^()]*\))?$", "", text) or "no reason given"


def _refused(address: StoreAddress, error: EngineError) -> StoreError:
    if isinstance(error.__cause__, HTTPError | OSError):  # nobody answered, so there is no text of the engine's
        return StoreUnavailableError(f"The store at {address} does not answer: {_root_of(error.__cause__)}.")
    return StoreUnavailableError(f"The store at {address} cannot be opened: {engine_text(error)}")


def _root_of(error: BaseException) -> str:
    """Return why a connection failed, without the layers of the HTTP client around it: ``Connection refused``."""
    while (inner := getattr(error, "reason", None) or error.__cause__) and isinstance(inner, BaseException):
        error = inner
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
