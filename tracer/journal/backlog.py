"""The closed segments of a journal, from when they can be loaded until they are removed."""

import logging
import threading
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controltower.tracer.journal.contents import Line, plain_messages
from controltower.tracer.journal.disk import NO_ROOM, Disk
from controltower.tracer.journal.errors import JournalFull
from controltower.tracer.journal.kept import Kept, KeptFile
from controltower.tracer.journal.quarantine import Quarantine
from controltower.tracer.journal.records import Damage
from controltower.tracer.journal.recovery import mend_logged, seen_of
from controltower.tracer.journal.sealing import Sealing
from controltower.tracer.journal.seen import SeenFiles
from controltower.tracer.journal.segment import (
    SEGMENT_SUFFIX,
    SegmentFile,
    as_it_is,
    describe,
    discard,
    halve,
    lines_of,
    missing_keys,
    order_of,
)

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 2.0  # how soon is noticed what somebody asked of the quarantine
HOLD_S: Final = 10.0  # how long a segment that needs room is left alone, while others may make it


@dataclass(frozen=True, slots=True)
class BacklogStats:
    """What waits to be loaded, and what is in quarantine."""

    segments: int
    bytes: int
    oldest_received_ns: int | None
    held: int
    quarantined_files: int
    quarantined_bytes: int


