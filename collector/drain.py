"""From the journal into the store: closed segments are loaded in order, for as long as it takes."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controltower.collector.health import lag_of
from controltower.collector.metrics import Metrics
from controltower.collector.pace import LARGE_BYTES, Pace
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
    """Threads that load what the journal closes, and remove it when it is loaded: each the oldest that no other has."""

    def __init__(
        self,
        journal: Journal,
        load: Load,
        *,
        prepare: Callable[[], None] = lambda: None,
        workers: int = 1,
        pace: Pace | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        """Load with *load*: it returns the rows that the store holds of a segment, and may be called again for one that is
        loaded already; *prepare* is called before the first one, again until it succeeds. *load* is called by so
        many *workers* at the same time. *pace* says how long to wait between two, when they are small or the store is crowded.

        LoadError with ``permanent`` means that the store refuses the bytes for good; every other exception is tried
        again for ever. *wait* pauses until the time is over or the event is set, which it returns.
        """
        self._journal = journal
        self._load = load
        self._prepare = prepare
        self._prepared = threading.Event()
        self._taken: set[str] = set()  # segments that a worker has
        self._rests_until = 0.0  # no small segment is loaded before, unless others wait behind it
        self._lock = threading.Lock()
        self._pace = pace
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._monotonic = monotonic
        self._wait = wait
        self._finishing = threading.Event()  # end when nothing is left
        self._stop = threading.Event()  # end after this segment
        self._failures = 0
        self._problem: str | None = None
        self._logged_at: float | None = None
        self._threads = [
            threading.Thread(target=self._run, args=[number], name=f"drain-{number}", daemon=True)
            for number in range(workers)
        ]

    def start(self) -> None:
        """Begin to load."""
        for thread in self._threads:
            thread.start()

    def stop(self, deadline_s: float) -> DrainState:
        """Load what is left until *deadline_s* from now, then end; returns what stays for the next start. Blocks.

        Call it when nothing is appended to the journal any more, and before the journal is closed. A second call does
        nothing.
        """
        ends_at = self._monotonic() + deadline_s
        self._journal.rotate()
        self._finishing.set()
        self._join(ends_at)
        self._stop.set()
        self._join(max(ends_at, self._monotonic() + LOOK_UP_S))
        state = self.state()
        if state.segments:
            logger.warning("%s segments (%s bytes) stay in the journal for the next start", state.segments, state.bytes)
        return state

    def _join(self, ends_at: float) -> None:
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, ends_at - self._monotonic()))

    def state(self) -> DrainState:
        """Return how far loading is behind."""
        stats = self._journal.stats()
        lag_s = lag_of(stats, self._clock())
        return DrainState(stats.segments, stats.bytes, lag_s, self._failures, self._problem)

    def problem(self) -> str | None:
        """Return why the store cannot be loaded, None when the last attempt succeeded."""
        return self._problem

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            if not (self._prepared.is_set() or self._finishing.is_set()):
                self._get_prepared(number)
                continue
            segment = self._take()
            if segment is not None:
                self._attempt(segment)
                self._taken.discard(segment.id)
            elif self._finishing.is_set() or self._journal.is_closed:
                return

    def _take(self) -> SegmentFile | None:
        """Return the oldest segment that no other worker has; wait a little for one, and one worker at a time."""
        with self._lock:
            segment = self._journal.wait_closed(LOOK_UP_S, self._taken)
            if segment is not None:
                self._taken.add(segment.id)
                self._rest(segment)
            return segment

    def _rest(self, segment: SegmentFile) -> None:
        """Wait before a small *segment* is loaded soon after another: what arrives meanwhile is loaded at once; not at the end."""
        left_s = self._rests_until - self._monotonic()
        if left_s <= 0 or segment.bytes >= LARGE_BYTES or self._finishing.is_set():
            return
        if all(other.id in self._taken for other in self._journal.closed_segments()):
            self._wait(self._finishing, left_s)

    def _get_prepared(self, number: int) -> None:
        """Let the first worker prepare when there is something to load, and the others wait for it."""
        if number:
            self._prepared.wait(LOOK_UP_S)
        else:
            self._journal.wait_closed(LOOK_UP_S)
            self._attempt_to_prepare()

    def _attempt_to_prepare(self) -> None:
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - the last line, as for a segment
            self._note_failure("what was loaded before is not looked for yet", error)
            self._wait(self._stop, self._pause_s())
        else:
            self._failures, self._problem = 0, None
            self._prepared.set()

    def _attempt(self, segment: SegmentFile) -> None:
        """Load one segment, or note why not and pause."""
        try:
            self._move_on(segment)
        except Exception as error:  # noqa: BLE001 - the last line: the data stays, the failure is counted and logged
            self._note_failure(f"segment {segment.id} is not loaded yet", error)
            self._wait(self._stop, self._pause_s())
        else:
            self._failures, self._problem = 0, None
            self._keep_pace(segment)

    def _keep_pace(self, segment: SegmentFile) -> None:
        """Wait when the store is crowded, so that what arrives meanwhile is loaded at once; not at the end."""
        if self._pace is None or self._finishing.is_set():
            return
        try:
            pause_s = self._pace.pause_s(segment.bytes)
        except Exception as error:  # noqa: BLE001 - as for a segment: the next load tells what it is
            self._note_failure("how crowded the store is cannot be seen", error)
            return
        if pause_s:
            self._metrics.add("load_pauses")
            with self._lock:  # no other worker takes a segment meanwhile
                self._wait(self._finishing, pause_s)

    def _move_on(self, segment: SegmentFile) -> None:
        verified = self._journal.verify(segment)
        if verified is None:
            return
        began_at = self._monotonic()
        try:
            rows = self._load(verified)
        except LoadError as error:
            if not error.permanent:
                raise
            self._set_aside(verified, error)
        else:
            ended_at = self._monotonic()
            if self._pace is not None:  # before it is removed: then the next one may be closed, and taken
                self._rests_until = ended_at + self._pace.rest_s(verified.bytes, ended_at - began_at)
            self._journal.remove(verified, rows)
            self._metrics.add("segments_loaded")
            self._metrics.add("rows_loaded", rows)
            self._metrics.observe("load_duration_seconds", self._monotonic() - began_at)

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
            logger.warning("%s (%s in a row): %s", what, self._failures, self._problem)

    def _pause_s(self) -> float:
        return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 16)))
