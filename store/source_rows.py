"""What the sources of scrapers say about themselves, and what that means."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

SILENT_AFTER: Final = timedelta(minutes=1)  # a scraper reports every ten seconds; after six that are missing it is gone
BEHIND_AFTER: Final = timedelta(minutes=5)  # most sources are read to their end every second, others every minute


class Standing(StrEnum):
    """How a source stands, the worst first."""

    FAILING = "failing"
    """Nothing of it goes on."""
    SILENT = "silent"
    """Its scraper ended without a word, or does not reach the collector."""
    PROBLEMS = "problems"
    """Some of it cannot be read, or a queue of it is beyond its limit."""
    BEHIND = "behind"
    """It is read, and more is there than was read."""
    WORKS = "works"
    STOPPED = "stopped"
    """Its scraper was stopped, or read to the end of what was there, or the source was taken out of its file."""


NOT_WELL: Final = frozenset({Standing.FAILING, Standing.SILENT, Standing.PROBLEMS, Standing.BEHIND})


@dataclass(frozen=True, slots=True)
class SourceState:
    """What one source last said. Seconds are since 1970, and 0 is never."""

    tenant: str
    host: str
    source: str
    reported_at: datetime
    began_at: datetime  # since when is counted
    kind: str
    running: bool
    failing: bool
    reason: str  # why it fails
    problems: int
    problem: str  # the first one
    worked_s: int  # when it was last looked at, and all that had been read was acknowledged before
    read_s: int  # when a record was last read
    watermark_s: int  # the latest time of a record
    lag_s: int  # since all that was there had been read
    behind_bytes: int
    open: int
    records: int
    steps: int
    unmatched: int
    rejected: int
    refused: int
    rejected_s: int
    reject_reason: str
    reject_file: str  # on its host

    @property
    def worked_at(self) -> datetime | None:
        """When it was last looked at with success."""
        return _moment(self.worked_s)

    @property
    def read_at(self) -> datetime | None:
        """When a record was last read."""
        return _moment(self.read_s)

    @property
    def watermark(self) -> datetime | None:
        """The latest time of a record."""
        return _moment(self.watermark_s)

    @property
    def rejected_at(self) -> datetime | None:
        """When a record was last rejected."""
        return _moment(self.rejected_s)

    def standing(self, now: datetime) -> Standing:
        """Return how it stands; one that was stopped says no more, and one that is silent may be failing no longer."""
        if not self.running:
            return Standing.STOPPED
        if now - self.reported_at >= SILENT_AFTER:
            return Standing.SILENT
        if self.failing:
            return Standing.FAILING
        if self.problems:
            return Standing.PROBLEMS
        return Standing.BEHIND if self.lag(now) >= BEHIND_AFTER else Standing.WORKS

    def lag(self, now: datetime) -> timedelta:
        """Return since when not all that was there had been read; it goes on while nothing is heard."""
        return timedelta(seconds=self.lag_s) + max(now - self.reported_at, timedelta())

    def why(self, now: datetime) -> str:
        """Return what is known of why it is not well."""
        match self.standing(now):
            case Standing.FAILING:
                return self.reason or "the log of the scraper says why"
            case Standing.PROBLEMS:
                return self.problem or "see `controltower scrape check`"
            case Standing.SILENT:
                return self.reason
            case _:
                return ""


@dataclass(frozen=True, slots=True)
class QueueLevel:
    """How full a queue is, as a scraper last said; None for what its broker does not tell."""

    source: str
    host: str
    queue: str
    readers: str  # the group whose view it is; nothing for the queue itself
    reported_at: datetime
    depth: int | None
    lag: int | None
    held: int | None
    redelivered: int | None
    oldest_s: int | None  # since the oldest that waits died, or came
    consumers: int | None


def _moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
