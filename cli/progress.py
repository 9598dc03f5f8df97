"""How far long work is, on standard error: one line that is written over, and only where somebody looks."""

import sys
from types import TracebackType
from typing import Self


class Progress:
    """The progress of one piece of work."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = False

    def say(self, done: int, total: int) -> None:
        """Say how many of *total* steps are done."""
        if sys.stderr.isatty():
            self._shown = True
            share = f"{done / total:.0%}" if total else "100%"
            print(f"\r{self._what}: {done:,} of {total:,} steps ({share})", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        if self._shown:
            print(file=sys.stderr)
