"""One segment of a journal on disk: its file, its sidecar index, and how both are read and mended."""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.quarantine import Quarantine
from controltower.tracer.journal.records import Damage, Record, scan

SEGMENT_SUFFIX: Final = ".otlp"
INDEX_SUFFIX: Final = ".index"

_ENTRY: Final = struct.Struct("<QIIQ32sH")  # offset, length, checksum, received, digest, bytes of the tenant
_CHECK: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A closed segment, ready to be loaded; its id is also the token under which it is loaded once."""

    id: str
    path: Path
    bytes: int
    records: int  # 0 when nobody counted them: an old segment of an earlier run
    oldest_received_ns: int
    newest_received_ns: int

    def open(self) -> BinaryIO:
        """Open its messages for reading: length and message, back to back. Raises OSError."""
        return self.path.open("rb")


def index_path(segment: Path) -> Path:
    """Return where the index of *segment* is."""
    return segment.with_suffix(INDEX_SUFFIX)


def time_in(segment: Path) -> int:
    """Return the time in the name of *segment*: when it was begun."""
    digits = segment.stem.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def describe(path: Path, records: Sequence[Record]) -> SegmentFile:
    """Return the closed segment at *path* that holds *records* (at least one)."""
    times = [record.received_ns for record in records]
    return SegmentFile(path.stem, path, records[-1].end, len(records), min(times), max(times))


def as_it_is(path: Path) -> SegmentFile:
    """Return the segment at *path* without looking into it."""
    return SegmentFile(path.stem, path, path.stat().st_size, 0, time_in(path), time_in(path))


def index_entry(record: Record) -> bytes:
    """Encode *record* for the sidecar index, with a checksum of its own."""
    tenant = record.tenant.encode()
    entry = (
        _ENTRY.pack(record.offset, record.length, record.checksum, record.received_ns, record.digest, len(tenant))
        + tenant
    )
    return entry + _CHECK.pack(zlib.crc32(entry))


def read_index(data: bytes) -> list[Record]:
    """Return the records that an index lists, up to its end or its first damaged entry."""
    records: list[Record] = []
    position = 0
    while position + _ENTRY.size + _CHECK.size <= len(data):
        offset, length, checksum, received_ns, digest, tenant_bytes = _ENTRY.unpack_from(data, position)
        end = position + _ENTRY.size + tenant_bytes
        if end + _CHECK.size > len(data) or _CHECK.unpack_from(data, end)[0] != zlib.crc32(data[position:end]):
            break
        tenant = data[position + _ENTRY.size : end].decode(errors="replace")
        records.append(Record(offset, length, checksum, received_ns, tenant, digest))
        position = end + _CHECK.size
    return records


def listed(segment: Path) -> list[Record]:
    """Return the records of *segment* by its index; empty when the index does not cover the segment exactly."""
    try:
        records = read_index(index_path(segment).read_bytes())
    except OSError:
        return []
    end = 0
    for record in records:
        if record.offset != end:
            return []
        end = record.end
    return records if end == segment.stat().st_size else []


@dataclass(frozen=True, slots=True)
class Mended:
    """What a segment holds after it was read in full, and what had to be taken out."""

    records: list[Record]
    damages: list[Damage]


def mend(
    segment: Path,
    quarantine: Quarantine,
    disk: Disk,
    now_ns: int,
    superfluous: Callable[[Record], bool] = lambda _: False,
) -> Mended:
    """Read *segment*, move bytes that hold no verified record to *quarantine*, and write the index anew.

    Records that are *superfluous* are left out. Doing it twice, also after dying in the middle, gives the same files. A segment without any intact record is
    removed. Raises OSError, with the segment as it was.
    """
    data = segment.read_bytes()
    found = list(scan(data))
    damages = [part for part in found if isinstance(part, Damage)]
    records = [part for part in found if isinstance(part, Record) and not superfluous(part)]
    for damage in damages:
        name = f"{segment.stem}-{damage.offset}.{'torn' if damage.torn else 'damaged'}"
        quarantine.put(name, data[damage.offset : damage.end], damage.reason, now_ns)
    if len(records) < len(found) and records:
        disk.replace(segment, b"".join(data[record.offset : record.end] for record in records))
        records = _closed_up(records)
    if records:
        _write_index(segment, records, disk)
    else:
        discard(segment, disk)
    return Mended(records, damages)


def _write_index(segment: Path, records: Sequence[Record], disk: Disk) -> None:
    disk.replace(index_path(segment), b"".join(map(index_entry, records)), synced=False)


def halve(segment: SegmentFile, disk: Disk) -> list[SegmentFile]:
    """Write the two halves of *segment* as segments that sort where it does, and remove it; raises OSError.

    A single record cannot be halved: then nothing is done, and nothing returned.

    The names follow from its name: done again after dying in the middle, it gives the same segments.
    """
    records = records_of(segment.path)
    if len(records) < 2:
        return []
    middle = len(records) // 2
    data = segment.path.read_bytes()
    halves = []
    for name, part in (("a", records[:middle]), ("b", records[middle:])):
        path = segment.path.with_name(f"{segment.id}-{name}{SEGMENT_SUFFIX}")
        moved = _closed_up(part)
        disk.replace(path, data[part[0].offset : part[-1].end])
        _write_index(path, moved, disk)
        halves.append(describe(path, moved))
    discard(segment.path, disk)
    return halves


def records_of(segment: Path) -> list[Record]:
    """Return the intact records of *segment*, from its index or else from itself."""
    return listed(segment) or [part for part in scan(segment.read_bytes()) if isinstance(part, Record)]


def _closed_up(records: Iterable[Record]) -> list[Record]:
    """Return *records* at the offsets they have when nothing lies between them."""
    moved: list[Record] = []
    end = 0
    for record in records:
        moved.append(replace(record, offset=end))
        end += record.length
    return moved


def discard(segment: Path, disk: Disk) -> None:
    """Remove *segment* and its index."""
    disk.unlink(segment)
    disk.unlink(index_path(segment))
