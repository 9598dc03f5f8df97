"""What a journal could not hand over: kept with its reason until somebody retries or drops it.

::

    <id>.refused            a segment that the store refuses for good: the bytes are intact, it can be retried
    <id>.retry              the same, asked to be loaded again: the journal takes it at its next look, or at the next start
    <id>-<offset>.damaged   bytes of a segment that hold no verified record
    <id>-<offset>.torn      the same at the end of a segment: a write that was cut short and never acknowledged
    <digest>.raw            the body of a request that could not be decoded, as it came
    <digest>.sealed         the same, encrypted: one record with that body as its message
    <any>.reason.json       why the file of that name is here

Everything here works by single renames and removals, so the folder can be looked through and worked on by another
process while a journal is open on it.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from controltower.tracer.journal.contents import plain_messages, plain_segment
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.errors import QuarantineError
from controltower.tracer.journal.records import encode
from controltower.tracer.journal.sealing import PLAIN, Sealing

logger = logging.getLogger(__name__)

FOLDER: Final = "quarantine"

Kind = Literal["refused", "damaged", "torn", "raw"]
_KINDS: Final[Mapping[str, Kind]] = {**{f".{kind}": kind for kind in get_args(Kind)}, ".sealed": "raw"}
_RETRY: Final = ".retry"
_SEALED: Final = ".sealed"
_REASON: Final = ".reason.json"
_OWN_NOTES: Final = ("file", "bytes")
_LATEST_NS: Final = 2**63 - 1  # in the year 2262; a later time is damage
_REASON_LOST: Final = "The reason was not recorded; the log of that time has it."


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file in quarantine."""

    name: str  # by which it is shown, retried and dropped
    kind: Kind
    bytes: int
    reason: str
    since_ns: int  # when it came here; 0 when that was not recorded
    details: Mapping[str, str | int] = field(default_factory=dict)
    retrying: bool = False  # asked to be loaded again, and not taken by the journal yet

    @property
    def can_be_retried(self) -> bool:
        """Whether the journal can load it again: its records are intact."""
        return self.kind == "refused"


