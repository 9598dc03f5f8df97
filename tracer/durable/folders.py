"""The folders of the processes of one service on this machine, and who works on each.

::

    <durable>/<service>/                      every process of the service
    <durable>/<service>/<time>-<pid>-<random>/
        lock                                  held by the process that works on the folder, gone with it
        steps/  others/                       a journal each
    <durable>/<service>/quarantine/           what the collector refuses for good, of folders that are gone
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from controltower.tracer.given import Given
from controltower.tracer.journal.disk import NO_ROOM, Disk
from controltower.tracer.journal.errors import JournalLockedError
from controltower.tracer.journal.lock import FolderLock
from controltower.tracer.journal.quarantine import FOLDER as QUARANTINE

MAKING_TRIES: Final = 5  # another process may take a new folder for one that was left behind


class Claim:
    """A folder that this process works on, until ``release``."""

    def __init__(self, path: Path, lock: FolderLock) -> None:
        self.path = path
        self._lock = lock

    def release(self) -> None:
        """Let another process have the folder; in a forked child, leave it to the parent. Twice is fine."""
        self._lock.release()

    def remove(self) -> None:
        """Remove the folder, keeping what is in quarantine, and let go of it. Raises OSError."""
        for kept in self.path.glob(f"*/{QUARANTINE}/*"):
            target = self.path.parent / QUARANTINE
            target.mkdir(mode=0o700, exist_ok=True)
            kept.rename(target / kept.name)
        for child in self.path.iterdir():
            if child.is_dir():
                shutil.rmtree(child)
            elif child.name != "lock":
                child.unlink()
        (self.path / "lock").unlink()  # last: without it the folder would look like one that nobody works on
        with contextlib.suppress(OSError):  # somebody has just looked into it, and will remove it
            self.path.rmdir()
        self._lock.release()


class Folders:
    """All folders of a service. Every method blocks and raises OSError."""

    def __init__(self, root: Path, service: str, disk: Disk) -> None:
        self.path = root / _file_name(service)
        self._disk = disk

    def make(self, now_ns: int) -> Claim:
        """Make a folder of this process's own."""
        self._disk.private_folder(self.path)
        for _ in range(MAKING_TRIES):
            path = self.path / f"{now_ns:020d}-{os.getpid()}-{secrets.token_hex(4)}"
            self._disk.private_folder(path)
            if (claim := self._claim(path)) is not None:
                return claim
        raise OSError(f"no folder could be made below {self.path}: others took {MAKING_TRIES} of them")

    def left_behind(self, most: int) -> list[Claim]:
        """Take over folders whose process is gone, the oldest first, at most so many."""
        found: list[Claim] = []
        for path in self._paths():
            if len(found) >= most:
                break
            if (claim := self._claim(path)) is not None:
                found.append(claim)
        return found

    def any(self) -> bool:
        """Return whether there are folders at all."""
        return bool(self._paths())

    def bytes_beside(self, own: Path | None) -> int:
        """Return what all folders but *own* take on the disk."""
        return sum(_size(path) for path in self._entries() if path != own)

    def _claim(self, path: Path) -> Claim | None:
        try:
            lock = FolderLock(path, self._disk)
        except (JournalLockedError, FileNotFoundError):
            return None
        if lock.stands:
            return Claim(path, lock)
        lock.release()  # it was removed between looking and locking
        return None

    def _paths(self) -> list[Path]:
        return [path for path in self._entries() if path.name != QUARANTINE]

    def _entries(self) -> list[Path]:
        try:
            return sorted(path for path in self.path.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []


def check_folder(given: Given) -> Path:
    """Return the folder for durable export, made if need be; SettingError when nothing can be written there, ever."""
    path = Path(given.text()).expanduser()
    if not path.is_absolute():
        raise given.refused("give an absolute path: a service and its next start must find the same folder")
    try:
        if not path.exists():  # one that is there stays as open as its owner made it
            Disk().private_folder(path)
        usable = path.is_dir() and os.access(path, os.W_OK | os.X_OK)
    except OSError as error:
        usable = error.errno in NO_ROOM  # no reason not to start: it is tried again, and counted
    if not usable:
        raise given.refused("this user cannot make that folder, or cannot write into it")
    return path


def _file_name(service: str) -> str:
    """Return *service* as the name of a folder: readable, and of its own for every service."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", service)[:48].strip(".-") or "service"
    return readable if readable == service else f"{readable}-{hashlib.sha256(service.encode()).hexdigest()[:8]}"


def _size(folder: Path) -> int:
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(entry.path))
                else:
                    yield entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # sent and removed meanwhile
        return