class Backlog:
    """Closed segments and what is done with them; safe to use from several threads."""

    def __init__(
        self,
        quarantine: Quarantine,
        seen_files: SeenFiles,
        disk: Disk,
        sealing: Sealing,
        kept: Kept,
        *,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        stored_after: Callable[[bytes, int], bool],
        changed: Callable[[], None],
        is_short: Callable[[], bool],
    ) -> None:
        """Ask *stored_after* whether a body was stored again; tell *changed* when there is less to load.

        What is loaded goes to *kept*, as long as there is room: *is_short* says when there is not.
        """
        self._quarantine = quarantine
        self._seen_files = seen_files
        self._disk = disk
        self._sealing = sealing
        self._clock = clock
        self._monotonic = monotonic
        self._stored_after = stored_after
        self._changed = changed
        self._kept = kept
        self._owes = True  # a process before may have left something
        self._is_short = is_short
        self._lock = threading.Lock()
        self._loadable = threading.Condition(self._lock)  # a segment, or the end
        self._digests = threading.Lock()  # of the files of digests: they are written by whoever removes a segment
        self._closed: dict[str, SegmentFile] = {}
        self._held: dict[str, tuple[SegmentFile, float]] = {}  # and until when
        self._bytes = self._disk_bytes = 0
        self._idle = 0  # loaders that wait for a segment
        self._ended = False
        self._looked_at = monotonic()
        self._quarantined = quarantine.measure()

    def __bool__(self) -> bool:
        """Whether anything can be loaded."""
        return bool(self._closed)

    def offer(self, segment: SegmentFile) -> None:
        """Take *segment* in, to be loaded."""
        with self._lock:
            self._drop(segment.id)
            self._closed[segment.id] = segment
            self._bytes += segment.bytes
            self._disk_bytes += segment.disk_bytes
            self._loadable.notify_all()

    def _drop(self, segment_id: str) -> None:
        held, _ = self._held.pop(segment_id, (None, 0.0))
        segment = self._closed.pop(segment_id, held)
        if segment is not None:
            self._bytes -= segment.bytes
            self._disk_bytes -= segment.disk_bytes

    def end(self) -> None:
        """Let nobody wait any more."""
        with self._lock:
            self._ended = True
            self._loadable.notify_all()

    def segments(self) -> list[SegmentFile]:
        """Return the segments that can be loaded, oldest first."""
        self._look()
        with self._lock:
            return sorted(self._closed.values(), key=_order)

    def wait(self, timeout_s: float | None, taken: Container[str] = ()) -> SegmentFile | None:
        """Return the oldest segment whose id is not *taken*; wait for one, or return None after *timeout_s* or at the end."""
        self._look()
        with self._lock:
            found = self._oldest(taken)
            self._idle += found is None
            is_behind = bool(self._closed)
        if found is not None:
            return found
        try:
            if is_behind:  # others load these: what is being written may be worth loading beside them
                self._changed()
            return self._wait(timeout_s, taken)
        finally:
            with self._lock:
                self._idle -= 1

    def _oldest(self, taken: Container[str]) -> SegmentFile | None:
        return min((segment for segment in self._closed.values() if segment.id not in taken), key=_order, default=None)

    @property
    def is_awaited(self) -> bool:
        """Whether a loader waits for a segment and there is none that it could load."""
        return bool(self._idle)

    def _wait(self, timeout_s: float | None, taken: Container[str]) -> SegmentFile | None:
        left_s = timeout_s
        while True:
            self._look()
            pause_s = LOOK_EVERY_S if left_s is None else min(left_s, LOOK_EVERY_S)
            with self._lock:
                self._loadable.wait_for(lambda: self._ended or not all(name in taken for name in self._closed), pause_s)
                found = self._oldest(taken)
                if found is not None or self._ended:
                    return found
            left_s = None if left_s is None else left_s - pause_s
            if left_s is not None and left_s <= 0:
                return None

    def verify(self, segment: SegmentFile) -> SegmentFile | None:
        """Read *segment* against its checksums and move damaged bytes to quarantine; see ``Journal.verify``."""
        try:
            if self._is_intact(segment):
                return segment
            lines = mend_logged(
                segment.path, self._quarantine, self._disk, self._clock(), self._sealing, self._is_superfluous
            )
        except FileNotFoundError:
            logger.error("segment %s is gone although it was not loaded: somebody removed it", segment.path.name)
            self._forget(segment)
            return None
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._hold(segment, error)
            return None
        mended = describe(segment.path, lines, self._sealing) if lines else None
        self._forget(segment)
        if mended:
            self.offer(mended)
        self.measure()
        return mended

    def _is_intact(self, segment: SegmentFile) -> bool:
        parts = plain_messages(segment.path.read_bytes(), segment.id, self._sealing)
        return not any(isinstance(part, Damage) for part, _ in parts)

    def _is_superfluous(self, line: Line) -> bool:
        return self._stored_after(line.key, line.received_ns)

    def split(self, segment: SegmentFile) -> list[SegmentFile]:
        """Offer the two halves of *segment* instead of it; see ``Journal.split``."""
        try:
            halves = halve(segment, self._disk)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._hold(segment, error)
            raise JournalFull(f"There is no room to halve segment {segment.id}; it is tried again later.") from error
        if halves:
            self._forget(segment)
        for half in halves:
            self.offer(half)
        return halves

    def remove(self, segment: SegmentFile, rows: int = 0) -> None:
        """Remove *segment*, of which the store holds *rows* now, or keep it a while. Raises OSError."""
        self._keep_digests(segment)
        if rows and self._kept.keeps and not self._is_short():
            self._kept.take(segment, rows)
        discard(segment.path, self._disk)
        self._settle_digests()
        self._forget(segment)

    def kept_segment(self, kept: KeptFile) -> SegmentFile | None:
        """Return what was *kept* as an intact segment; see ``Journal.kept_segment``."""
        begun_ns, _ = order_of(kept.id)
        segment = SegmentFile(kept.id, kept.path, kept.bytes, 0, begun_ns, begun_ns, self._sealing)
        missing = missing_keys(kept.path, self._sealing)
        if missing:
            logger.error("%s is not loaded again: it needs key %s", kept.path.name, ", ".join(sorted(missing)))
            return None
        try:
            if self._is_intact(segment):
                return segment
            self.load_again(kept)
        except FileNotFoundError:  # its time was over
            logger.error("%s was removed before it could be loaded again", kept.path.name)
        return None

    def load_again(self, kept: KeptFile) -> None:
        """Offer what was *kept* like any other segment; see ``Journal.load_again``."""
        target = self._kept.give_back(kept)
        self.offer(as_it_is(target, self._sealing))

    def refuse(self, segment: SegmentFile, reason: str) -> Path:
        """Move *segment* to quarantine. Raises OSError."""
        self._keep_digests(segment)
        target = self._quarantine.take(segment.path, reason, segment.bytes, self._clock())
        discard(segment.path, self._disk)
        self._settle_digests()
        self._forget(segment)
        self.measure()
        return target

    def _keep_digests(self, segment: SegmentFile) -> None:
        """Note durably what *segment* held, or owe it, when its own file takes the room that is needed."""
        entries = list(seen_of(lines_of(segment.path, self._sealing)))
        with self._digests:
            try:
                self._seen_files.add(entries, segment.id, self._clock())
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._owes = True
                if not self._seen_files.owe(segment.path, entries):
                    logger.warning(
                        "the digests of segment %s are on no disk until it is removed: it is full", segment.id
                    )

    def _settle_digests(self) -> None:
        """Note what is owed; while there is no room for it, the index stands for it, also over a restart."""
        if not self._owes:
            return
        try:
            with self._digests:
                self._seen_files.settle(self._clock())
                self._owes = False
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise

    def _hold(self, segment: SegmentFile, error: OSError) -> None:
        """Put *segment* back behind the others, which can make the room that it needs."""
        logger.warning("segment %s waits for room: %s", segment.id, error.strerror or error)
        with self._lock:
            self._closed.pop(segment.id, None)
            self._held[segment.id] = (segment, self._monotonic() + HOLD_S)

    def _forget(self, segment: SegmentFile) -> None:
        with self._lock:
            self._drop(segment.id)
        self._changed()

    def _look(self) -> None:
        """Offer again what waited for room or was asked for, and notice what was dropped; not more often than needed."""
        now_s = self._monotonic()
        with self._lock:
            if now_s - self._looked_at < LOOK_EVERY_S:
                return
            self._looked_at = now_s
            due = [segment for segment, until_s in self._held.values() if until_s <= now_s]
            for segment in due:
                del self._held[segment.id]
                self._closed[segment.id] = segment
        try:
            for path in self._quarantine.asked_for():
                self._take_back(path)
        except OSError as error:  # it stays where it is
            logger.warning("the quarantine %s could not be looked at: %s", self._quarantine.folder, error)
        self._look_at_kept()
        self._settle_digests()
        self.measure()

    def _look_at_kept(self) -> None:
        try:
            if self._is_short():
                given = self._kept.clear()
                if given:
                    logger.warning("%s bytes of loaded segments were removed early: the journal needs room", given)
            else:
                self._kept.expire()
        except OSError as error:
            logger.warning("loaded segments in %s could not be removed: %s", self._kept.folder, error)

    def _take_back(self, path: Path) -> None:
        missing = missing_keys(path, self._sealing)
        if missing:
            keys = ", ".join(sorted(missing))
            logger.error("%s is not loaded again: it is encrypted with key %s, which was not given", path.name, keys)
            return
        self.offer(as_it_is(self._quarantine.give_back(path, SEGMENT_SUFFIX), self._sealing))

    def measure(self) -> None:
        """Look how much is in quarantine."""
        try:
            measured = self._quarantine.measure()
        except OSError as error:
            logger.warning("the quarantine %s could not be measured: %s", self._quarantine.folder, error)
            return
        with self._lock:
            self._quarantined = measured
        self._changed()

    @property
    def disk_bytes(self) -> int:
        """What segments, their indexes and the quarantine take on the disk."""
        return self._disk_bytes + self._quarantined[1]

    def stats(self) -> BacklogStats:
        """Return what there is."""
        with self._lock:
            times = [segment.oldest_received_ns for segment in self._closed.values()]
            times += [segment.oldest_received_ns for segment, _ in self._held.values()]
            return BacklogStats(
                segments=len(times),
                bytes=self._bytes,
                oldest_received_ns=min(times, default=None),
                held=len(self._held),
                quarantined_files=self._quarantined[0],
                quarantined_bytes=self._quarantined[1],
            )


def _order(segment: SegmentFile) -> tuple[int, str]:
    return order_of(segment.id)
