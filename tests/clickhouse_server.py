"""A real ClickHouse server on loopback, without containers and without installing anything on the system.

The npm package below ships ClickHouse as one shared library (about 180 MB, fetched once). Its command-line entry point
takes the options of ``clickhouse local``, and ``SYSTEM START LISTEN`` opens the server's own HTTP interface, so every
client talks to it as to any ClickHouse server.

    python -m tests.clickhouse_server --fetch                         fetch the library and leave
    python -m tests.clickhouse_server --data DIR --http-port PORT     serve until stopped
"""

import argparse
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PACKAGE = "@chdb/lib-linux-x64-gnu@26.7.3-stable.1"
CACHE = Path.home() / ".cache" / "controltower-tests" / "libchdb"
LIBRARY = CACHE / "package" / "libchdb.so"
START_TIMEOUT_S = 60.0  # a cold page cache reads 500 MB first
FETCH_TIMEOUT_S = 600.0
PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parents[1]


class ServerUnavailableError(Exception):
    """The server cannot be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class ClickHouseServer:
    """Where the server listens. User ``default`` without a password, as a fresh ClickHouse has it."""

    host: str
    port: int
    pid: int = 0

    def address(self, database: str) -> str:
        """Return the store address of *database* on this server."""
        return f"clickhouse://default@{self.host}:{self.port}/{database}"


def fetch() -> Path:
    """Return the library's path, fetching the package when it is not cached; blocks for that long."""
    if LIBRARY.exists():
        return LIBRARY
    if shutil.which("npm") is None:
        raise ServerUnavailableError("npm is not installed, so the ClickHouse server library cannot be fetched")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Unpacked aside and moved in one step: two runs that fetch at once must not see half a library.
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        try:
            packed = subprocess.run(
                ["npm", "pack", PACKAGE, "--silent"],
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
                timeout=FETCH_TIMEOUT_S,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
            raise ServerUnavailableError(f"npm could not fetch {PACKAGE}: {exc}") from exc
        with tarfile.open(Path(folder) / packed.stdout.split()[-1]) as archive:
            archive.extractall(folder, filter="data")
        if not LIBRARY.exists():
            shutil.rmtree(LIBRARY.parent, ignore_errors=True)
            os.replace(Path(folder) / "package", LIBRARY.parent)
    return LIBRARY


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(data: Path, port: int | None = None) -> Iterator[ClickHouseServer]:
    """Run a server over *data* for the length of the block; it dies with this process, whatever happens."""
    fetch()
    chosen = port or free_port()
    data.mkdir(parents=True, exist_ok=True)
    log_path = data.parent / f"{data.name}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, "--data", str(data), "--http-port", str(chosen)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    server = ClickHouseServer("127.0.0.1", chosen, process.pid)
    try:
        wait_until_up(server, process, log_path)
        yield server
    finally:
        process.kill()
        process.wait()


def wait_until_up(server: ClickHouseServer, process: "subprocess.Popen[bytes]", log_path: Path) -> None:
    """Return when the server answers. Raises ServerUnavailableError with its last words when it does not."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urlopen(f"http://{server.host}:{server.port}/ping", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.05)
    tail = log_path.read_text(encoding="utf-8", errors="replace")[-500:]
    raise ServerUnavailableError(f"the ClickHouse server did not start: {tail or 'no output'}")


def _die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent ends, so that no crash of a test run leaves a server behind."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the call
        sys.exit(1)


def serve(data: str, http_port: int) -> int:
    """Serve in this process until it is killed; returns only when the server cannot run."""
    library = ctypes.CDLL(str(fetch()))
    library.chdb_query_cmdline.restype = ctypes.c_void_p
    library.chdb_result_error.restype = ctypes.c_char_p
    library.chdb_result_error.argtypes = [ctypes.c_void_p]
    # The interface stays open while a query runs: one that sleeps until killed.
    forever = (
        "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(1) FROM numbers(1000000000) "
        "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null"
    )
    options = ["clickhouse", f"--path={data}", "--listen_host=127.0.0.1", f"--http_port={http_port}"]
    options.append(f"--query={forever}")
    options += ["--", f"--backups.allowed_path={data}-backups/"]  # settings of the server's configuration
    argv = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    result = library.chdb_query_cmdline(len(options), argv)
    print((library.chdb_result_error(result) or b"").decode(errors="replace"), file=sys.stderr)
    return 1


def main() -> int:
    """Fetch the library, or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--http-port", type=int)
    arguments = parser.parse_args()
    if arguments.fetch:
        print(fetch())
        return 0
    if not arguments.data or not arguments.http_port:
        parser.error("--data and --http-port are needed to serve")
    _die_with_parent()
    return serve(arguments.data, arguments.http_port)


if __name__ == "__main__":
    sys.exit(main())
