"""Loops of a running process: work that is done again and again, and whose failure is never silent."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Final

logger = logging.getLogger(__name__)

Work = Callable[[], bool]  # returns whether more is waiting, so that the next round starts at once
Opening = Callable[[], AbstractContextManager[Work]]

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0  # an engine that returns after an outage is noticed within this time
LOG_EVERY_S: Final = 60.0  # a failure that repeats fills no disk
SHORTEST_PAUSE_S: Final = 0.1  # between two rounds, however often the loop is woken


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """How a loop is doing. ``failing`` counts the failures since the last success."""

    name: str
    rounds: int = 0
    failures: int = 0
    failing: int = 0
    last_ok_at: datetime | None = None
    last_error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the last round succeeded, or none has ended yet."""
        return self.failing == 0


class Loop:
    """A thread that opens something, works with it every *interval_s*, and opens it again after a failure.

    A failure is logged, counted and retried with growing pauses for ever; ``status`` shows it.
    """

    def __init__(self, name: str, opening: Opening, *, interval_s: float) -> None:
        self._opening = opening
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._awake = threading.Event()
        self._status = LoopStatus(name)
        self._logged_at = -LOG_EVERY_S
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def status(self) -> LoopStatus:
        """How the loop is doing now."""
        return self._status

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Let the next round start now instead of at the end of the pause; does not block."""
        self._awake.set()

    def ask_to_stop(self) -> None:
        """Ask the loop to end after the round that runs; does not block."""
        self._stop.set()
        self._awake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the loop's end, for *timeout_s* at most; say whether it has ended."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._opening() as work:
                    self._work(work)
            except Exception as exc:  # noqa: BLE001 - the top of a loop: logged, counted, tried again
                self._failed(exc)
                self._stop.wait(backoff_s(self._status.failing))

    def _work(self, work: Work) -> None:
        while not self._stop.is_set():
            self._awake.clear()  # before the round: what comes during it is looked at in another one
            more = work()
            self._succeeded()
            if not more:
                self._stop.wait(min(SHORTEST_PAUSE_S, self._interval_s))
                self._awake.wait(max(0.0, self._interval_s - SHORTEST_PAUSE_S))

    def _succeeded(self) -> None:
        before = self._status
        if before.failing:
            logger.info("%s works again after %d failures", before.name, before.failing)
        self._status = replace(before, rounds=before.rounds + 1, failing=0, last_ok_at=datetime.now(UTC), last_error="")

    def _failed(self, error: Exception) -> None:
        before = self._status
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        self._status = replace(before, failures=before.failures + 1, failing=before.failing + 1, last_error=text)
        now = monotonic()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            logger.error("%s failed, %d times in a row: %s", before.name, self._status.failing, text, exc_info=error)


def backoff_s(failing: int) -> float:
    """Return the pause after the n-th failure in a row: doubled each time, up to a limit."""
    return float(min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failing - 1, 10)))
