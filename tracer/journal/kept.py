"""Segments that were loaded, kept a while: a store that lost what it had acknowledged gets them once more.

::

    loaded/<id>.<rows>.otlp     a loaded segment, and how many rows of it the store held then

They are a second copy, so whatever is in the way removes them first: their age, their number of bytes, or a full volume.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.segment import SEGMENT_SUFFIX, SegmentFile, order_of

logger = logging.getLogger(__name__)

FOLDER: Final = "loaded"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A loaded segment that is still here."""

    id: str
    rows: int  # that the store held when it was loaded
    path: Path
    bytes: int
    since_ns: int  # when it was loaded


class Kept:
    """The loaded segments of a journal; safe to use from several threads: each call is single renames and removals."""

    def __init__(self, journal: Path, disk: Disk, *, keep_s: float, keep_bytes: int, clock: Callable[[], int]) -> None:
        """Keep segments for *keep_s*, and no more than *keep_bytes* of them; 0 keeps none."""
        self.folder = journal / FOLDER
        self._journal = journal
        self._disk = disk
        self._keep_ns = int(keep_s * 1e9)
        self._keep_bytes = keep_bytes
        self._clock = clock

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._keep_ns > 0 and self._keep_bytes > 0

    def take(self, segment: SegmentFile, rows: int) -> None:
        """Take the file of *segment*, of which the store holds *rows*. Raises OSError."""
        self._disk.private_folder(self.folder)
        self._disk.rename(segment.path, self.folder / f"{segment.id}.{rows}{SEGMENT_SUFFIX}")

    def give_back(self, kept: KeptFile) -> Path:
        """Move the file of *kept* back to the segments and return where it is. Raises OSError."""
        target = self._journal / f"{kept.id}{SEGMENT_SUFFIX}"
        self._disk.move(kept.path, target)
        return target

    def files(self) -> list[KeptFile]:
        """Return what is here, the oldest first. Raises OSError."""
        paths = self.folder.glob(f"*{SEGMENT_SUFFIX}") if self.folder.is_dir() else ()
        found = filter(None, map(_described, paths))
        return sorted(found, key=lambda kept: order_of(kept.id))

    def expire(self) -> None:
        """Remove what is too old or too much. Raises OSError."""
        newest_first = sorted(self.files(), key=lambda kept: kept.since_ns, reverse=True)
        oldest_ns = self._clock() - self._keep_ns
        total = 0
        for kept in newest_first:
            total += kept.bytes
            if kept.since_ns < oldest_ns or total > self._keep_bytes:
                self._disk.unlink(kept.path)

    def clear(self) -> int:
        """Remove everything, because room is needed, and return how many bytes that gave. Raises OSError."""
        files = self.files()
        for kept in files:
            self._disk.unlink(kept.path)
        return sum(kept.bytes for kept in files)


def _described(path: Path) -> KeptFile | None:
    """Return what *path* is; None for a name that is not ours, and for what was removed meanwhile."""
    name, _, rows = path.stem.rpartition(".")
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    if not (name and rows.isdecimal()):
        logger.warning("%s is no loaded segment and is left alone", path)
        return None
    return KeptFile(name, int(rows), path, stat.st_size, stat.st_ctime_ns)
