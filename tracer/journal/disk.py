"""The system calls of the journal in one place, so that a test can make any of them fail."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

# "There is no room": an ordinary state that passes, unlike an input/output error.
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Disk:
    """The real disk. Every method blocks and raises OSError."""

    def create(self, path: Path) -> int:
        """Create *path* for appending, readable by its owner only; it must not exist."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append_to(self, path: Path) -> int:
        """Open *path* for appending, creating it when missing, readable by its owner only."""
        return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of *data*."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Return when what was written is on the disk."""
        os.fsync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in *folder* are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def truncate(self, path: Path, length: int) -> None:
        """Cut *path* to *length* bytes."""
        os.truncate(path, length)

    def close(self, descriptor: int) -> None:
        """Close *descriptor*; nothing is synced."""
        os.close(descriptor)

    def replace(self, path: Path, data: bytes, *, synced: bool = True) -> None:
        """Give *path* the content *data* in one step: the old or the new content is there, never a part.

        Without *synced* a power cut may take it back; that is for what can be made again.
        """
        draft = path.with_name(path.name + ".tmp")
        draft.unlink(missing_ok=True)
        descriptor = self.create(draft)
        try:
            self.write(descriptor, data)
            if synced:
                self.sync(descriptor)
        finally:
            self.close(descriptor)
        os.replace(draft, path)
        if synced:
            self.sync_folder(path.parent)

    def move(self, path: Path, target: Path) -> None:
        """Give *path* the name *target* on the same volume."""
        os.replace(path, target)
        self.sync_folder(target.parent)

    def unlink(self, path: Path) -> None:
        """Remove *path*; it may be gone already."""
        path.unlink(missing_ok=True)


def private_folder(folder: Path) -> None:
    """Create *folder* with its parents; nobody but the owner may look into it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    with contextlib.suppress(OSError):  # the parent may belong to somebody else; then its names are their care
        Disk().sync_folder(folder.parent)
