"""From the disk to the collector: business steps before other spans, the oldest first, for as long as it takes."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESS_INSTRUMENTATION
from opentelemetry.context import attach, detach, set_value

from controltower.tracer.durable.bodies import halves, spans_in
from controltower.tracer.durable.limits import LOOK_S
from controltower.tracer.durable.sending import Answer
from controltower.tracer.durable.spool import KINDS, Kind, Spool
from controltower.tracer.guard import Guard
from controltower.tracer.journal import JournalError, SegmentFile, order_of

logger = logging.getLogger("controltower.tracer")

FAILED: Final = "failed_spans"
RETRIED: Final = "durable_retried"
DAMAGED: Final = "durable_damaged"  # files of bytes that hold no intact record
FIRST_PAUSE_S: Final = 0.5
HELD_S: Final = 1.0  # until it is looked again at what waits for room
LONGEST_PAUSE_S: Final = 30.0  # a collector that is back is noticed within this time
THREAD_NAME: Final = "controltower-durable"


class Sends(Protocol):
    """What the drain needs of a sender."""

    def send(self, body: bytes) -> Answer:
        """Send a request once."""

    def close(self) -> None:
        """Close the connection."""


class _AgainError(Exception):
    """The collector did not take a request now."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.words)
        self.after_s = answer.after_s


