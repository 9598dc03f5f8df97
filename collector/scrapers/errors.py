"""What can go wrong in a scraper, in words for its user."""

from pathlib import Path

from controltower.collector.errors import CollectorError


class SourcesError(CollectorError):
    """A file of sources is refused: every problem with its file, line and field."""

    def __init__(self, file: Path | str, problems: list[tuple[int, str, str]]) -> None:
        self.file = str(file)
        self.problems = problems  # (line, field, what is wrong)
        super().__init__("\n".join(f"{self.file}:{line}: {field}: {what}" for line, field, what in problems))


class KeyMissingError(CollectorError):
    """A source maps numbers of patients, and there is no key to make tokens of them."""

    def __init__(self, source: str, types: list[str]) -> None:
        self.source = source
        super().__init__(
            f"The source {source} maps {', '.join(types)}, which become tokens: set CONTROLTOWER_REDACTION_KEY or "
            "CONTROLTOWER_REDACTION_KEY_FILE to the key that the senders share (`controltower redact key` makes one)."
        )


class PositionError(CollectorError):
    """What is saved of a source cannot be read or written; trying again may help."""

    permanent = False


class AddressError(CollectorError):
    """The variable that holds the address of a source, with its password, does not."""


class QueueError(CollectorError):
    """A queue, a stream or a topic cannot be read as its source says."""


class TableError(CollectorError):
    """A table is not as its source says."""


class JournalError(CollectorError):
    """The journal of systemd cannot be read."""


class EventLogError(CollectorError):
    """A file of events cannot be imported: it is damaged, or its map does not fit it."""


class BusyError(CollectorError):
    """Another process works on the same positions."""


def words_of(error: Exception) -> str:
    """Return what a source failed with, in a line; libraries say little without the name of the error."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, CollectorError) else f"{type(error).__name__}: {text}"


class Rejection(Exception):
    """A record cannot become a step; ``reason`` is a code, and ``detail`` names a field and never shows its value."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)
