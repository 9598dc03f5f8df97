"""What a journal's folder holds when it is opened, with what a crash left behind mended."""

import logging
from dataclasses import dataclass
from pathlib import Path

from controltower.tracer.journal_disk import Disk
from controltower.tracer.journal_records import Record
from controltower.tracer.journal_seen import Seen, dedup_key
from controltower.tracer.journal_segment import (
    INDEX_SUFFIX,
    SEGMENT_SUFFIX,
    Mended,
    SegmentFile,
    describe,
    listed,
    mend,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The segments of a folder in order, the bodies in them, and the newest time in their names."""

    segments: list[SegmentFile]
    seen: list[Seen]
    last_id_ns: int


def recover(folder: Path, quarantine: Path, disk: Disk, now_ns: int) -> Recovered:
    """Read what *folder* holds. A segment whose index covers it is taken as it is; any other is read and mended."""
    for draft in (*folder.glob("*.tmp"), *quarantine.glob("*.tmp")):
        disk.unlink(draft)
    segments: list[SegmentFile] = []
    seen: list[Seen] = []
    paths = sorted(folder.glob(f"*{SEGMENT_SUFFIX}"))
    for path in paths:
        records = listed(path) or mend_logged(path, quarantine, disk, now_ns)
        if records:
            segments.append(describe(path, records))
            seen.extend(seen_of(records))
    _drop_orphans(folder, disk)
    return Recovered(segments, seen, max((_time_of(path) for path in paths), default=0))


def mend_logged(path: Path, quarantine: Path, disk: Disk, now_ns: int) -> list[Record]:
    """Mend the segment at *path*, say what was taken out, and return the records that are left.

    When the disk does not let it be mended (it may be full), the segment stays as it is and is not offered.
    """
    try:
        mended = mend(path, quarantine, disk, now_ns)
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
    return [Seen(record.received_ns, dedup_key(record.tenant, record.digest)) for record in records]


def _drop_orphans(folder: Path, disk: Disk) -> None:
    for index in folder.glob(f"*{INDEX_SUFFIX}"):
        if not index.with_suffix(SEGMENT_SUFFIX).exists():
            disk.unlink(index)


def _time_of(segment: Path) -> int:
    digits = segment.stem.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0