class Quarantine:
    """The quarantine of a journal; safe to use from several threads and processes."""

    def __init__(self, journal: Path, disk: Disk | None = None, sealing: Sealing = PLAIN) -> None:
        """Work on the quarantine of the journal in the folder *journal*, which need not be there yet.

        *sealing* is needed to ``read`` what is encrypted, and for nothing else.
        """
        self.folder = journal / FOLDER
        self._journal = journal
        self._disk = disk or Disk()
        self._sealing = sealing

    # For people: works whether the journal is open or not.

    def listing(self) -> list[Quarantined]:
        """Return what is here, the oldest first. Raises OSError."""
        found = [self._describe(path) for path in self._files()]
        return sorted((item for item in found if item), key=lambda item: (item.since_ns, item.name))

    def find(self, name: str) -> Quarantined:
        """Return what is here under *name*; QuarantineError when there is nothing."""
        for item in self.listing():
            if item.name == name:
                return item
        raise QuarantineError(f"There is no {name!r} in {self.folder}: list what is there.")

    def read(self, name: str) -> bytes:
        """Return the bytes kept under *name*, decrypted where they are intact.

        Raises QuarantineError, JournalKeyError when the key is not here, SegmentDamagedError, OSError.
        """
        item = self.find(name)
        data = self._path(item).read_bytes()
        stem = Path(name).stem
        if item.kind == "refused":
            return plain_segment(data, stem, self._sealing)
        if name.endswith(_SEALED):
            return b"".join(plain for _, plain in plain_messages(data, stem, self._sealing))
        return data

    def retry(self, name: str) -> None:
        """Ask for *name* to be loaded again, by the process that has the journal open, or at the next start.

        It comes back with a new reason when it is refused again. Raises QuarantineError, OSError.
        """
        item = self.find(name)
        if not item.can_be_retried:
            raise QuarantineError(f"{name} cannot be loaded again: it holds no intact records. Read it, then drop it.")
        if not item.retrying:
            self._disk.move(self._path(item), (self.folder / name).with_suffix(_RETRY))

    def drop(self, name: str) -> Quarantined:
        """Remove *name* for good and return what it was. Raises QuarantineError, OSError."""
        item = self.find(name)
        self._disk.unlink(self._path(item))
        self._disk.unlink(self._reason_path(name))
        return item

    # For the journal.

    def put(self, name: str, data: bytes, reason: str, now_ns: int, **details: str | int) -> Path:
        """Keep *data* under *name*, durably; the same name again replaces it. Raises OSError."""
        path = self.folder / name
        self._disk.replace(path, data)
        self._note(name, reason, len(data), now_ns, details)
        return path

    def put_raw(self, data: bytes, reason: str, now_ns: int, **details: str | int) -> Path:
        """Keep a body that could not be decoded; the same body again replaces itself. Raises OSError."""
        name = self._sealing.key("", hashlib.sha256(data).digest()).hex()
        if self._sealing.cipher is None:
            return self.put(f"{name}.raw", data, reason, now_ns, **details)
        record = b"".join(encode(self._sealing.seal(data, name, 0))[0])
        return self.put(f"{name}{_SEALED}", record, reason, now_ns, **details)

    def take(self, segment: Path, reason: str, size: int, now_ns: int) -> Path:
        """Move the file *segment* here. Raises OSError."""
        path = self.folder / f"{segment.stem}.refused"
        self._note(path.name, reason, size, now_ns, {})
        self._disk.move(segment, path)
        return path

    def asked_for(self) -> list[Path]:
        """Return the segments that are to be loaded again, the oldest first. Raises OSError."""
        return sorted(self.folder.glob(f"*{_RETRY}"))

    def give_back(self, path: Path, suffix: str) -> Path:
        """Move *path*, which was asked for, back into the journal as a segment. Raises OSError."""
        segment = (self._journal / path.name).with_suffix(suffix)
        self._disk.move(path, segment)
        self._disk.unlink(self._reason_path(path.with_suffix(".refused").name))
        return segment

    def measure(self) -> tuple[int, int]:
        """Return how many files are here, without their reasons, and how many bytes in all. Raises OSError."""
        return len(self._files()), sum(map(_size, self._entries()))

    # The files.

    def _entries(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.is_file()] if self.folder.is_dir() else []

    def _files(self) -> list[Path]:
        return [path for path in self._entries() if path.suffix == _RETRY or path.suffix in _KINDS]

    def _path(self, item: Quarantined) -> Path:
        path = self.folder / item.name
        return path.with_suffix(_RETRY) if item.retrying else path

    def _reason_path(self, name: str) -> Path:
        return self.folder / (name + _REASON)

    def _describe(self, path: Path) -> Quarantined | None:
        retrying = path.suffix == _RETRY
        name = path.with_suffix(".refused").name if retrying else path.name
        kind = _KINDS[Path(name).suffix]
        try:
            size = path.stat().st_size
        except FileNotFoundError:  # dropped or taken back meanwhile
            return None
        known = _read_reason(self._reason_path(name))
        reason, since_ns = known.pop("reason", _REASON_LOST), known.pop("quarantined_unix_nano", 0)
        details = {
            key: value for key, value in known.items() if key not in _OWN_NOTES and isinstance(value, (str, int))
        }
        return Quarantined(name, kind, size, str(reason), since_ns, details, retrying)

    def _note(self, name: str, reason: str, size: int, now_ns: int, details: Mapping[str, str | int]) -> None:
        text = json.dumps(
            {"file": name, "bytes": size, "reason": reason, "quarantined_unix_nano": now_ns} | dict(details)
        )
        try:
            self._disk.replace(self._reason_path(name), text.encode() + b"\n")
        except OSError as error:  # on a full disk: moving a file away needs no room, and must go on
            logger.error("why %s is in quarantine could not be written (%s); it is: %s", name, error.strerror, reason)


def _read_reason(path: Path) -> dict[str, Any]:
    """Return what *path* says, nothing when it cannot be read: a damaged note must not hide the file that it is about."""
    try:
        known = json.loads(path.read_bytes())
        since_ns = int(known["quarantined_unix_nano"])
        return {**known, "quarantined_unix_nano": since_ns if 0 <= since_ns <= _LATEST_NS else 0}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # dropped or taken back meanwhile
        return 0
