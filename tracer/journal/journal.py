"""The journal on disk: what was appended is there after a crash, in the form in which the store loads it.

A journal is a folder of segments. A segment is a stream of length-delimited protobuf messages (``records``),
so that a closed segment *is* the input of ClickHouse's ``Protobuf`` format and nobody has to decode it. Appends that
wait at the same time share one fsync, made by one thread. A body that is sent again within the window is recognised
by its SHA-256 and not stored twice, also after a restart and after its segment was loaded and removed.

::

    <folder>/lock                         held by the one process that has the journal open
    <folder>/format                       the version of the format
    <folder>/<id>.otlp  <id>.index        a segment, and what it holds; the index can be made again from the segment
    <folder>/<id>.seen                    digests of removed segments, until the window has passed
    <folder>/<id>.owed                    the index of a removed segment, while there is no room to note its digests
    <folder>/quarantine/                  damaged bytes and refused segments, each with a ``.reason.json``
"""

import logging
import threading
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from controltower.tracer.journal.backlog import Backlog
from controltower.tracer.journal.disk import NO_ROOM, Disk
from controltower.tracer.journal.errors import JournalClosedError, JournalError, JournalFull, JournalTooLarge
from controltower.tracer.journal.kept import Kept, KeptFile
from controltower.tracer.journal.limits import JournalLimits
from controltower.tracer.journal.lock import FolderLock
from controltower.tracer.journal.marker import Marker
from controltower.tracer.journal.quarantine import Quarantine
from controltower.tracer.journal.records import MAX_MESSAGE_BYTES
from controltower.tracer.journal.recovery import Recovered, Recovery
from controltower.tracer.journal.room import Room
from controltower.tracer.journal.sealing import Cipher, Sealing
from controltower.tracer.journal.seen import Seen, SeenFiles, SeenWindow
from controltower.tracer.journal.segment import SegmentFile
from controltower.tracer.journal.stats import JournalStats
from controltower.tracer.journal.waiting import DUPLICATE, STORED, Receipt, Waiting, WaitingLine, share
from controltower.tracer.journal.writer import Entry, SegmentWriter

logger = logging.getLogger(__name__)

_RAW_SHARE: Final = (
    4  # a quarter of the budget for bodies that could not be decoded: a bad sender must not stop the others
)


