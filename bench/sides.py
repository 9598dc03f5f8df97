"""What is compared: Rotel and our collector, each a process that runs for the whole comparison."""

import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controltower.cli.children import start
from controltower.store.address import parse_address
from controltower.store.client import Client, connect
from controltower.store.runtime import RuntimeFile, open_store, running
from controltower.store.schema import migrate
from controltower.store.statements import split
from tests.clickhouse_server import ClickHouseServer, free_port

HERE: Final = Path(__file__).parent
READY_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Side:
    """One collector with its store: where it takes spans, where they are read, which processes do the work."""

    name: str
    endpoint: str
    token: str
    client: Client
    processes: dict[str, int]  # what does the work: name -> process id


def rotel_agent() -> Path:
    """Return the agent of the package ``rotel`` (``pip install --pre rotel``); SystemExit when it is not there."""
    try:
        import rotel  # type: ignore[import-not-found]  # for this comparison only, never a dependency
    except ImportError:
        sys.exit("The comparison needs Rotel: .venv/bin/pip install --pre rotel")
    return Path(rotel.__file__).with_name("rotel-agent")


@contextmanager
def rotel(server: ClickHouseServer, folder: Path, *options: str) -> Iterator[Side]:
    """Run Rotel in front of *server*, with the exporter's tables in a database of its own."""
    database = "otel"
    client = connect(parse_address(server.address(database)))
    for statement in split((HERE / "exporter_schema.sql").read_text(encoding="utf-8")):
        client.command(statement)
    address = f"127.0.0.1:{free_port()}"
    words = [
        str(rotel_agent()), "start", "--exporter", "clickhouse",
        "--clickhouse-exporter-endpoint", f"http://{server.host}:{server.port}",
        "--clickhouse-exporter-database", database,
        "--otlp-http-endpoint", address,
        "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
        *options,
    ]  # fmt: skip
    with (folder / "rotel.log").open("ab") as log, closing(client):
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_until_answering(f"http://{address}/v1/traces", process)
            yield Side("rotel", f"http://{address}", "", client, {"rotel": process.pid, "engine": server.pid})
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def collect(server: ClickHouseServer, folder: Path) -> Iterator[Side]:
    """Run `controltower collect` in front of *server*."""
    store = server.address("controltower")
    with _tower("collect", folder / "collect", store) as (runtime, client):
        yield Side(
            "collect", runtime.collector, runtime.token, client, {"collector": runtime.pid, "engine": server.pid}
        )


@contextmanager
def embedded(folder: Path) -> Iterator[Side]:
    """Run `controltower serve` over the embedded engine: collector, store, flow engine and alerts in one process."""
    with _tower("serve", folder / "serve", None) as (runtime, client):
        yield Side("serve", runtime.collector, runtime.token, client, {"serve": runtime.pid})


@contextmanager
def _tower(command: str, data: Path, store: str | None) -> Iterator[tuple[RuntimeFile, Client]]:
    data.mkdir(mode=0o700)
    variables = {"CONTROLTOWER_STORE": store} if store else {}
    if store:
        with closing(open_store(data, store)) as client:
            migrate(client)
    ports = ["--collector-port", "0", "--grpc-port", "0", "--quiet"] + (
        ["--endpoint-port", "0"] if command == "serve" else []
    )
    child = start(command, [command, "--data", str(data), *ports], data / "errors.txt", variables=variables)
    try:
        runtime = _ready(data, child.process)
        with closing(open_store(data, store)) as client:
            yield runtime, client
    finally:
        child.stop()
        shutil.rmtree(data, ignore_errors=True)


def _ready(data: Path, process: "subprocess.Popen[bytes]") -> RuntimeFile:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        found = running(data)
        if found is not None:
            return found
        time.sleep(0.05)
    sys.exit(f"The collector did not start: {(data / 'errors.txt').read_text(encoding='utf-8')[-500:]}")


def _wait_until_answering(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        request = urllib.request.Request(url, data=b"", headers={"Content-Type": "application/x-protobuf"})
        try:
            with urllib.request.urlopen(request, timeout=2):
                return
        except urllib.error.HTTPError as exc:
            exc.close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{url} does not answer.")
