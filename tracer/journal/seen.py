"""Which bodies were stored lately, so that one that is sent again is acknowledged and not stored twice.

A client that saw no answer sends the same bytes again, up to eight times in seven seconds, and the Collector's
exporter for five minutes. The window is longer than that, and bounded in number, so that memory is, too. While a process
runs it is measured by the monotonic clock: a clock that is set must not make it forget. At a start only the clock of the
wall is there; then twice the window is kept.
"""

import struct
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.index import decode_lines, index_path, listed
from controltower.tracer.journal.sealing import KEY_BYTES

SUFFIX: Final = ".seen"
OWED_SUFFIX: Final = ".owed"  # the index of a removed segment, whose digests there was no room to note

_ENTRY: Final = struct.Struct(f"<Q{KEY_BYTES}s")
_CHECK: Final = struct.Struct("<I")
_ENTRY_BYTES: Final = _ENTRY.size + _CHECK.size

# A file of digests is dropped as a whole; this many entries are 460 kB and a part of the window.
ENTRIES_PER_FILE: Final = 16_384


class Seen(NamedTuple):
    """A body that was stored."""

    received_ns: int
    key: bytes


class SeenWindow:
    """The bodies of the last *window_s*, at most *limit*; the oldest are forgotten first."""

    def __init__(self, window_s: float, limit: int) -> None:
        self._window_s = window_s
        self._limit = limit
        self._stored: OrderedDict[bytes, tuple[int, float]] = OrderedDict()  # key -> received, when it was added

    def __len__(self) -> int:
        return len(self._stored)

    def holds(self, keys: Sequence[bytes]) -> bool:
        """Whether a body that is recognised by any of *keys* was stored."""
        return keys[0] in self._stored or any(key in self._stored for key in keys[1:])

    def stored_after(self, key: bytes, received_ns: int) -> bool:
        """Whether the body was stored again by a request that was received after *received_ns*."""
        known = self._stored.get(key)
        return known is not None and known[0] > received_ns

    def add(self, seen: Seen, now_s: float) -> None:
        """Remember *seen*, and forget what left the window."""
        self._stored[seen.key] = (seen.received_ns, now_s)
        while len(self._stored) > self._limit or self._oldest_s() < now_s - self._window_s:
            self._stored.popitem(last=False)
            if not self._stored:
                break

    def _oldest_s(self) -> float:
        return next(iter(self._stored.values()))[1]


class SeenFiles:
    """The digests of removed segments on disk (``*.seen``), kept until the window has passed. Not synchronized."""

    def __init__(self, folder: Path, disk: Disk, window_ns: int, limit: int) -> None:
        self._folder = folder
        self._disk = disk
        self._kept_ns = 2 * window_ns
        self._limit = limit
        self._current: Path | None = None
        self._entries = 0
        self._unwritten: deque[Seen] = deque(maxlen=limit)  # that nothing on the disk stands for, until there is room
        self._unwritten_of = ""  # the last segment that they are of

    def load(self, now_ns: int) -> list[Seen]:
        """Return what the files hold of the window before *now_ns*, or before the newest entry if that is older."""
        entries = [entry for path in self._files() for entry in _read(path.read_bytes())]
        entries += [entry for path in self._owed() for entry in _owed_by(path)]
        since_ns = self._since(max((entry.received_ns for entry in entries), default=now_ns), now_ns)
        return [entry for entry in entries if entry.received_ns >= since_ns][-self._limit :]

    def owe(self, segment: Path, entries: Sequence[Seen]) -> bool:
        """Keep the index of *segment*, which is to be removed, in place of its *entries*: another name needs no room.

        Returns whether it stands for all of them; if not, they are remembered until there is room. Raises OSError.
        """
        covers = bool(listed(segment))
        if not covers:
            self._unwritten.extend(entries)
            self._unwritten_of = segment.stem
        if index_path(segment).exists():
            self._disk.rename(index_path(segment), segment.with_suffix(OWED_SUFFIX))
        return covers

    def settle(self, now_ns: int) -> None:
        """Note the digests that are owed, now that there may be room. Raises OSError."""
        if self._unwritten:
            self.add(self._unwritten, self._unwritten_of, now_ns)
            self._unwritten.clear()
        for path in self._owed():
            self.add(_owed_by(path), path.stem, now_ns)
            self._disk.unlink(path)

    def add(self, entries: Iterable[Seen], name: str, now_ns: int) -> None:
        """Append *entries* durably; *name* names a new file if one is due. Raises OSError."""
        data = b"".join(_encode(entry) for entry in entries)
        starts = self._current is None or self._entries >= ENTRIES_PER_FILE
        if starts:
            self._start(name, now_ns)
        assert self._current is not None
        path, self._current = self._current, None  # what follows a torn entry must not stand in its file
        descriptor = self._disk.append_to(path)
        try:
            self._disk.write(descriptor, data)
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        if starts:
            self._disk.sync_folder(self._folder)
        self._current = path
        self._entries += len(data) // _ENTRY_BYTES

    def _start(self, name: str, now_ns: int) -> None:
        self._expire(now_ns)
        self._current, self._entries = self._folder / f"{name}{SUFFIX}", 0

    def _expire(self, now_ns: int) -> None:
        """Remove the files that time or number has pushed out of the window."""
        kept = 0
        since_ns: int | None = None
        for path in reversed(self._files()):
            newest = max((entry.received_ns for entry in _read(path.read_bytes())), default=0)
            since_ns = self._since(newest, now_ns) if since_ns is None else since_ns
            if kept > self._limit or newest < since_ns:
                self._disk.unlink(path)
            else:
                kept += path.stat().st_size // _ENTRY_BYTES

    def _since(self, newest_ns: int, now_ns: int) -> int:
        return min(newest_ns, now_ns) - self._kept_ns

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SUFFIX}"))

    def _owed(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{OWED_SUFFIX}"))


def _owed_by(path: Path) -> list[Seen]:
    return [Seen(line.received_ns, line.key) for line in decode_lines(path.read_bytes())]


def _encode(seen: Seen) -> bytes:
    entry = _ENTRY.pack(seen.received_ns, seen.key)
    return entry + _CHECK.pack(zlib.crc32(entry))


def _read(data: bytes) -> Iterator[Seen]:
    """Yield the intact entries; they are of one size, so one that is damaged hides no other."""
    for offset in range(0, len(data) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        entry = data[offset : offset + _ENTRY.size]
        if _CHECK.unpack_from(data, offset + _ENTRY.size)[0] == zlib.crc32(entry):
            yield Seen(*_ENTRY.unpack(entry))
