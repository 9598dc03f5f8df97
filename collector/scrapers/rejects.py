"""The file of what could not become a step: when, where, and why; its text only when the source says so."""

import json
import os
from pathlib import Path
from typing import Any, Final

from controltower.collector.scrapers.errors import PositionError, Rejection
from controltower.collector.scrapers.observation import Record
from controltower.tracer.journal.disk import Disk

NAME: Final = "rejects.jsonl"
MOST_BYTES: Final = 64 * 1024 * 1024  # of one file; the one before it is kept, and what is older goes
LONGEST_TEXT: Final = 4_096  # characters that are kept of a record

Json = dict[str, Any]


class Rejects:
    """Appends to one source's file, once each: what was written behind the saved length is cut off at a start."""

    def __init__(self, folder: Path, *, keep_text: bool, disk: Disk | None = None) -> None:
        self._path = folder / NAME
        self._keep_text = keep_text
        self._disk = disk or Disk()
        self._waiting: list[bytes] = []
        self._length = 0  # up to which the file is saved; what a failed write left behind it is cut off

    @property
    def path(self) -> Path:
        """Where they are written."""
        return self._path

    def restore(self, length: int) -> None:
        """Cut the file back to the saved *length*; what lies behind it is read, and written, again."""
        self._length = length
        self._waiting.clear()
        try:
            self._cut()
        except OSError as exc:
            raise PositionError(f"{self._path} cannot be cut back: {exc.strerror}.") from exc

    def add(self, record: Record, rejection: Rejection, at: str) -> None:
        """Note one; it is on the disk after `save`."""
        entry: Json = {"at": at, "reason": rejection.reason, "detail": rejection.detail, "place": record.place}
        entry["bytes"] = len(record.content)
        if self._keep_text:
            entry["text"] = record.content[:LONGEST_TEXT].decode("utf-8", "replace")
        self._waiting.append(json.dumps(entry, ensure_ascii=False).encode() + b"\n")

    def save(self) -> int:
        """Write what was noted, durably, and return the length of the file."""
        if not self._waiting:
            return self._length
        try:
            self._cut()
            if self._length > MOST_BYTES:
                self._disk.move(self._path, self._path.with_suffix(".1.jsonl"))
                self._length = 0
            descriptor = self._disk.append_to(self._path)
            try:
                self._disk.write(descriptor, b"".join(self._waiting))
                self._disk.sync(descriptor)
                self._length = os.fstat(descriptor).st_size
            finally:
                self._disk.close(descriptor)
        except OSError as exc:
            raise PositionError(f"{self._path} cannot be written: {exc.strerror}.") from exc
        self._waiting.clear()
        return self._length

    def _cut(self) -> None:
        if self._path.exists() and self._path.stat().st_size > self._length:
            self._disk.truncate(self._path, self._length)
