"""Keeps the tracer's troubles out of the host: counts them, logs each kind at most once a minute, re-raises under pytest."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final

from controltower.tracer.errors import MisuseError

logger = logging.getLogger("controltower.tracer")

LOG_INTERVAL_S: Final = (
    60.0  # a service that does the same thing wrong 1,000 times a second must still have readable logs
)
INTERNAL_ERRORS: Final = "internal_errors"
MAX_KINDS: Final = 256  # kinds come from our own code; the bound only keeps a mistake from growing without end


def under_pytest() -> bool:
    """Return whether a pytest test is running in this process."""
    return "PYTEST_CURRENT_TEST" in os.environ


class Guard:
    """Decides what becomes of a misuse and of a failure of our own code.

    A misuse raises ``MisuseError`` in development and is counted in production. A failure of our own code is counted,
    and raised again only with *reraise*. Sentences never hold a value of the host: it may belong to a patient.
    """

    def __init__(
        self, *, development: bool, reraise: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.development = development
        self._reraise = reraise
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._logged_at: dict[str, float] = {}
        self._arounds: dict[str, Around] = {}

    def misuse(self, kind: str, sentence: str) -> None:
        """Report a value that cannot be kept as it is."""
        if self.development:
            raise MisuseError(kind, sentence)
        self.note(kind, sentence)

    def note(self, kind: str, sentence: str) -> None:
        """Count and log what the host's own call did not cause, so that nothing is raised into a library."""
        self.count(kind)
        self.warn(kind, sentence)

    def around(self, where: str) -> "Around":
        """Return the context manager that keeps a failure of the code inside from the host; *where* is logged."""
        if (found := self._arounds.get(where)) is None:  # places in our own code, a few tens
            found = self._arounds[where] = Around(self, where)
        return found

    def failed(self, where: str, error: Exception) -> bool:
        """Count a failure of our own code and return whether it is to be raised all the same."""
        self.count(INTERNAL_ERRORS)
        self.warn(INTERNAL_ERRORS, f"{where} failed with {type(error).__name__}; the program goes on without it")
        return under_pytest() if self._reraise is None else self._reraise

    def count(self, kind: str, amount: int = 1) -> None:
        """Add *amount* to the counter of *kind*."""
        with self._lock:
            if kind in self._counts or len(self._counts) < MAX_KINDS:
                self._counts[kind] += amount

    def warn(self, kind: str, sentence: str) -> None:
        """Log *sentence* unless this kind was logged within the last minute."""
        now = self._clock()
        with self._lock:
            last = self._logged_at.get(kind)
            if last is not None and now - last < LOG_INTERVAL_S:
                return
            if len(self._logged_at) < MAX_KINDS:
                self._logged_at[kind] = now
        logger.warning("%s", sentence)

    def after_fork(self) -> None:
        """Start anew in a forked child: the lock may have been held by a thread that does not exist here."""
        self._lock = threading.Lock()
        self._counts = Counter()

    def counts(self) -> dict[str, int]:
        """Return a copy of every counter."""
        with self._lock:
            return dict(self._counts)


class Around:
    """Stops every exception but a ``MisuseError``, which is only raised in development, and the end of the program."""

    __slots__ = ("_guard", "_where")

    def __init__(self, guard: Guard, where: str) -> None:
        self._guard = guard
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, MisuseError):
            return False
        return not self._guard.failed(self._where, error)
