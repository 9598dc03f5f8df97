"""What a journal's folder holds when it is opened, with what a crash left behind mended.

Opening must be quick with a backlog of days: only the segments of the window in which bodies are recognised are looked
into. Older ones are offered as they are; each is read against its checksums before it is loaded anyway.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.quarantine import Quarantine
from controltower.tracer.journal.records import Record
from controltower.tracer.journal.seen import Seen, dedup_key
from controltower.tracer.journal.segment import (
    INDEX_SUFFIX,
    SEGMENT_SUFFIX,
    Mended,
    SegmentFile,
    as_it_is,
    describe,
    discard,
    listed,
    mend,
    time_in,
)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """The segments of a folder, the bodies in the newer ones, and the newest time in their names."""

    segments: list[SegmentFile] = field(default_factory=list)
    seen: dict[bytes, int] = field(default_factory=dict)  # key -> received
    last_id_ns: int = 0


def recover(
    folder: Path, quarantine: Quarantine, disk: Disk, now_ns: int, window_ns: int, window_entries: int
) -> Recovered:
    """Read what *folder* holds, the newest first.

    A segment whose index covers it is taken as it is; any other in the window is read and mended.
    """
    for draft in (*folder.glob("*.tmp"), *quarantine.folder.glob("*.tmp")):
        disk.unlink(draft)
    for path in quarantine.asked_for():
        quarantine.give_back(path, SEGMENT_SUFFIX)
    found = Recovered()
    paths = sorted(folder.glob(f"*{SEGMENT_SUFFIX}"), reverse=True)
    for path in paths:
        in_window = time_in(path) >= now_ns - window_ns and len(found.seen) < window_entries
        if in_window or path == paths[0]:
            _look_into(path, found, quarantine, disk, now_ns)
        else:
            _take_as_it_is(path, found, disk)
    found.last_id_ns = max(map(time_in, paths), default=0)
    _drop_orphans(folder, disk)
    return found


def _look_into(path: Path, found: Recovered, quarantine: Quarantine, disk: Disk, now_ns: int) -> None:
    records = listed(path) or mend_logged(path, quarantine, disk, now_ns, found.seen)
    if records:
        found.segments.append(describe(path, records))
        found.seen.update((seen.key, seen.received_ns) for seen in seen_of(records))


def _take_as_it_is(path: Path, found: Recovered, disk: Disk) -> None:
    segment = as_it_is(path)
    if segment.bytes:
        found.segments.append(segment)
    else:
        discard(path, disk)


def mend_logged(
    path: Path, quarantine: Quarantine, disk: Disk, now_ns: int, stored_later: dict[bytes, int] | None = None
) -> list[Record]:
    """Mend the segment at *path*, say what was taken out, and return the records that are left.

    Bodies that were *stored_later* as well are left out: they were refused here, and sent again. When the disk does not
    let it be mended (it may be full), the segment stays as it is and is not offered.
    """
    later = stored_later or {}
    try:
        mended = mend(path, quarantine, disk, now_ns, lambda record: key_of(record) in later)
    except OSError as error:
        logger.error("segment %s could not be mended and is left for the next start: %s", path.name, error)
        return []
    _report(path, mended)
    return mended.records


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
            len(mended.records),
        )


def seen_of(records: list[Record]) -> list[Seen]:
    """Return by what the bodies of *records* are recognised when they are sent again."""
    return [Seen(record.received_ns, key_of(record)) for record in records]


def key_of(record: Record) -> bytes:
    """Return by what the body of *record* is recognised."""
    return dedup_key(record.tenant, record.digest)


def _drop_orphans(folder: Path, disk: Disk) -> None:
    for index in folder.glob(f"*{INDEX_SUFFIX}"):
        if not index.with_suffix(SEGMENT_SUFFIX).exists():
            disk.unlink(index)
