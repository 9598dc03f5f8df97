"""The contract of a channel, and when a notification is tried again."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

# The schedule of Standard Webhooks: how long after each attempt the next one is made. After the last nobody tries again.
SCHEDULE: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
ATTEMPTS: Final = len(SCHEDULE) + 1
RETRY_AFTER_LIMIT: Final = timedelta(hours=24)  # a receiver may ask to wait, and not for ever
TROUBLE_LIMIT: Final = timedelta(seconds=60)  # a receiver in trouble is asked again at least this often


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification on its way: the same id and body over all attempts."""

    id: str
    body: str
    at: datetime  # of this attempt


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt."""

    delivered: bool
    status: int | None = None
    error: str = ""  # one sentence without secrets
    retry_after: timedelta | None = None
    gone: bool = False  # the receiver wants no more, of any notification
    trouble: bool = False  # the receiver itself is in trouble, so the next notification would fare no better


class Channel(Protocol):
    """Somewhere to send notifications to. What a failure means is decided here, where the knowledge is."""

    @property
    def name(self) -> str:
        """The kind of channel, as the outbox stores it."""
        ...

    @property
    def endpoint(self) -> str:
        """A name of the receiver that holds none of its secrets, and changes when the receiver does."""
        ...

    def send(self, notice: Notice) -> Outcome:
        """Make one attempt. Blocks for a bounded time and raises nothing but bugs."""
        ...


def next_attempt_at(made: int, now: datetime, retry_after: timedelta | None) -> datetime | None:
    """Return when to try again after *made* attempts; nothing after the last. Never before the receiver wants it."""
    if made > len(SCHEDULE):
        return None
    return now + max(SCHEDULE[made - 1], retry_after or timedelta(0))


def parse_retry_after(text: str, now: datetime) -> timedelta | None:
    """Return what a ``Retry-After`` header asks for, seconds or a date, bounded; nothing when it cannot be read."""
    text = text.strip()
    if text.isdecimal() and text.isascii():
        seconds = int(text) if len(text) <= 9 else RETRY_AFTER_LIMIT.total_seconds()
        return min(timedelta(seconds=seconds), RETRY_AFTER_LIMIT)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(at - now, timedelta(0)), RETRY_AFTER_LIMIT)


def pause_after(troubles: int, retry_after: timedelta | None) -> timedelta:
    """Return how long to leave a receiver alone that was in trouble *troubles* times in a row: 1, 2, 4 … 60 seconds."""
    backoff = timedelta(seconds=2 ** min(troubles - 1, 6))
    return max(min(backoff, TROUBLE_LIMIT), retry_after or timedelta(0))
