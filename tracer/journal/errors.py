"""What can go wrong with a journal, in words for its user."""

from pathlib import Path


class JournalError(Exception):
    """Base of the journal's errors: what was given was not stored; trying again may help."""

    permanent = False


class JournalFull(JournalError):
    """There is no room: the disk or the journal's own budget is used up, or too much is waiting for the disk."""


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


class QuarantineError(JournalError):
    """What was asked of the quarantine cannot be done."""

    permanent = True
