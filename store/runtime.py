"""The runtime file of a running ``serve``: where its endpoint is, and how the other processes of its owner get in."""

import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from controltower.store.address import DEFAULT_DATABASE, StoreAddress, embedded_address, parse_address
from controltower.store.client import Client, Role, connect

FILE_NAME: Final = "serve.json"
INSTANCE_HEADER: Final = "X-ControlTower-Instance"
BACKUP_PATH: Final = "/backup"
PING_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """What a running ``serve`` tells the other processes of the same owner. Credentials never show in a repr."""

    pid: int
    instance: str  # answered by the endpoint's /ping, so that a recycled process id or port is recognised
    store: str  # the address that serve holds
    host: str
    port: int
    database: str = DEFAULT_DATABASE
    writer_user: str = "writer"
    writer_password: str = field(default="", repr=False)
    reader_user: str = "reader"
    reader_password: str = field(default="", repr=False)
    collector: str = ""
    grpc: str = ""  # HOST:PORT of OTLP/gRPC, empty when it is turned off
    token: str = field(default="", repr=False)
    dashboard: str = ""

    def address(self, role: Role) -> StoreAddress:
        """Return the endpoint's address for *role*."""
        writes = role == "writer"
        return StoreAddress(
            "clickhouse",
            host=self.host,
            port=self.port,
            user=self.writer_user if writes else self.reader_user,
            password=self.writer_password if writes else self.reader_password,
            database=self.database,
        )

    def alive(self) -> bool:
        """Whether that process exists and its endpoint answers with this instance. Blocks for two seconds at most."""
        if not _process_exists(self.pid):
            return False
        if self.collector.startswith("https:") and self.collector.endswith(f":{self.port}"):
            return _speaks_tls(self.host, self.port)
        return _instance(self.host, self.port) == self.instance


def runtime_path(data: Path) -> Path:
    """Return the runtime file's path in the data folder."""
    return data / FILE_NAME


def write_runtime(data: Path, runtime: RuntimeFile) -> None:
    """Write the file in one step, readable by its owner only; the folder is made when missing."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = runtime_path(data)
    draft = target.with_name(f"{FILE_NAME}.{uuid4().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(_as_json(runtime), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_runtime(data: Path) -> RuntimeFile | None:
    """Return what the file says, whether or not that process lives; None when there is none, or it is unreadable."""
    try:
        return _from_json(json.loads(runtime_path(data).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_runtime(data: Path, instance: str) -> None:
    """Remove the file if it is that instance's; another one's stays."""
    runtime = read_runtime(data)
    if runtime is not None and runtime.instance == instance:
        runtime_path(data).unlink(missing_ok=True)


def running(data: Path) -> RuntimeFile | None:
    """Return the runtime file of a ``serve`` that lives; None when there is none or it is stale."""
    runtime = read_runtime(data)
    return runtime if runtime is not None and runtime.alive() else None


def open_store(data: Path, store: str | None = None, *, role: Role = "writer") -> Client:
    """Open the store as every command and page does.

    A server's address is used as it is. For the embedded engine: through the endpoint of the ``serve`` that holds the
    folder, else the folder itself. Raises AddressError, StoreUnavailableError.
    """
    return connect(reachable(data, store, role=role), role=role)


def reachable(data: Path, store: str | None = None, *, role: Role = "writer") -> StoreAddress:
    """Return the address by which this process gets to the store: that of a running ``serve`` when it holds the folder."""
    address = parse_address(store) if store else embedded_address(data / "store")
    runtime = running(data) if address.embedded else None
    if runtime is not None and _same_folder(runtime.store, address):
        return runtime.address(role)
    return address


def _same_folder(held: str, wanted: StoreAddress) -> bool:
    address = parse_address(held)
    return bool(address.path and wanted.path and os.path.realpath(address.path) == os.path.realpath(wanted.path))


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        return True
    return True


def _instance(host: str, port: int) -> str | None:
    name = f"[{host}]" if ":" in host else host
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach our loopback
    try:
        with opener.open(f"http://{name}:{port}/ping", timeout=PING_TIMEOUT_S) as answer:
            return str(answer.headers.get(INSTANCE_HEADER))
    except (OSError, ValueError):
        return None


def _speaks_tls(host: str, port: int) -> bool:
    """Whether TLS is spoken there. Who it is cannot be asked: a client certificate may be needed for that."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent
    try:
        with (
            socket.create_connection((host, port), timeout=PING_TIMEOUT_S) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except ssl.SSLError:
        return True  # it wants a certificate of ours
    except OSError:
        return False


def _as_json(runtime: RuntimeFile) -> dict[str, Any]:
    """Return the file's content: endpoint and credentials grouped, as people read it."""
    flat = asdict(runtime)
    return {
        "pid": flat["pid"],
        "instance": flat["instance"],
        "store": flat["store"],
        "endpoint": {"host": flat["host"], "port": flat["port"], "database": flat["database"]},
        "writer": {"user": flat["writer_user"], "password": flat["writer_password"]},
        "reader": {"user": flat["reader_user"], "password": flat["reader_password"]},
        "collector": flat["collector"],
        "grpc": flat["grpc"],
        "token": flat["token"],
        "dashboard": flat["dashboard"],
    }


def _from_json(content: dict[str, Any]) -> RuntimeFile:
    return RuntimeFile(
        pid=int(content["pid"]),
        instance=str(content["instance"]),
        store=str(content["store"]),
        host=str(content["endpoint"]["host"]),
        port=int(content["endpoint"]["port"]),
        database=str(content["endpoint"]["database"]),
        writer_user=str(content["writer"]["user"]),
        writer_password=str(content["writer"]["password"]),
        reader_user=str(content["reader"]["user"]),
        reader_password=str(content["reader"]["password"]),
        collector=str(content.get("collector", "")),
        grpc=str(content.get("grpc", "")),
        token=str(content.get("token", "")),
        dashboard=str(content.get("dashboard", "")),
    )


__all__ = [
    "INSTANCE_HEADER",
    "RuntimeFile",
    "open_store",
    "reachable",
    "read_runtime",
    "remove_runtime",
    "running",
    "runtime_path",
    "write_runtime",
]
