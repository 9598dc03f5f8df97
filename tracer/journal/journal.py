"""The journal on disk: what was appended is there after a crash, in the form in which the store loads it.

A journal is a folder of segments. A segment is a stream of length-delimited protobuf messages (``records``),
so that a closed segment *is* the input of ClickHouse's ``Protobuf`` format and nobody has to decode it. Appends that
wait at the same time share one fsync, made by one thread. A body that is sent again within the window is recognised
by its SHA-256 and not stored twice, also after a restart and after its segment was loaded and removed.

::

    <folder>/lock                         held by the one process that has the journal open
    <folder>/<id>.otlp  <id>.index        a segment, and what it holds; the index can be made again from the segment
    <folder>/<id>.seen                    digests of removed segments, until the window has passed
    <folder>/quarantine/                  damaged bytes and refused segments, each with a ``.reason.json``
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controltower.tracer.journal.disk import NO_ROOM, Disk, private_folder
from controltower.tracer.journal.errors import JournalClosedError, JournalError, JournalFull
from controltower.tracer.journal.lock import FolderLock
from controltower.tracer.journal.quarantine import Quarantine
from controltower.tracer.journal.records import Damage, scan
from controltower.tracer.journal.recovery import mend_logged, recover, seen_of
from controltower.tracer.journal.seen import Seen, SeenFiles, SeenWindow, dedup_key
from controltower.tracer.journal.segment import (
    SEGMENT_SUFFIX,
    SegmentFile,
    as_it_is,
    describe,
    discard,
    halve,
    records_of,
)
from controltower.tracer.journal.writer import Entry, SegmentWriter

logger = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024
_LOOK_EVERY_S: Final = 2.0  # how soon is noticed what somebody asked of the quarantine


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """Bounds of a journal."""

    segment_bytes: int = 8 * _MIB  # one load: large enough for a good part, small enough to load in a moment
    segment_age_s: float = 0.3  # acknowledged to visible must stay below a second at low rates
    budget_bytes: int = 10 * 1024 * _MIB  # segments and quarantine together; more is refused
    waiting_bytes: int = 256 * _MIB  # in memory while the disk is slow
    window_s: float = 3600.0  # longer than any client tries again
    window_entries: int = 100_000  # some 20 MB of memory


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was appended is on the disk; ``duplicate`` when it was there before."""

    duplicate: bool


@dataclass(frozen=True, slots=True)
class JournalStats:
    """Where a journal stands."""

    bytes: int  # of the segments that are not removed yet
    budget_bytes: int
    segments: int
    waiting_bytes: int  # not on the disk and not acknowledged yet
    oldest_received_ns: int | None  # of what is acknowledged and not removed
    quarantined_files: int
    quarantined_bytes: int
    last_error: str | None  # why the last write failed; None after one that succeeded


@dataclass(frozen=True, slots=True)
class _Waiting:
    entry: Entry
    key: bytes
    future: Future[Receipt]


