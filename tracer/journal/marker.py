"""The mark in a journal's folder that says by which version of the format it was written."""

import logging
import re
import zlib
from pathlib import Path
from typing import Final

from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.errors import JournalFormatError

logger = logging.getLogger(__name__)

# 1: no mark; the index held the tenant and the plain digest. 2: records can be encrypted, the index holds a key of 16 bytes.
# Version 2 reads segments and digests of version 1; an index that it does not know is made again.
FORMAT: Final = 2
NAME: Final = "format"

_TEXT: Final = re.compile(rb"(controltower journal, format (\d{1,9}), )([0-9a-f]{8})\n")


class Marker:
    """The mark of one folder."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._disk = disk

    def check(self) -> bool:
        """Return whether the mark is that of this program; JournalFormatError when a later one wrote the folder.

        A mark that is missing or damaged is no reason not to start: segments tell themselves what they are.
        """
        try:
            text = self._path.read_bytes()
        except OSError:
            return False
        match = _TEXT.fullmatch(text)
        if match is None or int(match[3], 16) != zlib.crc32(match[1]):
            logger.warning("the mark %s is damaged and is written again", self._path)
            return False
        found = int(match[2])
        if found > FORMAT:
            raise JournalFormatError(self._folder, found, FORMAT)
        return found == FORMAT

    def write(self) -> None:
        """Write the mark; a disk without room for it does not keep the journal from being loaded."""
        text = b"controltower journal, format %d, " % FORMAT
        try:
            self._disk.replace(self._path, b"%s%08x\n" % (text, zlib.crc32(text)), synced=False)
        except OSError as error:
            logger.warning("the mark %s could not be written: %s", self._path, error)
