"""A volume whose power can be cut: a file system of its own, of which a cut leaves what it had written out.

ext4 can be shut down (``EXT4_IOC_SHUTDOWN``) without writing out its journal or its cache, as its own tests of power
loss do it. What was synced is there at the next mount, and what was not is gone, or there in part: files are empty,
short or missing. What a disk does that says "written" and lies, this does not show.
"""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

EXT4_IOC_SHUTDOWN: Final = 0x8004587D  # include/uapi/linux/ext4.h
NO_LOG_FLUSH: Final = 2
BYTES: Final = 4 * 1024**3  # the file is sparse


class NoVolumeError(Exception):
    """This machine cannot have such a volume; the message says why."""


class Volume:
    """An ext4 volume in a file, mounted at ``folder``."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image

    def mount(self) -> None:
        """Mount it, as after the power came back: the file system recovers by its journal. Raises NoVolumeError."""
        _run("mount", "-t", "ext4", "-o", "loop", str(self._image), str(self.folder))

    def write_out(self) -> None:
        """Write out what lies there: a folder that a test copied is as if the product had made it, which syncs."""
        _run("sync", "--file-system", str(self.folder))

    def cut_power(self) -> None:
        """Stop the file system where it is; every call that needs its disk fails from here on."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount it; no process may have a file open in it. Raises NoVolumeError."""
        _run("umount", str(self.folder))


@contextmanager
def volume(parent: Path) -> Iterator[Volume]:
    """Make and mount a volume below *parent* for the length of the block. Raises NoVolumeError where that cannot be."""
    image, folder = parent / "volume.ext4", parent / "volume"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(BYTES)
    _run("mkfs.ext4", "-q", "-F", str(image))
    made = Volume(image, folder)
    made.mount()
    try:
        yield made
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)
        image.unlink()


def _run(*words: str) -> None:
    if shutil.which(words[0]) is None:
        raise NoVolumeError(f"{words[0]} is not installed")
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NoVolumeError(f"{words[0]}: {done.stderr.strip()}")
