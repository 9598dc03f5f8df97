"""The product as processes: started, asked, killed and started again, as an operator does it."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from controltower.store.client import Client
from controltower.store.read import find_anchors, read_transaction
from controltower.store.runtime import RuntimeFile, open_store, running

COMMAND = [sys.executable, "-P", "-m", "controltower.cli"]
PATIENCE_S = 150.0
T = TypeVar("T")


class NeverError(AssertionError):
    """Something that had to become true did not."""


def until(question: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Ask again until the answer is true, and return it."""
    deadline = time.monotonic() + patience_s
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise NeverError(f"{what}: not within {patience_s:.0f} s; the last answer was {answer!r}")
        time.sleep(0.02)


@cache
def migrated_store() -> Path:
    """Return a store without rows, made once by the command: migrating a new one costs more than all else at a start."""
    data = Path(tempfile.mkdtemp(prefix="controltower-migrated-"))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    subprocess.run([*COMMAND, "migrate", "--data", str(data)], check=True, capture_output=True, timeout=PATIENCE_S * 2)
    return data / "store"


class Tower:
    """One data folder, and the processes over it."""

    def __init__(self, data: Path, store: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.store = store
        free = {"CONTROLTOWER_COLLECTOR_GRPC_PORT": "0"}  # for every process that takes spans
        self.environment = {**os.environ, "CONTROLTOWER_DATA": str(data), **free, **(environment or {})}
        if store:
            self.environment["CONTROLTOWER_STORE"] = store
        self.processes: list[subprocess.Popen[str]] = []
        self.runtime: RuntimeFile

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command that keeps running."""
        with (self.data.parent / f"{words[0]}.out").open("a", encoding="utf-8") as out:
            process = subprocess.Popen(
                [*COMMAND, *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True
            )
        self.processes.append(process)
        return process

    def serve(self, collector_port: int = 0, grpc_port: int = 0) -> "subprocess.Popen[str]":
        """Start `serve` and wait until it takes spans in and its store can be read."""
        self.lay_store()
        ports = ["--collector-port", str(collector_port), "--grpc-port", str(grpc_port), "--endpoint-port", "0"]
        process = self.start("serve", *ports)
        self.wait_for(process)
        return process

    def lay_store(self) -> None:
        """Put a migrated store without rows where none is yet, for what is not about migrating."""
        if self.store is None and not (self.data / "store").exists():
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)  # as serve makes it
            shutil.copytree(migrated_store(), self.data / "store", symlinks=True)

    def wait_for(self, process: "subprocess.Popen[str]", patience_s: float = PATIENCE_S) -> None:
        """Wait until a process with a collector has told where it is."""

        def ready() -> RuntimeFile | None:
            assert process.poll() is None, self.said("serve")
            found = running(self.data)
            return found if found is not None and found.pid == process.pid else None

        found = until(ready, "the process is ready", patience_s)
        assert found is not None
        self.runtime = found

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command to its end and return what it printed."""
        ran = subprocess.run(
            [*COMMAND, *words],
            check=False,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 4,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout if code == 0 else ran.stderr

    def trace(self, key: str) -> dict[str, Any] | None:
        """Return the first transaction of a key, or nothing when there is none yet."""
        ran = subprocess.run(
            [*COMMAND, "trace", key, "--json"],
            check=False,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        transactions: list[dict[str, Any]] = json.loads(ran.stdout)["transactions"] if ran.returncode == 0 else []
        return transactions[0] if transactions else None

    def placed(self, key: str) -> set[tuple[str, str]]:
        """Return system and code of each step in the transactions of *key*; for waiting, where a command for each look
        would keep a core from what is waited for."""
        client = self.client()
        try:
            views = [read_transaction(client, *found, history=False) for found in find_anchors(client, key)]
        finally:
            client.close()
        return {(member.step.system, member.step.step) for view in views if view for member in view.members}

    def client(self) -> Client:
        """Open the store as other processes do."""
        return open_store(self.data, self.store)

    def tables(self) -> Iterator[tuple[str, str]]:
        """Yield every table of the store with its name, and its rows as text."""
        client = self.client()
        try:
            names = client.query(
                "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine NOT IN ('MaterializedView', 'Null')"
            )
            for (name,) in names.result_rows:
                yield name, client.raw_query(f"SELECT * FROM `{name}` FORMAT TSVRaw").decode(errors="replace")
        finally:
            client.close()

    def ask_apart(self, statement: str) -> list[list[Any]]:
        """Return the rows of *statement* while nothing holds the store: a process opens one embedded engine in its life."""
        asked = "import json, sys; from pathlib import Path; from controltower.store.runtime import open_store"
        printed = "print(json.dumps(open_store(Path(sys.argv[1]), sys.argv[2] or None).query(sys.argv[3]).result_rows))"
        ran = subprocess.run(
            [sys.executable, "-c", f"{asked}; {printed}", str(self.data), self.store or "", statement],
            check=True,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        rows: list[list[Any]] = json.loads(ran.stdout)
        return rows

    def get(self, path: str) -> Any:
        """Return the JSON that the collector answers with, whatever the status."""
        try:
            with urllib.request.urlopen(f"{self.runtime.collector}{path}", timeout=PATIENCE_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                return json.load(exc)

    def said(self, command: str) -> str:
        """Return what a command printed, and its log."""
        texts = [self.data.parent / f"{command}.out", self.data / "logs" / f"{command}.log"]
        return "\n".join(path.read_text(encoding="utf-8") for path in texts if path.exists())[-4000:]

    def stop(self, process: "subprocess.Popen[str]") -> float:
        """Ask a process to end and return how long that took."""
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        self.processes.remove(process)
        return time.monotonic() - since

    def end(self) -> None:
        """Stop every process, so that the files stand still: an engine at work merges parts away while they are read."""
        for process in tuple(self.processes):
            self.stop(process)

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """kill -9."""
        process.kill()
        process.wait()
        self.processes.remove(process)


@contextmanager
def tower(data: Path, store: str | None = None, environment: Mapping[str, str] | None = None) -> Iterator[Tower]:
    """A data folder whose processes end with the block."""
    made = Tower(data, store, environment)
    try:
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()