class Journal:
    """The open journal of one folder; safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        limits: JournalLimits | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
    ) -> None:
        """Open *folder*, creating it when missing, and mend what a crash left behind; blocks while it reads.

        Raises JournalLockedError when another process has it open.
        """
        self.folder = folder
        self.limits = limits or JournalLimits()
        self._clock = clock
        self._monotonic = monotonic
        self._disk = disk or Disk()
        self._quarantine = Quarantine(folder, self._disk)
        self._looked_at = monotonic()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # something to write, to rotate, or to stop for
        self._loadable = threading.Condition(self._lock)  # a closed segment, or the end
        self._queue: deque[_Waiting] = deque()
        self._pending: dict[bytes, Future[Receipt]] = {}
        self._waiting_bytes = 0
        self._rotations: list[Future[None]] = []
        self._closing = False
        self._closed: dict[str, SegmentFile] = {}
        self._closed_bytes = 0
        self._last_error: str | None = None
        private_folder(folder)
        private_folder(self._quarantine.folder)
        self._folder_lock = FolderLock(folder)
        try:
            last_id_ns = self._recover()
        except BaseException:
            self._folder_lock.release()
            raise
        self._segments = SegmentWriter(
            folder,
            self._disk,
            segment_bytes=self.limits.segment_bytes,
            segment_age_s=self.limits.segment_age_s,
            last_id_ns=last_id_ns,
            clock=clock,
            monotonic=monotonic,
            closed=self._offer,
        )
        self._thread = threading.Thread(target=self._run, name=f"journal-{folder.name}", daemon=True)
        self._thread.start()

    def _recover(self) -> int:
        now_ns = self._clock()
        window_ns = int(self.limits.window_s * 1e9)
        self._seen = SeenWindow(window_ns, self.limits.window_entries)
        self._seen_files = SeenFiles(self.folder, self._disk, window_ns, self.limits.window_entries)
        found = recover(self.folder, self._quarantine, self._disk, now_ns, window_ns, self.limits.window_entries)
        for segment in found.segments:
            self._offer(segment)
        for seen in sorted([*self._seen_files.load(), *(Seen(time_ns, key) for key, time_ns in found.seen.items())]):
            self._seen.add(seen, now_ns)
        self._quarantined_files, self._quarantined_bytes = self._quarantine.measure()
        return found.last_id_ns

    # Appending: any thread.

    def append(self, message: bytes, *, tenant: str, received_ns: int, digest: bytes) -> Future[Receipt]:
        """Store *message* (a body and its ``envelope``); the future resolves when it is on the disk. Does not block.

        *digest* is the SHA-256 of the body. A body of the same tenant that is waiting for the disk shares that wait,
        one that was stored in the window is acknowledged at once. The future fails with JournalFull, JournalClosedError
        or JournalError; nothing was stored then. It cannot be cancelled.
        """
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()
        waiting = _Waiting(Entry(message, tenant, received_ns, digest), dedup_key(tenant, digest), future)
        with self._lock:
            first = self._pending.get(waiting.key)
            stored = first is None and waiting.key in self._seen
            refusal = None if first or stored else self._refusal(len(message))
            if not (first or stored or refusal):
                self._enqueue(waiting)
        if first:
            first.add_done_callback(lambda done: _share(done, future))
        elif stored:
            future.set_result(Receipt(duplicate=True))
        elif refusal:
            future.set_exception(refusal)
        return future

    def _refusal(self, size: int) -> JournalError | None:
        if self._closing:
            return JournalClosedError("The journal is closed.")
        if self._used() + self._waiting_bytes + size > self.limits.budget_bytes:
            return JournalFull(f"The journal has used its budget of {self.limits.budget_bytes} bytes.")
        if self._waiting_bytes and self._waiting_bytes + size > self.limits.waiting_bytes:
            return JournalFull("Too much is waiting for the disk of the journal.")
        return None

    def _used(self) -> int:
        active = self._segments.active
        return self._closed_bytes + self._quarantined_bytes + (active.size if active else 0)

    def _enqueue(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self._pending[waiting.key] = waiting.future
        self._waiting_bytes += len(waiting.entry.message)
        self._work.notify()

    # Writing: the journal's own thread.

    def _run(self) -> None:
        while True:
            batch, rotations, closing = self._next_work()
            if batch:
                self._commit(batch)
            last = closing and not batch
            if rotations or last or self._is_due():
                self._segments.close_active()
            for rotation in rotations:
                rotation.set_result(None)
            if last:
                return

    def _next_work(self) -> tuple[list[_Waiting], list[Future[None]], bool]:
        with self._lock:
            while not (self._queue or self._rotations or self._closing or self._is_due()):
                self._work.wait(None if self._closed else self._segments.time_left())
            batch = self._take()
            rotations: list[Future[None]] = []
            if not self._queue:  # what was appended before a rotation was asked for is written before it
                rotations, self._rotations = self._rotations, rotations
            return batch, rotations, self._closing

    def _is_due(self) -> bool:
        """Whether the open segment is to be closed.

        While closed segments wait to be loaded, age alone closes none: a loader that is behind, or a store that was away
        for an hour, would find thousands of small ones, each as dear to load as a large one.
        """
        return self._segments.is_full() or (not self._closed and self._segments.is_old())

    def _take(self) -> list[_Waiting]:
        """Take what fits into the open segment, at least one."""
        room = self._segments.room()
        batch: list[_Waiting] = []
        while self._queue and (not batch or room > 0):
            batch.append(self._queue.popleft())
            room -= len(batch[-1].entry.message)
        return batch

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            self._segments.write([item.entry for item in batch])
        except Exception as error:  # whatever it is: nothing of the batch is acknowledged, and the thread lives on
            logger.exception("journal %s: %s records were not stored", self.folder, len(batch))
            self._refuse(batch, error)
        else:
            self._acknowledge(batch)

    def _acknowledge(self, batch: list[_Waiting]) -> None:
        now_ns = self._clock()
        with self._lock:
            self._last_error = None
            for item in batch:
                self._settle(item)
                self._seen.add(Seen(item.entry.received_ns, item.key), now_ns)
        for item in batch:
            item.future.set_result(Receipt(duplicate=False))

    def _refuse(self, batch: list[_Waiting], error: Exception) -> None:
        with self._lock:
            self._last_error = str(error)
            for item in batch:
                self._settle(item)
        full = isinstance(error, OSError) and error.errno in NO_ROOM
        for item in batch:
            refusal = JournalFull("The disk of the journal is full.") if full else JournalError("The disk failed.")
            refusal.__cause__ = error
            item.future.set_exception(refusal)

    def _settle(self, item: _Waiting) -> None:
        del self._pending[item.key]
        self._waiting_bytes -= len(item.entry.message)

    def _offer(self, segment: SegmentFile) -> None:
        with self._lock:
            self._closed[segment.id] = segment
            self._closed_bytes += segment.bytes
            self._loadable.notify_all()

    # Loading: the one that moves segments on.

    def rotate(self) -> None:
        """Close the segment that is being written, if there is one; blocks until it is closed."""
        done: Future[None] = Future()
        with self._lock:
            if self._closing:
                return
            self._rotations.append(done)
            self._work.notify()
        done.result()

    def closed_segments(self) -> list[SegmentFile]:
        """Return the segments that can be loaded, oldest first."""
        with self._lock:
            return sorted(self._closed.values(), key=lambda segment: segment.id)

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called: nothing more is appended, what is there can still be loaded."""
        return self._closing

    def wait_closed(self, timeout_s: float | None = None) -> SegmentFile | None:
        """Return the oldest segment that can be loaded; wait for one, or return None after *timeout_s* or when closed."""
        self._look_at_quarantine()
        with self._lock:
            self._loadable.wait_for(lambda: self._closed or self._closing, timeout_s)
            return self._closed[min(self._closed)] if self._closed else None

    def verify(self, segment: SegmentFile) -> SegmentFile | None:
        """Read *segment* against its checksums before it is loaded, and move damaged bytes to quarantine.

        Returns the segment as it is now, None when nothing of it is left. Raises OSError when it cannot be read.
        """
        try:
            intact = not any(isinstance(part, Damage) for part in scan(segment.path.read_bytes()))
        except FileNotFoundError:
            logger.error("segment %s is gone although it was not loaded: somebody removed it", segment.path.name)
            self._forget(segment)
            return None
        if intact:
            return segment
        records = mend_logged(segment.path, self._quarantine, self._disk, self._clock())
        mended = describe(segment.path, records) if records else None
        self._forget(segment)
        if mended:
            self._offer(mended)
        self._measure_quarantine()
        return mended

    def remove(self, segment: SegmentFile) -> None:
        """Remove *segment*, which is loaded; its bodies are still recognised until the window has passed."""
        self._keep_digests(segment)
        discard(segment.path, self._disk)
        self._forget(segment)

    def quarantine(self, segment: SegmentFile, reason: str) -> Path:
        """Move *segment*, which the store refuses for good, out of the way with its *reason*; returns where it is."""
        self._keep_digests(segment)
        target = self._quarantine.take(segment.path, reason, segment.bytes, self._clock())
        discard(segment.path, self._disk)
        self._forget(segment)
        self._measure_quarantine()
        return target

    def split(self, segment: SegmentFile) -> list[SegmentFile]:
        """Offer the two halves of *segment* instead of it, to find the record that is refused.

        Returns nothing, with nothing done, when it holds a single record.
        """
        halves = halve(segment, self._disk)
        if halves:
            self._forget(segment)
        for half in halves:
            self._offer(half)
        return halves

    def _keep_digests(self, segment: SegmentFile) -> None:
        try:
            self._seen_files.add(seen_of(records_of(segment.path)), segment.id, self._clock())
        except OSError as error:  # a full disk: removing makes room, and this process still knows the digests
            logger.warning("digests of segment %s are not kept over a restart: %s", segment.id, error)

    def _forget(self, segment: SegmentFile) -> None:
        with self._lock:
            gone = self._closed.pop(segment.id, None)
            self._closed_bytes -= gone.bytes if gone else 0
            self._work.notify()  # the open segment may be due by its age now

    def _look_at_quarantine(self) -> None:
        """Offer again what somebody asked for, and notice what was dropped; at most every two seconds."""
        now = self._monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        try:
            for path in self._quarantine.asked_for():
                segment = self._quarantine.give_back(path, SEGMENT_SUFFIX)
                self._offer(as_it_is(segment))
            self._measure_quarantine()
        except OSError as error:  # it stays where it is
            logger.warning("the quarantine of %s could not be looked at: %s", self.folder, error)

    def _measure_quarantine(self) -> None:
        files, size = self._quarantine.measure()
        with self._lock:
            self._quarantined_files, self._quarantined_bytes = files, size

    def stats(self) -> JournalStats:
        """Return where the journal stands."""
        with self._lock:
            active = self._segments.active
            times = [segment.oldest_received_ns for segment in self._closed.values()]
            if active is not None and active.records:
                times.append(active.oldest_ns)
            return JournalStats(
                bytes=self._closed_bytes + (active.size if active else 0),
                budget_bytes=self.limits.budget_bytes,
                segments=len(self._closed) + (active is not None),
                waiting_bytes=self._waiting_bytes,
                oldest_received_ns=min(times, default=None),
                quarantined_files=self._quarantined_files,
                quarantined_bytes=self._quarantined_bytes,
                last_error=self._last_error,
            )

    def close(self) -> None:
        """Write what is waiting, close the segment and let go of the folder; blocks, a second call does nothing."""
        with self._lock:
            self._closing = True
            self._work.notify()
            self._loadable.notify_all()
        self._thread.join()
        self._folder_lock.release()


def _share(first: Future[Receipt], second: Future[Receipt]) -> None:
    """Give the one who sent a body again the outcome of the one who sent it first."""
    error = first.exception()
    if error is not None:
        second.set_exception(error)
    else:
        second.set_result(Receipt(duplicate=True))
