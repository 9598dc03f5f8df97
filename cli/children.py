"""Child processes of ``up``: started with a pipe, so that they end with their parent, whatever ends it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controltower.cli.data import PRIVATE_FILE

PARENT_PIPE: Final = "CONTROLTOWER_PARENT_PIPE"  # set: standard input is a pipe whose end means that the parent is gone
COMMAND: Final = (sys.executable, "-P", "-m", "controltower.cli")  # -P: the current folder shadows no package
KILL_AFTER_S: Final = 12.0  # `serve` promises to be gone 10 s after SIGTERM


@dataclass(frozen=True, slots=True)
class Child:
    """A running ``controltower`` command. What it says on standard error is in ``errors``."""

    name: str
    process: "subprocess.Popen[bytes]"
    errors: Path

    @property
    def exit_code(self) -> int | None:
        """The exit code, or nothing while it runs."""
        return self.process.poll()

    def last_words(self) -> str:
        """Return the last line that the child printed on standard error."""
        lines = self.errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self, timeout_s: float = KILL_AFTER_S) -> None:
        """Ask the child to end, and end it when it does not within *timeout_s*; blocks for that long. Twice is fine."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it ended before us; there is nothing left to flush
                self.process.stdin.close()


def start(
    name: str,
    arguments: Sequence[str],
    errors: Path,
    *,
    command: Sequence[str] = COMMAND,
    variables: Mapping[str, str] | None = None,
) -> Child:
    """Start ``controltower ARGUMENTS`` as a child that ends when this process does.

    It gets a session of its own, so that Ctrl-C reaches the parent only, which then stops the children in order.
    """
    descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    try:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=descriptor,
            stderr=descriptor,
            env={**os.environ, **(variables or {}), PARENT_PIPE: "1"},
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    return Child(name, process, errors)


def end_with_parent() -> None:
    """End this process in order when its parent is gone; does nothing for a process that nobody started as a child."""
    if os.environ.pop(PARENT_PIPE, None):
        threading.Thread(target=_watch_parent, name="parent", daemon=True).start()


def _watch_parent() -> None:
    # A raw read: the buffered reader's lock would be held for ever and break the interpreter's shutdown.
    while os.read(0, 1024):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
