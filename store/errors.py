"""What can go wrong in the store, in words for its user."""

from pathlib import Path


class StoreError(Exception):
    """Base of the store's errors.

    ``permanent`` says that trying the same again cannot help.
    """

    permanent = True


class AddressError(StoreError):
    """The store's address cannot be understood."""


class StoreUnavailableError(StoreError):
    """The store does not answer, or another process holds its folder; trying again may help."""

    permanent = False


class SchemaError(StoreError):
    """A migration failed, or the store's schema is newer than this program."""


class LoadError(StoreError):
    """A segment could not be loaded."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class DeeperError(LoadError):
    """A value of a segment lies deeper than the inbox reads that was tried; the other one takes it."""

    def __init__(self, segment: str) -> None:
        super().__init__(f"Segment {segment} holds values that lie deeper than the inbox reads.", permanent=False)


class RedactionError(StoreError):
    """A policy cannot be put in force; trying again may help when the store did not answer."""

    permanent = False


class BackupError(StoreError):
    """A backup could not be made or restored; the message says why."""


class NoTablesError(StoreError):
    """The store is there and holds nothing yet: no migration has run."""


class LimitError(StoreError):
    """A read asks for more than its limit allows; the message names the limit."""


class CorrectionError(StoreError):
    """A correction names nothing that is known, or nothing that can be corrected; the message says what."""


class FlowError(StoreError):
    """A flow definition is refused: every problem with its file, line and field."""

    def __init__(self, file: Path | str, problems: list[tuple[int, str, str]]) -> None:
        self.file = str(file)
        self.problems = problems  # (line, field, what is wrong)
        super().__init__("\n".join(f"{self.file}:{line}: {field}: {what}" for line, field, what in problems))
