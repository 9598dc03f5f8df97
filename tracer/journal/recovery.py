"""What a journal's folder holds when it is opened, with what a crash left behind mended.

Opening must be quick with a backlog of days. Of the segments of the window in which bodies are recognised the index is
read, and the segment itself where there is none, as long as that is not too much. Older ones are offered as they are;
each is read against its checksums before it is loaded anyway.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controltower.tracer.journal import index
from controltower.tracer.journal.contents import Line
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.errors import JournalKeyError
from controltower.tracer.journal.index import listed
from controltower.tracer.journal.quarantine import Quarantine
from controltower.tracer.journal.sealing import Sealing
from controltower.tracer.journal.seen import Seen
from controltower.tracer.journal.segment import (
    SEGMENT_SUFFIX,
    Mended,
    SegmentFile,
    as_it_is,
    describe,
    discard,
    mend,
    missing_keys,
    order_of,
    time_in,
    whole_of,
)

logger = logging.getLogger(__name__)

# Read at most this much of segments that lost their index: two seconds. Bodies in the others are not recognised.
READ_BYTES: Final = 1024 * 1024 * 1024


@dataclass(slots=True)
class Recovered:
    """The segments of a folder, the bodies in the newer ones, and the newest time in their names."""

    segments: list[SegmentFile] = field(default_factory=list)
    seen: dict[bytes, int] = field(default_factory=dict)  # key -> received
    last_id_ns: int = 0
    read_bytes: int = 0


class Recovery:
    """Opens the folder of a journal."""

    def __init__(self, folder: Path, quarantine: Quarantine, disk: Disk, sealing: Sealing) -> None:
        self._folder = folder
        self._quarantine = quarantine
        self._disk = disk
        self._sealing = sealing

    def check_keys(self) -> None:
        """Raise JournalKeyError when segments are encrypted with keys that are not here; nothing is changed."""
        missing: Counter[str] = Counter()
        for path in [*self._segments(), *self._quarantine.asked_for()]:
            missing.update(missing_keys(path, self._sealing))
        if missing:
            raise JournalKeyError(sorted(missing), sum(missing.values()), self._folder)

    def run(self, now_ns: int, window_ns: int, window_entries: int) -> Recovered:
        """Read what the folder holds, the newest first, and mend it. Raises OSError, JournalKeyError."""
        for draft in (*self._folder.glob("*.tmp"), *self._quarantine.folder.glob("*.tmp")):
            self._disk.unlink(draft)
        for path in self._quarantine.asked_for():
            self._quarantine.give_back(path, SEGMENT_SUFFIX)
        self._drop_early_halves()
        found = Recovered()
        paths = self._segments()
        newest_ns = time_in(paths[0]) if paths else 0
        for path in paths:
            lines = listed(path) if len(found.seen) < window_entries else []
            in_window = time_in(path) >= newest_ns - window_ns and len(found.seen) < window_entries
            if lines:
                self._take(path, lines, found)
            elif path == paths[0] or (in_window and found.read_bytes < READ_BYTES):
                self._look_into(path, found, now_ns)
            else:
                self._take_as_it_is(path, found)
        found.last_id_ns = newest_ns
        self._drop_orphans()
        return found

    def _drop_early_halves(self) -> None:
        """Remove halves whose whole is still there: halving ended in the middle, and nobody has seen them."""
        for path in self._segments():
            whole = whole_of(path)
            if whole is not None and whole.exists():
                discard(path, self._disk)

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SEGMENT_SUFFIX}"), key=lambda path: order_of(path.stem), reverse=True)

    def _take(self, path: Path, lines: list[Line], found: Recovered) -> None:
        found.segments.append(describe(path, lines, self._sealing))
        for seen in seen_of(lines):
            found.seen.setdefault(seen.key, seen.received_ns)

    def _look_into(self, path: Path, found: Recovered, now_ns: int) -> None:
        """Mend the segment at *path*, which is not covered by its index.

        Bodies that a newer segment holds as well are left out: they were refused here, and sent again. A segment that the
        disk does not let be mended is offered as it is: before it is loaded that is tried again.
        """
        found.read_bytes += path.stat().st_size
        try:
            lines = mend_logged(
                path, self._quarantine, self._disk, now_ns, self._sealing, lambda line: line.key in found.seen
            )
        except OSError as error:
            logger.error("segment %s could not be mended yet: %s", path.name, error)
            self._take_as_it_is(path, found)
        else:
            if lines:
                self._take(path, lines, found)

    def _take_as_it_is(self, path: Path, found: Recovered) -> None:
        segment = as_it_is(path, self._sealing)
        if segment.bytes:
            found.segments.append(segment)
        else:
            discard(path, self._disk)

    def _drop_orphans(self) -> None:
        for path in self._folder.glob(f"*{index.SUFFIX}"):
            if not path.with_suffix(SEGMENT_SUFFIX).exists():
                self._disk.unlink(path)


def mend_logged(
    path: Path,
    quarantine: Quarantine,
    disk: Disk,
    now_ns: int,
    sealing: Sealing,
    superfluous: Callable[[Line], bool],
) -> list[Line]:
    """Mend the segment at *path*, say what was taken out, and return the records that are left. Raises OSError."""
    mended = mend(path, quarantine, disk, now_ns, sealing, superfluous)
    _report(path, mended)
    return mended.lines


def _report(path: Path, mended: Mended) -> None:
    for damage in mended.damages:
        what = "a torn tail, never acknowledged," if damage.torn else "damaged"
        logger.error(
            "segment %s: %s bytes at %s (%s) were moved to quarantine: %s; %s records are intact",
            path.name,
            damage.length,
            damage.offset,
            what,
            damage.reason,
            len(mended.lines),
        )


def seen_of(lines: Iterable[Line]) -> list[Seen]:
    """Return by what the bodies of *lines* are recognised when they are sent again."""
    return [Seen(line.received_ns, line.key) for line in lines]
