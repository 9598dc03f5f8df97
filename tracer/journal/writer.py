"""Writing segments: one is open at a time, what was written is synced before it counts. Used by one thread."""

import contextlib
import errno
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from controltower.tracer.journal.contents import Line
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.index import LINE_BYTES, encode_lines, index_path
from controltower.tracer.journal.records import encode
from controltower.tracer.journal.sealing import Sealing
from controltower.tracer.journal.segment import SEGMENT_SUFFIX, SegmentFile, discard

logger = logging.getLogger(__name__)

# Given-up segments that could not be cut yet. A disk that refuses so many writes and cuts is asked for no more.
MOST_UNCUT: Final = 64

LEAST_SHARE: Final = 4  # a quarter of a full segment costs about as much to load as there is to any load


class Entry(NamedTuple):  # not a dataclass: one is made for each request
    """What goes into one record: a body with its envelope, and what the index says about it."""

    message: bytes
    received_ns: int
    key: bytes


class OpenSegment:
    """The segment that is being written. Everything up to ``size`` is on the disk."""

    def __init__(self, path: Path, disk: Disk, sealing: Sealing, opened_at: float) -> None:
        """Create the files of the segment, durably by name; raises OSError with nothing left behind."""
        self.path = path
        self._name = path.stem
        self.opened_at = opened_at
        self.size = 0
        self.records = 0
        self.oldest_ns = self.newest_ns = 0
        self._disk = disk
        self._sealing = sealing
        self._descriptor = disk.create(path)
        self._index: int | None = None
        try:
            self._index = disk.create(index_path(path))
            disk.sync_folder(path.parent)
        except OSError:
            self.close()
            with contextlib.suppress(OSError):  # an empty segment does no harm: it is removed at the next start
                discard(path, disk)
            raise

    def write(self, entries: Sequence[Entry]) -> None:
        """Append *entries* and return when they are on the disk; raises OSError, and then ``abandon`` must follow."""
        data, lines = self._lay_out(entries)
        self._disk.write(self._descriptor, data)
        self._disk.sync(self._descriptor)
        self._write_index(lines)
        times = [line.received_ns for line in lines]
        self.oldest_ns = min(times) if not self.records else min(self.oldest_ns, *times)
        self.newest_ns = max(self.newest_ns, *times)
        self.size += len(data)
        self.records += len(lines)

    def _lay_out(self, entries: Sequence[Entry]) -> tuple[bytes, list[Line]]:
        """Return the bytes of the records for *entries*, and where they will stand."""
        pieces: list[bytes] = []
        lines: list[Line] = []
        offset = self.size
        for entry in entries:
            parts, checksum = encode(self._sealing.seal(entry.message, self._name, offset))
            length = len(parts[0]) + len(parts[1]) + len(parts[2])
            lines.append(Line(offset, length, checksum, entry.received_ns, entry.key))
            pieces.extend(parts)
            offset += length
        return b"".join(pieces), lines

    def _write_index(self, lines: Sequence[Line]) -> None:
        """Append to the index; without success it ends here, and is made again from the segment when needed."""
        if self._index is None:
            return
        try:
            self._disk.write(self._index, encode_lines(lines))
        except OSError as error:
            logger.warning("the index of %s is incomplete: %s", self.path.name, error)
            self._close_index()

    def cut(self) -> bool:
        """Take off what is not known to be on the disk; False when the disk refuses that, too."""
        try:
            if self.records:
                self._disk.truncate(self.path, self.size)
            else:
                discard(self.path, self._disk)
        except OSError as error:
            logger.error("segment %s could not be cut to %s bytes: %s", self.path.name, self.size, error)
            return False
        return True

    def close(self) -> None:
        """Close the files; what was written is on the disk already."""
        with contextlib.suppress(OSError):  # nothing that counts can fail here any more
            self._disk.close(self._descriptor)
        self._close_index()

    def _close_index(self) -> None:
        if self._index is not None:
            with contextlib.suppress(OSError):
                self._disk.close(self._index)
            self._index = None

    @property
    def disk_bytes(self) -> int:
        """What the segment takes on the disk together with its index."""
        return self.size + LINE_BYTES * self.records

    def describe(self) -> SegmentFile:
        """Return what the loader needs to know of the segment."""
        return SegmentFile(
            self.path.stem, self.path, self.size, self.records, self.oldest_ns, self.newest_ns, self._sealing
        )


