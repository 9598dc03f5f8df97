"""From the journal into the store: closed segments are loaded in order, for as long as it takes."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controltower.collector.health import lag_of
from controltower.collector.metrics import Metrics
from controltower.store.errors import LoadError
from controltower.tracer.journal import Journal, SegmentFile

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0  # a store that is back is noticed within this time
LOG_EVERY_S: Final = 60.0
LOOK_UP_S: Final = 0.2  # how often an idle thread looks whether it should end

Load = Callable[[SegmentFile], int]


@dataclass(frozen=True, slots=True)
class DrainState:
    """How far loading is behind, and what holds it up."""

    segments: int
    bytes: int
    lag_s: float  # age of the oldest body that is acknowledged and not loaded
    failures: int  # in a row, of the segment that is next
    problem: str | None  # why the last attempt failed; None after one that succeeded


class Drain:
    """A thread that loads what the journal closes, and removes it when it is loaded."""

    def __init__(
        self,
        journal: Journal,
        load: Load,
        *,
        prepare: Callable[[], None] = lambda: None,
        metrics: Metrics | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        """Load with *load*: it returns the rows that the store holds of a segment, and may be called again for one that is
        loaded already; *prepare* is called before the first one, again until it succeeds.

        LoadError with ``permanent`` means that the store refuses the bytes for good; every other exception is tried
        again for ever. *wait* pauses until the time is over or the event is set, which it returns.
        """
        self._journal = journal
        self._load = load
        self._prepare = prepare
        self._is_prepared = False
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._monotonic = monotonic
        self._wait = wait
        self._finishing = threading.Event()  # end when nothing is left
        self._stop = threading.Event()  # end after this segment
        self._failures = 0
        self._problem: str | None = None
        self._logged_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def stop(self, deadline_s: float) -> DrainState:
        """Load what is left until *deadline_s* from now, then end; returns what stays for the next start. Blocks.

        Call it when nothing is appended to the journal any more, and before the journal is closed. A second call does
        nothing.
        """
        ends_at = self._monotonic() + deadline_s
        self._journal.rotate()
        self._finishing.set()
        if self._thread.is_alive():
            self._thread.join(deadline_s)
            self._stop.set()
            self._thread.join(max(LOOK_UP_S, ends_at - self._monotonic()))
        state = self.state()
        if state.segments:
            logger.warning("%s segments (%s bytes) stay in the journal for the next start", state.segments, state.bytes)
        return state

    def state(self) -> DrainState:
        """Return how far loading is behind."""
        stats = self._journal.stats()
        lag_s = lag_of(stats, self._clock())
        return DrainState(stats.segments, stats.bytes, lag_s, self._failures, self._problem)

    def problem(self) -> str | None:
        """Return why the store cannot be loaded, None when the last attempt succeeded."""
        return self._problem

    def _run(self) -> None:
        while not self._stop.is_set():
            segment = self._journal.wait_closed(LOOK_UP_S)
            if not self._is_prepared and not self._finishing.is_set():
                self._attempt_to_prepare()
            elif segment is not None:
                self._attempt(segment)
            elif self._finishing.is_set() or self._journal.is_closed:
                return

    def _attempt_to_prepare(self) -> None:
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - the last line, as for a segment
            self._note_failure("what was loaded before", error)
            self._wait(self._stop, self._pause_s())
        else:
            self._is_prepared, self._failures, self._problem = True, 0, None

    def _attempt(self, segment: SegmentFile) -> None:
        """Load one segment, or note why not and pause."""
        try:
            self._move_on(segment)
        except Exception as error:  # noqa: BLE001 - the last line: the data stays, the failure is counted and logged
            self._note_failure(f"segment {segment.id}", error)
            self._wait(self._stop, self._pause_s())
        else:
            self._failures, self._problem = 0, None

    def _move_on(self, segment: SegmentFile) -> None:
        verified = self._journal.verify(segment)
        if verified is None:
            return
        try:
            rows = self._load(verified)
        except LoadError as error:
            if not error.permanent:
                raise
            self._set_aside(verified, error)
        else:
            self._journal.remove(verified, rows)
            self._metrics.add("segments_loaded")
            self._metrics.add("rows_loaded", rows)

    def _set_aside(self, segment: SegmentFile, error: LoadError) -> None:
        """Split a refused segment until the bad record stands alone, and move that one to quarantine."""
        if self._journal.split(segment):
            return
        kept = self._journal.quarantine(segment, str(error))
        self._metrics.add("segments_refused")
        logger.error("the store refuses segment %s for good, it is kept as %s: %s", segment.id, kept, error)

    def _note_failure(self, what: str, error: Exception) -> None:
        self._failures += 1
        self._problem = str(error) or type(error).__name__
        self._metrics.add("load_failures")
        now = self._monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            logger.warning("%s is not loaded yet (%s in a row): %s", what, self._failures, self._problem)

    def _pause_s(self) -> float:
        return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 16)))
