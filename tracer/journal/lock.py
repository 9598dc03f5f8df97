"""One process per journal: a lock that ends with the process that holds it (POSIX)."""

import contextlib
import fcntl
import os
from pathlib import Path

from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.errors import JournalLockedError


class FolderLock:
    """The lock file of a folder, held from construction to ``release``; JournalLockedError when another has it."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._disk = disk
        self._path = folder / "lock"
        self._descriptor = disk.append_to(self._path)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip()
            self.release()
            raise JournalLockedError(folder, holder) from None
        except OSError:
            self.release()
            raise
        with contextlib.suppress(OSError):  # who holds it is a courtesy that a full disk may refuse
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())

    @property
    def stands(self) -> bool:
        """Whether the file that is locked is still the folder's: one that was removed locks nobody out."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let another process have the folder; a second call does nothing."""
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
            self._descriptor = -1