class SegmentWriter:
    """Writes entries into one segment after the other and hands over those that are complete."""

    def __init__(
        self,
        folder: Path,
        disk: Disk,
        sealing: Sealing,
        *,
        segment_bytes: int,
        segment_age_s: float,
        last_id_ns: int,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        closed: Callable[[SegmentFile], None],
    ) -> None:
        """Write to *folder*; *closed* is called with every segment that can be loaded."""
        self._folder = folder
        self._disk = disk
        self._sealing = sealing
        self._segment_bytes = segment_bytes
        self._segment_age_s = segment_age_s
        self._last_id_ns = last_id_ns
        self._clock = clock
        self._monotonic = monotonic
        self._closed = closed
        self._uncut: list[OpenSegment] = []
        self.active: OpenSegment | None = None

    def write(self, entries: Sequence[Entry]) -> None:
        """Store *entries* durably. When that fails (OSError), none of them is stored and the segment is given up.

        A file whose fsync failed is never synced again: the kernel may have dropped the pages and then reports success.
        """
        if self.active is None:
            self._begin()
        assert self.active is not None
        try:
            self.active.write(entries)
        except Exception:
            self._uncut.append(self.active)
            self.active.close()
            self.active = None
            self._cut()
            raise

    def _begin(self) -> None:
        if len(self._uncut) >= MOST_UNCUT:
            self._cut()
        if len(self._uncut) >= MOST_UNCUT:
            raise OSError(errno.EIO, f"{len(self._uncut)} segments could neither be written nor cut")
        path = self._folder / (self.next_id() + SEGMENT_SUFFIX)
        self.active = OpenSegment(path, self._disk, self._sealing, self._monotonic())

    def close_active(self) -> None:
        """Close the open segment, if there is one, and hand it over."""
        active, self.active = self.active, None
        if active is not None:
            active.close()
            self._closed(active.describe())
        self._cut()

    def _cut(self) -> None:
        """Hand over the durable part of given-up segments, once what is not durable was cut off."""
        waiting, self._uncut = self._uncut, []
        for segment in waiting:
            if not segment.cut():
                self._uncut.append(segment)
            elif segment.records:
                self._closed(segment.describe())

    def abandon(self) -> None:
        """Close the descriptors of the open segment, if there is one; nothing is handed over."""
        active, self.active = self.active, None
        if active is not None:
            active.close()

    def room(self) -> int:
        """Return how many bytes the open segment still takes."""
        return self._segment_bytes - (self.active.size if self.active else 0)

    def time_left(self) -> float | None:
        """Return the seconds until the open segment is due to be closed; None when none is open."""
        if self.active is None:
            return None
        return max(0.0, self.active.opened_at + self._segment_age_s - self._monotonic())

    def is_full(self) -> bool:
        """Whether the open segment is large enough to be closed."""
        return self.active is not None and self.room() <= 0

    def is_worth_a_load(self) -> bool:
        """Whether the open segment holds enough to be loaded beside others, before it is full."""
        return self.active is not None and self.active.size * LEAST_SHARE >= self._segment_bytes

    def is_old(self) -> bool:
        """Whether the open segment is old enough to be closed."""
        return self.time_left() == 0.0

    def next_id(self) -> str:
        """Return a name that sorts by time and that no other segment has, here or elsewhere: it is an insert token."""
        self._last_id_ns = max(self._clock(), self._last_id_ns + 1)
        return f"{self._last_id_ns:020d}-{secrets.token_hex(8)}"
