"""A child process that is watched from outside: signals passed on, exit code kept, the end of its output remembered."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import BinaryIO, Final

NOT_FOUND: Final = 127  # exit codes of shells
NOT_EXECUTABLE: Final = 126
KILLED: Final = 128  # plus the number of the signal
FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
CHUNK_BYTES: Final = 64 * 1024
LINE_BYTES: Final = 1024  # of a line that is remembered
AFTER_END_S: Final = (
    1.0  # for output that is under way; a daemon that the job left behind may keep the pipe open for ever
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended."""

    code: int  # as a shell tells it
    signal: str | None = None  # that ended it
    problem: str | None = None  # why it could not be started
    tail: bytes = b""


class Tail:
    """The last lines of what is written, each cut to ``LINE_BYTES``; safe to use from several threads."""

    def __init__(self, lines: int) -> None:
        self._lock = threading.Lock()
        self._lines: deque[bytes] = deque(maxlen=lines)
        self._open: dict[str, bytes] = {}

    def add(self, stream: str, data: bytes) -> None:
        """Take what *stream* wrote."""
        with self._lock:
            *whole, rest = (self._open.get(stream, b"") + data).split(b"\n")
            self._lines.extend(line[:LINE_BYTES] for line in whole[-(self._lines.maxlen or 0) :])
            self._open[stream] = rest[:LINE_BYTES]

    def text(self) -> bytes:
        """Return the lines."""
        with self._lock:
            unfinished = [line for line in self._open.values() if line]
            return b"\n".join([*self._lines, *unfinished][-(self._lines.maxlen or 0) :])


def run_job(command: Sequence[str], variables: Mapping[str, str], tail_lines: int) -> Ended:
    """Run *command* to its end, with more *variables*. Call it from the main thread, which gets the signals.

    Without *tail_lines* the job has our own input and output, else its output passes through pipes.
    """
    tail = Tail(tail_lines) if tail_lines else None
    pipe = subprocess.PIPE if tail is not None else None
    with _forwarding() as signals:
        try:
            process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=pipe, stderr=pipe)
        except OSError as error:
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            return Ended(code, problem=f"{command[0]} cannot be run: {error.strerror}.")
        signals.send_to(process)
        readers = _readers(process, tail) if tail is not None else []
        code = process.wait()
        for reader in readers:
            reader.join(AFTER_END_S)
    text = tail.text() if tail is not None else b""
    if code >= 0:
        return Ended(code, tail=text)
    return Ended(KILLED - code, _signal_name(-code), tail=text)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)


def _readers(process: "subprocess.Popen[bytes]", tail: Tail) -> list[threading.Thread]:
    pairs = (("stdout", process.stdout, sys.stdout), ("stderr", process.stderr, sys.stderr))
    threads = [
        threading.Thread(target=_pass_on, args=(name, pipe, shown.fileno(), tail), daemon=True)
        for name, pipe, shown in pairs
        if pipe is not None
    ]
    for thread in threads:
        thread.start()
    return threads


def _pass_on(name: str, pipe: BinaryIO, to: int, tail: Tail) -> None:
    shown = True
    while data := os.read(pipe.fileno(), CHUNK_BYTES):
        tail.add(name, data)
        view = memoryview(data)
        while shown and view:
            try:
                view = view[os.write(to, view) :]
            except OSError:  # our reader left; the job goes on, as far as it is concerned
                shown = False


class _Signals:
    """Signals for the job; those that come before it has begun are kept for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._at_terminal = sys.stdin is not None and sys.stdin.isatty()

    def send_to(self, process: "subprocess.Popen[bytes]") -> None:
        """Pass signals on to *process* from now on."""
        self._process = process
        for number in self._early:
            process.send_signal(number)

    def handle(self, number: int, _: FrameType | None) -> None:
        """Pass a signal on; the terminal sends its own to the job, too."""
        if number in FROM_TERMINAL and self._at_terminal:
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)


@contextmanager
def _forwarding() -> Iterator[_Signals]:
    signals = _Signals()
    # What was ignored for us, as by nohup, stays ignored for the job.
    taken = [number for number in FORWARDED if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, signals.handle) for number in taken}
    try:
        yield signals
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
