"""Which bodies were stored lately, so that one that is sent again is acknowledged and not stored twice.

A client that saw no answer sends the same bytes again, up to eight times in seven seconds, and the Collector's
exporter for five minutes. The window is longer than that, and bounded in number, so that memory is, too.
"""

import hashlib
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from controltower.tracer.journal.disk import Disk

KEY_BYTES: Final = 16  # of a SHA-256: no two bodies share it by accident
_ENTRY: Final = struct.Struct(f"<Q{KEY_BYTES}s")
_CHECK: Final = struct.Struct("<I")
_ENTRY_BYTES: Final = _ENTRY.size + _CHECK.size

# A file of digests is dropped as a whole; this many entries are 460 kB and a part of the window.
ENTRIES_PER_FILE: Final = 16_384


class Seen(NamedTuple):
    """A body that was stored."""

    received_ns: int
    key: bytes


def dedup_key(tenant: str, digest: bytes) -> bytes:
    """Return what identifies a body of *tenant* with this SHA-256; two tenants may send the same bytes."""
    return hashlib.sha256(tenant.encode() + b"\0" + digest).digest()[:KEY_BYTES]


class SeenWindow:
    """The bodies of the last *window_ns*, at most *limit*; the oldest are forgotten first."""

    def __init__(self, window_ns: int, limit: int) -> None:
        self._window_ns = window_ns
        self._limit = limit
        self._received: OrderedDict[bytes, int] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._received

    def __len__(self) -> int:
        return len(self._received)

    def add(self, seen: Seen, now_ns: int) -> None:
        """Remember *seen*, and forget what left the window."""
        self._received[seen.key] = seen.received_ns
        while len(self._received) > self._limit or self._oldest() < now_ns - self._window_ns:
            self._received.popitem(last=False)
            if not self._received:
                break

    def _oldest(self) -> int:
        return next(iter(self._received.values()))


class SeenFiles:
    """The digests of removed segments on disk (``*.seen``), kept until the window has passed."""

    def __init__(self, folder: Path, disk: Disk, window_ns: int, limit: int) -> None:
        self._folder = folder
        self._disk = disk
        self._window_ns = window_ns
        self._limit = limit
        self._current: Path | None = None
        self._entries = 0

    def load(self) -> Iterator[Seen]:
        """Yield what the files hold; a damaged entry ends its file."""
        for path in self._files():
            yield from _read(path.read_bytes())

    def add(self, entries: Iterable[Seen], name: str, now_ns: int) -> None:
        """Append *entries* durably; *name* names a new file if one is due. Raises OSError."""
        data = b"".join(_encode(entry) for entry in entries)
        if self._current is None or self._entries >= ENTRIES_PER_FILE:
            self._start(name, now_ns)
        assert self._current is not None
        descriptor = self._disk.append_to(self._current)
        try:
            self._disk.write(descriptor, data)
            self._disk.sync(descriptor)
        except OSError:
            self._current = None  # what follows a torn entry would not be read
            raise
        finally:
            self._disk.close(descriptor)
        self._entries += len(data) // _ENTRY_BYTES

    def _start(self, name: str, now_ns: int) -> None:
        self._expire(now_ns)
        self._current, self._entries = self._folder / f"{name}.seen", 0

    def _expire(self, now_ns: int) -> None:
        """Remove the files that time or number has pushed out of the window."""
        kept = 0
        for path in reversed(self._files()):
            newest = max((entry.received_ns for entry in _read(path.read_bytes())), default=0)
            if kept > self._limit or newest < now_ns - self._window_ns:
                self._disk.unlink(path)
            else:
                kept += path.stat().st_size // _ENTRY_BYTES

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.seen"))


def _encode(seen: Seen) -> bytes:
    entry = _ENTRY.pack(seen.received_ns, seen.key)
    return entry + _CHECK.pack(zlib.crc32(entry))


def _read(data: bytes) -> Iterator[Seen]:
    for offset in range(0, len(data) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        entry = data[offset : offset + _ENTRY.size]
        if _CHECK.unpack_from(data, offset + _ENTRY.size)[0] != zlib.crc32(entry):
            return
        yield Seen(*_ENTRY.unpack(entry))
