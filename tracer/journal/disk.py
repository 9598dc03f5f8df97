"""The system calls of the journal in one place, so that a test can make any of them fail, or stop at any of them."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

# "There is no room": an ordinary state that passes, unlike an input/output error.
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700


class Disk:
    """The real disk. Every method blocks and raises OSError."""

    # Each of these is one system call that changes something.

    def create(self, path: Path) -> int:
        """Create *path* for appending, readable by its owner only; it must not exist."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)

    def append_to(self, path: Path) -> int:
        """Open *path* for appending, creating it when missing, readable by its owner only."""
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)

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

    def rename(self, path: Path, target: Path) -> None:
        """Give *path* the name *target* on the same volume, in place of what has it."""
        os.replace(path, target)

    def unlink(self, path: Path) -> None:
        """Remove *path*; it may be gone already."""
        path.unlink(missing_ok=True)

    def make_folder(self, folder: Path) -> None:
        """Create *folder* with its parents, for its owner only; it may be there already."""
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)  # with `parents` they would be open to everybody

    # These are made of the ones above, or change nothing.

    def replace(self, path: Path, data: bytes, *, synced: bool = True) -> None:
        """Give *path* the content *data* in one step: the old or the new content is there, never a part.

        Without *synced* a power cut may take it back; that is for what can be made again.
        """
        draft = path.with_name(path.name + ".tmp")
        self.unlink(draft)
        descriptor = self.create(draft)
        try:
            self.write(descriptor, data)
            if synced:
                self.sync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # half a draft takes room that is missing; a start removes it, too
                self.unlink(draft)
            raise
        finally:
            self.close(descriptor)
        self.rename(draft, path)
        if synced:
            self.sync_folder(path.parent)

    def move(self, path: Path, target: Path) -> None:
        """Give *path* the name *target* on the same volume, durably."""
        self.rename(path, target)
        self.sync_folder(target.parent)

    def free(self, folder: Path) -> int:
        """Return how many bytes are free for this user on the volume of *folder*."""
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    def private_folder(self, folder: Path) -> None:
        """Make sure that *folder* is there, with its parents, and that nobody but its owner may look into it."""
        if folder.is_dir():
            if folder.stat().st_mode & 0o077:
                folder.chmod(PRIVATE_FOLDER)
            return
        self.make_folder(folder)
        with contextlib.suppress(OSError):  # the parent may belong to somebody else; then its names are their care
            self.sync_folder(folder.parent)
