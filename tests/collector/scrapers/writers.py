"""A program that writes a log, and what rotates it, as they are met in the field; and a reader that is ended at any time."""

import gzip
import json
import os
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from backports import zstd

from controltower.collector.scrapers.definition import LogSource, parse_sources
from controltower.collector.scrapers.log import LogReader
from controltower.collector.scrapers.log_formats import LINE
from controltower.collector.scrapers.observation import Record

LATER_NS = 2 * 3600 * 10**9


class ManualClock:
    """The real time and what was added to it: files have real times."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        """Return nanoseconds since 1970."""
        return time.time_ns() + self.ahead_ns


class Log:
    """``app.log`` in a folder, and the files it was before."""

    def __init__(self, folder: Path, banner: bytes = b"") -> None:
        self.folder = folder
        self.path = folder / "app.log"
        self.banner = banner
        self.lines: list[bytes] = []  # that were written whole, without the banners
        self._half = b""
        self._descriptor = -1
        self._reopen()

    def _reopen(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        fresh = not self.path.exists()
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if fresh and self.banner:
            os.write(self._descriptor, self.banner)

    def write(self, count: int = 1, length: int = 20) -> None:
        """Write whole lines, the rest of a half one first."""
        for _ in range(count):
            if not self._half:
                self._begin(length)
            os.write(self._descriptor, self._half + b"\n")
            self._half = b""

    def write_half(self, length: int = 20) -> None:
        """Write the beginning of a line."""
        if not self._half:
            self._begin(length)
            os.write(self._descriptor, self._half[: length // 2])
            self._half = self._half[length // 2 :]

    def _begin(self, length: int) -> None:
        line = b"line %06d " % len(self.lines)
        self._half = line + b"x" * (length - len(line))
        self.lines.append(self._half)

    def rename(self) -> None:
        """Rotate as logrotate does by default; the writer goes on in the renamed file until `reopen`."""
        self._shift()
        self.path.rename(self.folder / "app.log.1")

    def reopen(self) -> None:
        """Let the writer finish its line and open the log anew."""
        if self._half:
            self.write()
        self._reopen()

    def copy_truncate(self) -> None:
        """Copy and truncate, between two lines: what falls between copy and truncation is lost by the rotation itself."""
        if self._half:
            self.write()
        self._shift()
        shutil.copy2(self.path, self.folder / "app.log.1")
        os.truncate(self.path, 0)
        if self.banner:
            os.write(self._descriptor, self.banner)

    def _shift(self) -> None:
        """Make room for a new ``app.log.1``; nothing is deleted."""
        for path in sorted(self.folder.glob("app.log.*"), key=_number, reverse=True):
            path.rename(path.with_name(path.name.replace(f".{_number(path)}", f".{_number(path) + 1}", 1)))

    def compress(self, form: str = "gz") -> None:
        """Compress the rotated files that nobody writes to, and remove them."""
        here = os.fstat(self._descriptor).st_ino
        for path in sorted(self.folder.glob("app.log.*[0-9]")):
            if path.stat().st_ino == here:
                continue
            packed = path.with_name(f"{path.name}.{form}")
            data = path.read_bytes()
            packed.write_bytes(gzip.compress(data) if form == "gz" else zstd.compress(data))
            times = path.stat()
            os.utime(packed, ns=(times.st_atime_ns, times.st_mtime_ns))
            path.unlink()

    def close(self) -> None:
        """Close the log."""
        os.close(self._descriptor)


def _number(path: Path) -> int:
    return int(path.name.split(".")[2])


def log_source(folder: Path, **options: Any) -> LogSource:
    """A source of all files in *folder* that begin with ``app.log``."""
    given: dict[str, Any] = {
        "kind": "log",
        "files": [str(folder / "app.log*")],
        "rules": [{"step": "p2p.purchase_order.created", "keys": {"purchase_order": LINE}}],
        **options,
    }
    source = parse_sources(json.dumps({"sources": {"app": given}}), "app.yaml").sources["app"]  # JSON is YAML
    assert isinstance(source, LogSource)
    return source


class Reading:
    """A reader that is saved after some batches and ended at any time.

    What was not saved counts for nothing: it is saved before it is sent.
    """

    def __init__(self, source: LogSource, clock: ManualClock) -> None:
        self._source = source
        self.clock = clock
        self.saved: dict[str, Any] | None = None
        self.places: dict[bytes, set[str]] = defaultdict(set)  # content -> the places it was read at
        self.flaws: list[str] = []
        self.caught_up = False
        self._unsaved: list[Record] = []
        self.reader = LogReader(source, clock)

    def batch(self, *, save: bool = True) -> list[Record]:
        """Read a batch, and save the position behind it."""
        records, self.caught_up = self.reader.read()
        self._unsaved += records
        if save:
            self.saved = self.reader.state()
            for record in self._unsaved:
                if record.flaw:
                    self.flaws.append(record.flaw)
                else:
                    self.places[record.content].add(record.place)
            self._unsaved.clear()
        return records

    def all(self) -> None:
        """Read to the end of what is there."""
        self.batch()
        while not self.caught_up:
            self.batch()

    def restart(self) -> None:
        """End the reader, and begin where it was saved last."""
        self.reader.close()
        self._unsaved.clear()
        self.reader = LogReader(self._source, self.clock)
        if self.saved is not None:
            self.reader.restore(self.saved)

    def close(self) -> None:
        """Close the files."""
        self.reader.close()
