"""Helpers of the journal's tests: bodies, waiting for a future, reading back what is stored, a disk that fails."""

import errno
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from controltower.tracer.journal import Cipher, Journal, JournalLimits, Receipt, digest_of, envelope
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.records import Record, fields, read_varint, scan, varint

PATIENCE_S = 20.0
# Segments are closed by size or by hand only, so that no test depends on time.
PATIENT = JournalLimits(segment_age_s=3600.0)
NOW = 1_760_000_000_000_000_000


def open_journal(
    folder: Path,
    limits: JournalLimits = PATIENT,
    *,
    disk: Disk | None = None,
    now: int = NOW,
    monotonic: Callable[[], float] = time.monotonic,
    cipher: Cipher | None = None,
) -> Journal:
    """Open a journal whose clock stands still."""
    return Journal(folder, limits, disk=disk, clock=lambda: now, monotonic=monotonic, cipher=cipher)


class Steps:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def body(name: str, size: int = 0) -> bytes:
    """Return a protobuf message that holds *name* in field 1, padded to some *size*."""
    text = name.encode() + b"." * size
    return b"\x0a" + varint(len(text)) + text


def append(journal: Journal, content: bytes, tenant: str = "acme", received_ns: int = NOW) -> Future[Receipt]:
    """Append the body *content* as the collector does."""
    message = content + envelope(received_ns, tenant)
    return journal.append(message, tenant=tenant, received_ns=received_ns, digest=digest_of(content))


def store(journal: Journal, *contents: bytes, received_ns: int = NOW) -> None:
    """Append *contents* and wait until all of them are on the disk."""
    for future in [append(journal, content, received_ns=received_ns) for content in contents]:
        future.result(PATIENCE_S)


def bodies(segment: Path) -> list[bytes]:
    """Return the bodies in *segment*, without their envelopes; any damage is a failure."""
    return bodies_in(segment.read_bytes())


def bodies_in(data: bytes) -> list[bytes]:
    """Return the bodies in the messages of a segment."""
    found = []
    for record in scan(data):
        assert isinstance(record, Record)
        _, start = read_varint(data, record.offset)
        number, at, _, end = next(fields(data, start, record.end))
        assert number == 1
        found.append(data[at:end])
    return found


def name_of(content: bytes) -> str:
    """Return the name that was given to ``body``."""
    ((_, _, start, end),) = fields(content, 0, len(content))
    return content[start:end].rstrip(b".").decode()


def stored(journal: Journal) -> list[bytes]:
    """Return the bodies in the closed segments of *journal*, in order."""
    return [content for segment in journal.closed_segments() for content in bodies(segment.path)]


class BrokenDisk(Disk):
    """A disk whose calls named in ``fails`` raise the given error number until they are taken out."""

    def __init__(self) -> None:
        self.fails: dict[str, int] = {}
        self.synced: list[int] = []

    def _may_fail(self, call: str) -> None:
        if call in self.fails:
            raise OSError(self.fails[call], errno.errorcode[self.fails[call]])

    def create(self, path: Path) -> int:
        self._may_fail("create")
        return super().create(path)

    def write(self, descriptor: int, data: bytes) -> None:
        if "write" in self.fails:  # a part arrives, as on a real disk that fills up
            super().write(descriptor, data[: len(data) // 2])
        self._may_fail("write")
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self.synced.append(descriptor)
        self._may_fail("sync")
        super().sync(descriptor)

    def truncate(self, path: Path, length: int) -> None:
        self._may_fail("truncate")
        super().truncate(path, length)