class Drain:
    """One thread that sends what the spools hold. ``wake``, ``flush`` and ``close`` may be called by others."""

    def __init__(
        self,
        sender: Sends,
        guard: Guard,
        *,
        interval_s: float,
        take_over: Callable[[int], list[Spool]],
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """*take_over* returns what processes that are gone left behind, when so many more can be worked on."""
        self._sender = sender
        self._guard = guard
        self._interval_s = interval_s
        self._take_over = take_over
        self._monotonic = monotonic
        self._jitter = jitter
        self._state = threading.Condition()
        self._own: Spool | None = None
        self._left_behind: list[Spool] = []
        self._looked_at: float | None = None
        self._stored: Counter[Kind] = Counter()  # spans of this process that are on the disk, ever
        self._settled: Counter[Kind] = Counter()  # those of them that are not any more
        self._woken = False
        self._hurries = self._answered = 0  # how often a flush asked for an attempt at once, and which of them had one
        self._closing = False
        self._given_up = False
        self._ended = False
        self._failures = 0
        self.acknowledged = self.retries = 0
        self.problem: str | None = None
        self._thread: threading.Thread | None = None

    # -- other threads

    def start(self, own: Spool | None = None) -> None:
        """Begin, or take this process's *own* spool in."""
        with self._state:
            self._own = own or self._own
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
                self._thread.start()

    def stored(self, kind: Kind, spans: int) -> None:
        """Note that *spans* more are on the disk."""
        with self._state:
            self._stored[kind] += spans
            self._woken = True
            self._state.notify_all()

    def settled(self, kind: Kind, spans: int) -> None:
        """Note that *spans* of this process are not on the disk any more."""
        with self._state:
            self._settled[kind] += spans
            self._state.notify_all()

    def sent(self, spans: int) -> None:
        """Note that *spans* were taken without having been on the disk."""
        with self._state:
            self.acknowledged += spans

    @property
    def is_well(self) -> bool:
        """Whether the collector took the last request that it was sent."""
        return self.acknowledged > 0 and not self._failures

    @property
    def waiting(self) -> int:
        """Spans of this process that are on the disk and not acknowledged."""
        return max(0, self._stored.total() - self._settled.total())

    def flush(self, timeout_s: float) -> bool:
        """Send at once what is on the disk; return whether all of this process's own was taken or settled in time."""
        with self._state:
            wanted = dict(self._stored)
            self._hurries += 1
            self._state.notify_all()
            return self._state.wait_for(
                lambda: all(self._settled[kind] >= spans for kind, spans in wanted.items()), max(timeout_s, 0.0)
            )

    def close(self, timeout_s: float) -> bool:
        """Send the rest while the collector takes it, until *timeout_s*; return whether the disk was left in order.

        What is not sent stays on the disk. Can be called twice.
        """
        deadline = self._monotonic() + max(timeout_s, 0.0)
        with self._state:
            self._closing = True
            self._state.notify_all()
            if self._thread is None:
                return self._own is None
            if self._state.wait_for(lambda: self._ended, max(0.0, deadline - self._monotonic())):
                return True
            self._given_up = True  # ends after the request that is under way
            return False

    def abandon(self) -> None:
        """In a forked child: leave everything to the parent."""
        for spool in (self._own, *self._left_behind):
            if spool is not None:
                spool.abandon()

    # -- the sending thread

    def _run(self) -> None:
        token = attach(set_value(SUPPRESS_INSTRUMENTATION, True))  # our own requests must not become spans
        try:
            while not (self._given_up or (self._closing and (self._failures or not self._has_work()))):
                self._work_once()
        finally:
            self._end()
            detach(token)

    def _work_once(self) -> None:
        try:
            if (found := self._next()) is not None:
                self._move_on(*found)
                self._failures, self.problem = 0, None
            else:
                self._look_around()
                self._idle()
        except _AgainError as again:
            self._note(f"the collector does not take steps, they wait on the disk: {again}", str(again))
            self._pause(again.after_s)
        except Exception as error:  # noqa: BLE001 - the last line: the data stays, the failure is counted and logged
            words = str(error) if isinstance(error, (JournalError, OSError)) else type(error).__name__
            self._note(f"sending from the disk failed, it is tried again: {words}", words)
            self._pause(0.0)

    def _end(self) -> None:
        for spool in (self._own, *self._left_behind):
            if spool is not None:
                try:
                    spool.close()
                except (JournalError, OSError) as error:
                    self._guard.warn("durable_close", f"the folder for durable export could not be closed: {error}")
        self._sender.close()
        with self._state:
            self._ended = True
            self._state.notify_all()

    def _spools(self) -> list[Spool]:
        return [*self._left_behind, *([self._own] if self._own is not None else [])]

    def _has_work(self) -> bool:
        return any(spool.waits for spool in self._spools())

    def _next(self) -> tuple[Spool, Kind, SegmentFile] | None:
        """Return the oldest segment of steps, or if there is none, the oldest of other spans."""
        found = self._oldest("steps")
        if found is None and (others := self._oldest("others")) is not None:
            self._rotate("steps")  # those that are being written go before, too
            found = self._oldest("steps") or others
        return found

    def _oldest(self, kind: Kind) -> tuple[Spool, Kind, SegmentFile] | None:
        heads = [(spool, segment) for spool in self._spools() if (segment := spool.next(kind)) is not None]
        if not heads:
            return None
        spool, segment = min(heads, key=lambda head: order_of(head[1].id))
        return spool, kind, segment

    def _rotate(self, *kinds: Kind) -> None:
        for spool in self._spools():
            for kind in kinds:
                spool.rotate(kind)

    def _move_on(self, spool: Spool, kind: Kind, segment: SegmentFile) -> None:
        read = spool.read(kind, segment)
        if (damaged := spool.new_damage()) > 0:
            self._guard.count(DAMAGED, damaged)
            self._guard.warn(
                DAMAGED, f"the disk damaged spans that waited there; what is left of them is in {spool.path}"
            )
        if read is None:
            return
        verified, body = read
        spans = spans_in(body)
        taken = self._send(spool, kind, body, spans)
        if not spool.remove(kind, verified):
            return  # given up meanwhile, and counted so
        with self._state:
            self.acknowledged += taken
            if spool is self._own:
                self._settled[kind] += spans
            self._state.notify_all()

    def _send(self, spool: Spool, kind: Kind, body: bytes, spans: int) -> int:
        """Send *body*, in halves what is refused for good, and return how many spans were taken. Raises _AgainError."""
        answer = self._sender.send(body) if body else Answer("taken")
        if answer.kind == "again":
            raise _AgainError(answer)
        if answer.kind == "taken":
            if answer.rejected:
                self._lose(answer.rejected, "the collector took a request and left spans out of it; its log says why")
            return spans - answer.rejected
        parts = halves(body)
        if parts is not None:
            return sum(self._send(spool, kind, part, spans_in(part)) for part in parts)
        self._lose(spans, f"the collector refuses a span for good ({answer.words}); it is kept in quarantine")
        try:
            spool.set_aside(kind, body, answer.words)
        except (JournalError, OSError) as error:
            self._guard.warn("durable_quarantine", f"a refused span could not be kept: {error}")
        return 0

    def _lose(self, spans: int, sentence: str) -> None:
        self._guard.count(FAILED, spans)
        self._guard.warn(FAILED, sentence)

    def _look_around(self) -> None:
        """Take over what processes that are gone left behind, and let go of what is empty."""
        for spool in [spool for spool in self._left_behind if not spool.waits]:
            self._left_behind.remove(spool)
            spool.close()
        now = self._monotonic()
        if not self._closing and (self._looked_at is None or now - self._looked_at >= LOOK_S):
            self._looked_at = now
            self._left_behind += self._take_over(len(self._left_behind))

    def _idle(self) -> None:
        """Wait for something to send, then a little for more, and close what is being written."""
        if self._next() is not None:  # taken over just now
            return
        with self._state:
            wait_s = LOOK_S * (1 + self._jitter() / 4)  # processes that start together do not all look at once
            if self._has_work() and not self._woken:  # it waits for room to be mended, or was never told of
                wait_s = HELD_S
            self._state.wait_for(lambda: self._woken or self._closing, wait_s)
            if self._woken:
                self._woken = False
                self._wait(self._interval_s)
        self._rotate(*KINDS)

    def _note(self, sentence: str, words: str) -> None:
        self._failures += 1
        self.problem = words
        self.retries += 1
        self._guard.warn(RETRIED, sentence)

    def _pause(self, after_s: float) -> None:
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))
        with self._state:
            self._wait(after_s or longest * (0.5 + self._jitter() / 2))

    def _wait(self, seconds: float) -> None:
        """Wait before the next attempt; a flush, or the end of the program, asks for one at once."""
        self._state.wait_for(lambda: self._closing or self._hurries != self._answered, seconds)
        self._answered = self._hurries
