"""What was received and is not acknowledged yet: files of lines, each line synced before the next one of its sender is taken."""

import logging
import os
import threading
from pathlib import Path
from typing import Final

from controltower.tracer.journal.disk import Disk

logger = logging.getLogger(__name__)

FILE_BYTES: Final = 16 * 1024 * 1024
PATTERN: Final = "*.received"


class Spool:
    """Files that grow at their end and are removed when all of them was acknowledged. Safe to use from several threads."""

    def __init__(self, folder: Path, most_bytes: int, now_ns: int, disk: Disk | None = None) -> None:
        """Go on in *folder*, which holds *most_bytes* at most. Raises OSError."""
        self._folder = folder
        self._most = most_bytes
        self._disk = disk or Disk()
        self._disk.private_folder(folder)
        self._lock = threading.Lock()
        self._sizes = {path.name: path.stat().st_size for path in sorted(folder.glob(PATTERN))}
        self._serial = now_ns  # a new process begins a new file: the last one can end within a line
        self._name = ""

    @property
    def pattern(self) -> str:
        """What finds the files."""
        return str(self._folder / PATTERN)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be taken."""
        with self._lock:
            return sum(self._sizes.values()) + size <= self._most

    def append(self, lines: bytes) -> None:
        """Write whole lines and return when they are on the disk. Raises OSError; half a line is then no line."""
        with self._lock:
            name = self._name
            if not name or self._sizes[name] >= FILE_BYTES:
                self._serial += 1
                name = self._name = f"{self._serial:020d}{PATTERN[1:]}"
                self._sizes[name] = 0
            descriptor = self._disk.append_to(self._folder / name)
            try:
                self._disk.write(descriptor, lines)
                self._disk.sync(descriptor)
                self._sizes[name] = os.fstat(descriptor).st_size
            except OSError:
                self._name = ""  # what was half written there is ended by nothing; the next lines stand elsewhere
                raise
            finally:
                self._disk.close(descriptor)

    def forget(self, read: dict[str, int]) -> None:
        """Remove files of which all was acknowledged: *read* says of each path how far."""
        for path, offset in read.items():
            name = os.path.basename(path)
            with self._lock:
                if name == self._name or name not in self._sizes or offset < self._sizes[name]:
                    continue
                self._disk.unlink(self._folder / name)
                del self._sizes[name]