class Journal:
    """The open journal of one folder; safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        limits: JournalLimits | None = None,
        *,
        cipher: Cipher | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
    ) -> None:
        """Open *folder*, creating it when missing, and mend what a crash left behind; blocks while it reads.

        With a *cipher* what is written from now on is encrypted. Raises JournalLockedError when another process has the
        folder open, JournalFormatError when a later version wrote it, JournalKeyError when segments need a key that is
        not here; nothing is changed then.
        """
        self.folder = folder
        self.limits = limits or JournalLimits()
        self._clock = clock
        self._monotonic = monotonic
        self._disk = disk or Disk()
        self._sealing = Sealing(cipher)
        self._quarantine = Quarantine(folder, self._disk, self._sealing)
        self.kept = Kept(
            folder, self._disk, keep_s=self.limits.keep_s, keep_bytes=self.limits.keep_bytes, clock=self._clock
        )
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # something to write, to rotate, or to stop for
        self._line = WaitingLine()
        self._rotations: list[Future[None]] = []
        self._closing = False
        self._last_error: str | None = None
        self._disk.private_folder(folder)
        self._folder_lock = FolderLock(folder, self._disk)
        try:
            self._open()
        except BaseException:
            self._folder_lock.release()
            raise
        self._thread = threading.Thread(target=self._run, name=f"journal-{folder.name}", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        recovery = Recovery(self.folder, self._quarantine, self._disk, self._sealing)
        marker = Marker(self.folder, self._disk)
        is_current = marker.check()
        recovery.check_keys()
        if not is_current:
            marker.write()
        self._disk.private_folder(self._quarantine.folder)
        window_ns = int(self.limits.window_s * 1e9)
        found = recovery.run(self._clock(), window_ns, self.limits.window_entries)
        self._put_together(found, SeenFiles(self.folder, self._disk, window_ns, self.limits.window_entries))

    def _put_together(self, found: Recovered, seen_files: SeenFiles) -> None:
        limits = self.limits
        self._seen = SeenWindow(limits.window_s, limits.window_entries)
        known = [*seen_files.load(self._clock()), *(Seen(time_ns, key) for key, time_ns in found.seen.items())]
        for seen in sorted(known):
            self._seen.add(seen, self._monotonic())
        self._backlog = Backlog(
            self._quarantine,
            seen_files,
            self._disk,
            self._sealing,
            self.kept,
            clock=self._clock,
            monotonic=self._monotonic,
            stored_after=self._stored_after,
            changed=self._has_less,
            is_short=self._is_short,
        )
        for segment in found.segments:
            self._backlog.offer(segment)
        self._segments = SegmentWriter(
            self.folder,
            self._disk,
            self._sealing,
            segment_bytes=limits.segment_bytes,
            segment_age_s=limits.segment_age_s,
            last_id_ns=found.last_id_ns,
            clock=self._clock,
            monotonic=self._monotonic,
            closed=self._backlog.offer,
        )
        self._room = Room(self.folder, self._disk, limits.budget_bytes, limits.reserve_bytes, self._monotonic)

    # Appending: any thread.

    def append(self, message: bytes, *, tenant: str, received_ns: int, digest: bytes) -> Future[Receipt]:
        """Store *message* (a body and its ``envelope``); the future resolves when it is on the disk. Does not block.

        *digest* is the SHA-256 of the body. A body of the same tenant that is waiting for the disk shares that wait,
        one that was stored in the window is acknowledged at once. The future fails with JournalFull, JournalClosedError,
        JournalTooLarge (which is permanent) or JournalError; nothing was stored then. It cannot be cancelled.
        """
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()
        keys = self._sealing.keys(tenant, digest)
        waiting = Waiting(Entry(message, received_ns, keys[0]), future)
        with self._lock:
            first = self._line.open_for(keys[0])
            stored = first is None and self._seen.holds(keys)
            refusal = None if first or stored else self._refusal(waiting)
            if not (first or stored or refusal):
                self._line.add(waiting)
                self._work.notify()
        if first:
            first.add_done_callback(lambda done: share(done, future))
        elif stored:
            future.set_result(DUPLICATE)
        elif refusal:
            future.set_exception(refusal)
        return future

    def _refusal(self, waiting: Waiting) -> JournalError | None:
        size = len(waiting.entry.message)
        if self._closing:
            return JournalClosedError("The journal is closed.")
        if size > MAX_MESSAGE_BYTES:
            return JournalTooLarge(size, MAX_MESSAGE_BYTES)
        ahead = self._line.memory_bytes
        if ahead and ahead + waiting.memory_bytes > self.limits.waiting_bytes:
            return JournalFull("Too much is waiting for the disk of the journal.")
        full = self._room.refusal(self._used(), ahead + size)
        return JournalFull(full) if full else None

    def _used(self) -> int:
        active = self._segments.active
        return self._backlog.disk_bytes + (active.disk_bytes if active else 0)

    @property
    def is_sealed(self) -> bool:
        """Whether what is written, and what is set aside, is encrypted."""
        return self._sealing.cipher is not None

    def set_aside(self, raw: bytes, reason: str, **details: str | int) -> Path:
        """Keep the body *raw*, which could not be decoded, in quarantine with its *reason*; blocks until it is there.

        The same body again is kept once. *details* are what helps to look into it: signal, encoding, tenant, never a header
        or a token; they and the reason are not encrypted. Raises JournalFull, also when such bodies take a quarter of the
        budget already, JournalClosedError, OSError.
        """
        with self._lock:
            kept = self._backlog.stats().quarantined_bytes
            if self._closing:
                raise JournalClosedError("The journal is closed.")
            if kept + len(raw) > self.limits.budget_bytes // _RAW_SHARE:
                raise JournalFull(
                    f"The quarantine holds {kept} bytes: look through it, then retry or drop what is there."
                )
            full = self._room.refusal(self._used(), self._line.memory_bytes + len(raw))
        if full:
            raise JournalFull(full)
        path = self._quarantine.put_raw(raw, reason, self._clock(), **details)
        self._backlog.measure()
        return path

    # Writing: the journal's own thread.

    def _run(self) -> None:
        try:
            while self._work_once():
                pass
        finally:  # whatever ended it: nobody waits for a thread that is gone
            self._give_up()

    def _work_once(self) -> bool:
        batch, rotations, closing = self._next_work()
        if batch:
            self._commit(batch)
        last = closing and not batch
        if rotations or last or self._is_due():
            self._segments.close_active()
        for rotation in rotations:
            rotation.set_result(None)
        return not last

    def _give_up(self) -> None:
        with self._lock:
            self._closing = True
            rotations, self._rotations = self._rotations, []
            left = self._line.take_all()
        self._refuse(left, JournalClosedError("The journal is closed."))
        for rotation in rotations:
            rotation.set_result(None)
        self._backlog.end()

    def _next_work(self) -> tuple[list[Waiting], list[Future[None]], bool]:
        with self._lock:
            while not (self._line or self._rotations or self._closing or self._is_due()):
                self._work.wait(self._segments.time_left() if self._age_counts() else None)
            batch = self._line.take(self._segments.room())
            rotations: list[Future[None]] = []
            if not self._line:  # what was appended before a rotation was asked for is written before it
                rotations, self._rotations = self._rotations, rotations
            return batch, rotations, self._closing

    def _is_due(self) -> bool:
        """Whether the open segment is to be closed."""
        return self._segments.is_full() or (self._age_counts() and self._segments.is_old())

    def _age_counts(self) -> bool:
        """Whether the open segment is to be closed when it is old.

        While closed segments wait to be loaded, age alone closes none: a loader that is behind, or a store that was away
        for an hour, would find thousands of small ones, each as dear to load as a large one. But a loader that has nothing
        to do while others load gets what is worth a load of its own, so that a burst does not end on one core.
        """
        return not self._backlog or (self._backlog.is_awaited and self._segments.is_worth_a_load())

    def _commit(self, batch: list[Waiting]) -> None:
        try:
            self._segments.write([item.entry for item in batch])
        except Exception as error:  # whatever it is: nothing of the batch is acknowledged, and the thread lives on
            if self._last_error is None:  # the first of a row; a full disk would fill the log, too
                logger.exception("journal %s: %s records were not stored", self.folder, len(batch))
            self._refuse(batch, _refusal_of(error))
        except BaseException:
            self._refuse(batch, JournalClosedError("The journal was stopped."))
            raise
        else:
            self._acknowledge(batch)

    def _acknowledge(self, batch: list[Waiting]) -> None:
        now_s = self._monotonic()
        with self._lock:
            self._last_error = None
            for item in batch:
                self._line.settle(item)
                self._seen.add(Seen(item.entry.received_ns, item.entry.key), now_s)
            self._room.watch(self._used())
        for item in batch:
            item.future.set_result(STORED)

    def _refuse(self, batch: Sequence[Waiting], refusal: JournalError) -> None:
        with self._lock:
            if batch:
                self._last_error = str(refusal.__cause__ or refusal)
            for item in batch:
                self._line.settle(item)
        for item in batch:
            item.refuse(refusal)

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
        return self._backlog.segments()

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called: nothing more is appended, what is there can still be loaded."""
        return self._closing

    def wait_closed(self, timeout_s: float | None = None, taken: Container[str] = ()) -> SegmentFile | None:
        """Return the oldest segment that can be loaded; wait for one, or return None after *timeout_s* or when closed.

        Those whose ids are *taken*, by others who load at the same time, are left out.
        """
        return self._backlog.wait(timeout_s, taken)

    def verify(self, segment: SegmentFile) -> SegmentFile | None:
        """Read *segment* against its checksums before it is loaded, and move damaged bytes to quarantine.

        Returns the segment as it is now, None when nothing of it is left, or when there is no room to mend it: then it is
        offered again later, so that others are loaded first. Raises OSError when it cannot be read.
        """
        return self._backlog.verify(segment)

    def remove(self, segment: SegmentFile, rows: int = 0) -> None:
        """Remove *segment*, which is loaded; its bodies are still recognised until the window has passed.

        With *rows*, as many as the store holds of it, its file is kept a while (``kept``).
        """
        self._backlog.remove(segment, rows)

    def kept_segment(self, kept: KeptFile) -> SegmentFile | None:
        """Return what was *kept* as an intact segment that can be opened and loaded; it is not offered.

        None when it is gone, when it was damaged (then it is offered like any other, so that the rest of it is loaded and the
        damage goes to quarantine), or when its key is not here. Raises OSError when it cannot be read.
        """
        return self._backlog.kept_segment(kept)

    def load_again(self, kept: KeptFile) -> None:
        """Offer what was *kept* like any other segment, to be verified, halved or refused. Raises OSError."""
        self._backlog.load_again(kept)

    def _is_short(self) -> bool:
        """Whether there is no room for another segment."""
        with self._lock:
            return self._room.read(self._used()).left_bytes < self.limits.segment_bytes

    def quarantine(self, segment: SegmentFile, reason: str) -> Path:
        """Move *segment*, which the store refuses for good, out of the way with its *reason*; returns where it is."""
        return self._backlog.refuse(segment, reason)

    def split(self, segment: SegmentFile) -> list[SegmentFile]:
        """Offer the two halves of *segment* instead of it, to find the record that is refused.

        Returns nothing, with nothing done, when it holds a single record. Raises JournalFull when there is no room for the
        halves: then it is offered again later.
        """
        return self._backlog.split(segment)

    def _stored_after(self, key: bytes, received_ns: int) -> bool:
        with self._lock:
            return self._seen.stored_after(key, received_ns)

    def _has_less(self) -> None:
        with self._lock:
            self._room.watch(self._used())
            self._work.notify()  # the open segment may be due by its age now

    def stats(self) -> JournalStats:
        """Return where the journal stands."""
        with self._lock:
            active = self._segments.active
            backlog = self._backlog.stats()
            times = [backlog.oldest_received_ns, active.oldest_ns if active is not None and active.records else None]
            room = self._room.read(self._used())
            return JournalStats(
                bytes=backlog.bytes + (active.size if active else 0),
                budget_bytes=self.limits.budget_bytes,
                segments=backlog.segments + (active is not None),
                waiting_bytes=self._line.memory_bytes,
                oldest_received_ns=min((time_ns for time_ns in times if time_ns is not None), default=None),
                quarantined_files=backlog.quarantined_files,
                quarantined_bytes=backlog.quarantined_bytes,
                last_error=self._last_error,
                used_bytes=room.used_bytes,
                left_bytes=room.left_bytes,
                free_bytes=room.free_bytes,
                fullness=round(room.fullness, 4),
                held_segments=backlog.held,
                key_id=self._sealing.cipher.key_ids[0] if self._sealing.cipher else None,
            )

    def close(self) -> None:
        """Write what is waiting, close the segment and let go of the folder; blocks, a second call does nothing."""
        with self._lock:
            self._closing = True
            self._work.notify()
        self._backlog.end()
        self._thread.join()
        self._folder_lock.release()

    def abandon(self) -> None:
        """In a forked child: leave the journal to the parent. Closes this process's descriptors, and writes nothing.

        The child must not use it otherwise: its thread is the parent's. Without this the folder stays locked for as long as
        the child lives, whatever becomes of the parent.
        """
        self._segments.abandon()
        self._folder_lock.release()


def _refusal_of(error: Exception) -> JournalError:
    """Return what a sender is told when writing failed by *error*."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    full = isinstance(error, OSError) and error.errno in NO_ROOM
    refusal = (
        JournalFull("The disk of the journal is full.")
        if full
        else JournalError(f"The journal cannot be written: {reason}.")
    )
    refusal.__cause__ = error
    return refusal
