"""What can go wrong with a journal, in words for its user."""

from collections.abc import Sequence
from pathlib import Path


class JournalError(Exception):
    """Base of the journal's errors: what was given was not stored; trying again may help."""

    permanent = False


class JournalFull(JournalError):
    """There is no room: the disk or the journal's own budget is used up, or too much is waiting for the disk."""


class JournalTooLarge(JournalError):
    """A message that no journal takes."""

    permanent = True

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(
            f"A request of {size} bytes is too large for the journal, which takes {limit}: send less at once."
        )


class JournalClosedError(JournalError):
    """The journal was closed; nothing more is taken."""


class JournalLockedError(JournalError):
    """Another process has this journal open."""

    permanent = True

    def __init__(self, folder: Path, holder: str) -> None:
        self.folder = folder
        self.holder = holder
        by = f"process {holder}" if holder else "another process"
        super().__init__(f"The journal {folder} is in use by {by}: stop it, or choose another data folder.")


class JournalFormatError(JournalError):
    """The folder was written by a later version; nothing in it was touched."""

    permanent = True

    def __init__(self, folder: Path, found: int, known: int) -> None:
        self.folder = folder
        self.found = found
        self.known = known
        super().__init__(
            f"The journal {folder} has format {found}, and this program knows formats up to {known}: start the version that "
            "wrote it, or a later one. Nothing was changed."
        )


class JournalKeyError(JournalError):
    """Segments are encrypted with keys that are not here; they stay as they are."""

    permanent = True

    def __init__(self, key_ids: Sequence[str], segments: int, folder: Path | None = None) -> None:
        self.key_ids = tuple(key_ids)
        self.segments = segments
        self.folder = folder
        keys = f"key {key_ids[0]}" if len(key_ids) == 1 else f"keys {', '.join(key_ids)}"
        what = f"{segments} segments" if segments != 1 else "A segment"
        verb = "are" if segments != 1 else "is"
        where = f" of the journal {folder}" if folder else " of the journal"
        super().__init__(
            f"{what}{where} {verb} encrypted with {keys}, which was not given: give it behind the key that encrypts. "
            "Nothing was changed, and nothing is lost."
        )


class NotAuthenticError(JournalError):
    """An encrypted record was changed, or stands where it was not written."""

    permanent = True


class QuarantineError(JournalError):
    """What was asked of the quarantine cannot be done."""

    permanent = True


class SegmentDamagedError(JournalError):
    """A segment was damaged after it was verified; verifying it again takes the damage out."""

    def __init__(self, name: str, offset: int, reason: str) -> None:
        self.name = name
        self.offset = offset
        super().__init__(f"Segment {name} is damaged at {offset}: {reason}.")
