"""What the soak runs: a tower whose journal has a volume of its own, a ClickHouse server, and their processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controltower.cli.bench.usage import PROC
from controltower.store.client import Client
from controltower.tracer.journal.quarantine import Quarantine
from tests.clickhouse_server import ROOT, ClickHouseServer, fetch, free_port, wait_until_up
from tests.processes import Tower, tower, until

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
JOURNAL_VOLUME = "48m"
SMALL_SEGMENT_BYTES = 2 * 1024 * 1024  # so that rotation happens in minutes
JOURNAL_BYTES = 40 * 1024 * 1024
DATABASE = "soak"


class Engine:
    """A ClickHouse server that can be killed, stopped and started again over the same data."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "clickhouse"
        self._log = folder / "clickhouse.log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        fetch()

    @property
    def address(self) -> str:
        """The store's address."""
        return ClickHouseServer("127.0.0.1", self._port).address(DATABASE)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._data.mkdir(exist_ok=True)
        words = [sys.executable, "-m", "tests.clickhouse_server", "--data", str(self._data)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*words, "--http-port", str(self._port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )
        wait_until_up(ClickHouseServer("127.0.0.1", self._port), self._process, self._log)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class World:
    """The running parts, and where their files are."""

    tower: Tower
    engine: Engine | None  # None: the engine is in the process of the tower
    port: int
    grpc_port: int
    clock_file: Path | None  # the offset of the tower's clock, None where it cannot be set
    volume: bool  # whether the journal lies on a small volume of its own
    serve: "subprocess.Popen[str]" = field(init=False)

    @property
    def journal(self) -> Path:
        """The folder of the journal of spans."""
        return self.tower.data / "journal" / "traces"

    def start(self) -> None:
        """Start `serve` and wait until it takes requests."""
        self.serve = self.tower.serve(self.port, self.grpc_port)

    def kill(self) -> None:
        """kill -9 of `serve`."""
        self.tower.kill(self.serve)

    def client(self) -> Client:
        """Open the store."""
        return self.tower.client()

    def quarantined(self) -> list[bytes]:
        """Return the bytes of every file in quarantine that holds damage."""
        quarantine = Quarantine(self.journal)
        return [quarantine.read(item.name) for item in quarantine.listing() if item.kind in {"damaged", "torn"}]

    def backlog(self) -> int:
        """Return how many segments wait to be loaded."""
        return len(list(self.journal.glob("*.otlp")))

    def memory_bytes(self) -> int:
        """Return the resident memory of `serve`, 0 when it is not there."""
        try:
            lines = (PROC / str(self.serve.pid) / "status").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)

    def wait_until_loaded(self, patience_s: float) -> None:
        """Wait until the journal is empty."""
        until(lambda: self.backlog() == 0, "everything is loaded", patience_s)


@contextmanager
def world(folder: Path, *, server: bool) -> Iterator[World]:
    """Set up everything in *folder* and start it; nothing of it is left when the block ends."""
    with ExitStack() as stack:
        engine = Engine(folder) if server else None
        if engine is not None:
            stack.callback(engine.kill)
            engine.start()
        clock_file = folder / "clock" if server and FAKETIME.exists() else None
        environment = _environment(clock_file)
        data = folder / "data"
        volume = stack.enter_context(_volume(data / "journal"))
        made = stack.enter_context(tower(data, engine.address if engine else None, environment))
        built = World(made, engine, free_port(), free_port(), clock_file, volume)
        built.start()
        yield built


def _environment(clock_file: Path | None) -> dict[str, str]:
    settings = {
        "CONTROLTOWER_COLLECTOR_SEGMENT_BYTES": str(SMALL_SEGMENT_BYTES),
        "CONTROLTOWER_COLLECTOR_JOURNAL_BYTES": str(JOURNAL_BYTES),
        "CONTROLTOWER_COLLECTOR_JOURNAL_RESERVE_BYTES": "0",  # the disk is to be full, not nearly so
    }
    return settings | (own_clock(clock_file) if clock_file is not None else {})


def own_clock(file: Path) -> dict[str, str]:
    """Return the environment of a process whose clock is as far from the true one as *file* says, which is made."""
    file.write_text("+0\n", encoding="ascii")
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a host's clock jumps, its monotonic time does not
        "PYTHONPATH": str(Path(__file__).parent / "faketime"),
    }


def set_clock(file: Path, offset_s: int) -> None:
    """Let the clock of the processes that *file* is for jump."""
    draft = file.with_suffix(".new")
    draft.write_text(f"{offset_s:+d}\n", encoding="ascii")
    draft.replace(file)


@contextmanager
def _volume(folder: Path) -> Iterator[bool]:
    """Give the journal a small volume of its own; False where that needs rights that are not there."""
    folder.mkdir(mode=0o700, parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={JOURNAL_VOLUME},mode=0700", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(words, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def stored(found: World) -> int:
    """Return how many spans are stored."""
    with closing(found.client()) as client:
        return int(client.query("SELECT count() FROM otel_traces").result_rows[0][0])
