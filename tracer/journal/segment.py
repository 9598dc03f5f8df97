"""One segment of a journal on disk: its file and its sidecar index, and how both are read, mended and halved."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from controltower.tracer.journal.contents import Line, plain_segment, read_lines
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.index import LINE_BYTES, encode_lines, index_path, listed
from controltower.tracer.journal.quarantine import Quarantine
from controltower.tracer.journal.records import Damage, Record, message_of, scan
from controltower.tracer.journal.sealing import KEY_ID_BYTES, PLAIN, Sealing, key_needed, sealed_in

SEGMENT_SUFFIX: Final = ".otlp"

_HEAD_BYTES: Final = 64  # enough to see whether a segment is encrypted


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A closed segment, ready to be loaded; its id is also the token under which it is loaded once."""

    id: str
    path: Path
    bytes: int
    records: int  # 0 when nobody counted them: an old segment of an earlier run
    oldest_received_ns: int
    newest_received_ns: int
    sealing: Sealing = field(default=PLAIN, repr=False, compare=False)

    @property
    def disk_bytes(self) -> int:
        """What the segment takes on the disk together with its index."""
        return self.bytes + LINE_BYTES * self.records

    def open(self) -> BinaryIO:
        """Open its messages for reading, decrypted: length and message, back to back.

        Call it after ``Journal.verify``. Raises OSError, SegmentDamagedError when it was damaged since, JournalKeyError.
        """
        file = self.path.open("rb")
        try:
            head = file.read(_HEAD_BYTES)
            file.seek(0)
            if key_needed(head) is None:
                return file
            with file:
                return io.BytesIO(plain_segment(file.read(), self.id, self.sealing))
        except BaseException:
            file.close()
            raise


def order_of(name: str) -> tuple[int, str]:
    """Return by what segments are sorted: when they were begun, as a number, whatever its digits."""
    time_ns, _, rest = name.partition("-")
    return (int(time_ns) if time_ns.isdecimal() else 0), rest


def time_in(segment: Path) -> int:
    """Return the time in the name of *segment*: when it was begun."""
    return order_of(segment.stem)[0]


def missing_keys(segment: Path, sealing: Sealing) -> set[str]:
    """Return the ids of the keys that intact records of *segment* need and *sealing* has not.

    The whole segment is read only when its beginning asks for a key that is not there: that can be damage, too.
    """
    try:
        with segment.open("rb") as file:
            key_id = key_needed(file.read(_HEAD_BYTES))
            if key_id is None or sealing.knows(key_id):
                return set()
            file.seek(0)
            data = file.read()
    except OSError:
        return set()
    messages = (message_of(data, part) for part in scan(data) if isinstance(part, Record))
    needed = {sealed[:KEY_ID_BYTES].hex() for sealed in map(sealed_in, messages) if sealed is not None}
    return {key_id for key_id in needed if not sealing.knows(key_id)}


def describe(path: Path, lines: Sequence[Line], sealing: Sealing) -> SegmentFile:
    """Return the closed segment at *path* that holds *lines* (at least one)."""
    times = [line.received_ns for line in lines]
    return SegmentFile(path.stem, path, lines[-1].end, len(lines), min(times), max(times), sealing)


def as_it_is(path: Path, sealing: Sealing) -> SegmentFile:
    """Return the segment at *path* without looking into it. Raises OSError."""
    return SegmentFile(path.stem, path, path.stat().st_size, 0, time_in(path), time_in(path), sealing)


def lines_of(segment: Path, sealing: Sealing) -> list[Line]:
    """Return the intact records of *segment*, from its index or else from itself. Raises OSError."""
    return listed(segment) or [
        part for part in read_lines(segment.read_bytes(), segment.stem, sealing) if isinstance(part, Line)
    ]


@dataclass(frozen=True, slots=True)
class Mended:
    """What a segment holds after it was read in full, and what had to be taken out."""

    lines: list[Line]
    damages: list[Damage]


def mend(
    segment: Path,
    quarantine: Quarantine,
    disk: Disk,
    now_ns: int,
    sealing: Sealing,
    superfluous: Callable[[Line], bool] = lambda _: False,
) -> Mended:
    """Read *segment*, move bytes that hold no verified record to *quarantine*, and write the index anew.

    Records that are *superfluous* are left out. Doing it twice, also after dying in the middle, gives the same files. A
    segment without any intact record is removed. Raises OSError, JournalKeyError, with the segment as it was.
    """
    data = segment.read_bytes()
    found = list(read_lines(data, segment.stem, sealing))
    damages = [part for part in found if isinstance(part, Damage)]
    lines = [part for part in found if isinstance(part, Line) and not superfluous(part)]
    for damage in damages:
        name = f"{segment.stem}-{damage.offset}.{'torn' if damage.torn else 'damaged'}"
        quarantine.put(name, data[damage.offset : damage.end], damage.reason, now_ns)
    if len(lines) < len(found) and lines:
        disk.replace(segment, b"".join(data[line.offset : line.end] for line in lines))
        lines = _closed_up(lines)
    if lines:
        _write_index(segment, lines, disk)
    else:
        discard(segment, disk)
    return Mended(lines, damages)


def _write_index(segment: Path, lines: Sequence[Line], disk: Disk) -> None:
    """Write the index; without room for it the segment is read again instead."""
    try:
        disk.replace(index_path(segment), encode_lines(lines), synced=False)
    except OSError:
        disk.unlink(index_path(segment))


_HALVES: Final = ("-a", "-b")


def whole_of(half: Path) -> Path | None:
    """Return where the segment would be of which *half* is a half, None when it is none."""
    if not half.stem.endswith(_HALVES):
        return None
    return half.with_name(half.stem[: -len(_HALVES[0])] + SEGMENT_SUFFIX)


def halve(segment: SegmentFile, disk: Disk) -> list[SegmentFile]:
    """Write the two halves of *segment* as segments that sort where it does, and remove it; raises OSError.

    A single record cannot be halved: then nothing is done, and nothing returned.

    The names follow from its name: done again after dying in the middle, it gives the same segments.
    """
    lines = lines_of(segment.path, segment.sealing)
    if len(lines) < 2:
        return []
    middle = len(lines) // 2
    data = segment.path.read_bytes()
    halves = []
    for name, part in zip(_HALVES, (lines[:middle], lines[middle:]), strict=True):
        path = segment.path.with_name(f"{segment.id}{name}{SEGMENT_SUFFIX}")
        moved = _closed_up(part)
        disk.replace(path, data[part[0].offset : part[-1].end])
        _write_index(path, moved, disk)
        halves.append(describe(path, moved, segment.sealing))
    discard(segment.path, disk)
    disk.sync_folder(segment.path.parent)  # or a power cut brings the whole one back beside its halves
    return halves


def _closed_up(lines: Iterable[Line]) -> list[Line]:
    """Return *lines* at the offsets they have when nothing lies between them."""
    moved: list[Line] = []
    end = 0
    for line in lines:
        moved.append(line.at(end))
        end += line.length
    return moved


def discard(segment: Path, disk: Disk) -> None:
    """Remove *segment* and its index."""
    disk.unlink(segment)
    disk.unlink(index_path(segment))
