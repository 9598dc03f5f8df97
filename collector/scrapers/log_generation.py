"""One content of a log file, from its first byte to its last, whatever name it has and wherever it was copied to.

A file that is renamed keeps its generation. One that is truncated, or whose number the system gave to another file, begins
a new one. A copy, compressed or not, is the same generation: it is recognised by the bytes at its beginning and before the
place up to which it was read.
"""

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from controltower.collector.scrapers.log_content import Content

SAMPLE_BYTES: Final = 1_024
START_BYTES: Final = 64  # of a log they hold a time

Key = tuple[int, int]
"""Device and number of a file."""


@dataclass(slots=True)
class Generation:
    """What is known of one content, and how far it was read."""

    serial: int  # in the order in which they were found: older ones are read first
    device: int
    inode: int
    path: str  # where it was last seen
    born: str = ""  # the name it was found under: with another one it was rotated
    size: int = 0  # of its file, when it was last looked at: a smaller one was truncated
    changed_ns: int = 0  # when its file was last changed, as far as that was looked into
    compression: str = ""
    id: str = ""  # what the ids of its spans are derived from; nothing before its first line is there
    offset: int = 0  # of the first byte that was not read, decompressed
    start: str = ""  # of its first bytes, so that not all files are compared with all; nothing while it is shorter
    head_bytes: int = 0  # sample of the beginning
    head: str = ""
    tail_bytes: int = 0  # sample of what lies before the offset
    tail: str = ""
    skipping: bool = False  # within a line that is too long
    done: bool = False  # compressed, and read to its end
    gone: bool = False  # its file is not there, or holds something else

    @property
    def key(self) -> Key:
        """Device and number of its file."""
        return self.device, self.inode

    def move(self, key: Key, path: str, compression: str) -> None:
        """Note where it is now."""
        if (self.key, self.compression) != (key, compression):
            self.done = False
        self.device, self.inode = key
        self.path, self.compression, self.gone = path, compression, False

    def is_in(self, content: Content) -> bool:
        """Whether *content* is this one, up to where it was read. DamagedError when a compressed one ends before."""
        if not self.offset:
            return False  # nothing was read of it: it cannot be told from others, and nothing is lost by that
        head = content.read_at(0, self.head_bytes)
        return digest(head) == self.head and (
            digest(content.read_at(self.offset - self.tail_bytes, self.tail_bytes)) == self.tail
        )

    def took(self, content_before: bytes, head: bytes | None = None) -> None:
        """Note samples after the offset moved; *content_before* ends there, and *head* is the beginning of the file."""
        tail = content_before[-SAMPLE_BYTES:]
        self.tail_bytes, self.tail = len(tail), digest(tail)
        if head is not None:
            self.head_bytes, self.head, self.start = len(head), digest(head), start_of(head)

    def state(self) -> dict[str, Any]:
        """Return it to be saved."""
        return asdict(self)


def restored(saved: dict[str, Any]) -> Generation:
    """Return what was saved."""
    return Generation(**{field.name: saved[field.name] for field in fields(Generation) if field.name in saved})


def start_of(head: bytes) -> str:
    """Return what files that begin differently do not share; nothing when *head* is too short to tell."""
    return digest(head[:START_BYTES]) if len(head) >= START_BYTES else ""


def digest(sample: bytes) -> str:
    """Return what tells a sample from others."""
    return hashlib.sha256(sample).hexdigest()[:32]
