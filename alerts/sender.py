"""Sends what is due: ranked, so many per minute, and gently to a receiver in trouble."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from controltower.alerts.delivery import after_attempt, given_up
from controltower.alerts.notify import Channel, Notice, Outcome, pause_after
from controltower.store.alert_rows import Delivery, DeliveryState
from controltower.store.client import Client
from controltower.store.lease import Clock
from controltower.store.outbox import Due, deliveries_by_id, due, expired, read_state, record, write_state

logger = logging.getLogger(__name__)

MINUTE: Final = timedelta(minutes=1)
CYCLE_LIMIT: Final = timedelta(seconds=20)  # sending never keeps new exceptions from being read for longer
EXPIRE_EVERY: Final = timedelta(hours=1)
DISABLED: Final = "disabled:"


@dataclass(frozen=True, slots=True)
class Sent:
    """What one cycle sent. ``queued`` notifications were due and have to wait."""

    sent: int = 0
    failed: int = 0
    dead: int = 0
    queued: int = 0
    disabled: bool = False


class Sender:
    """Sends the notifications of one channel; not for use from several threads."""

    def __init__(self, client: Client, channel: Channel, clock: Clock, per_minute: int) -> None:
        self._client = client
        self._channel = channel
        self._clock = clock
        self._sends: deque[datetime] = deque(maxlen=per_minute)
        self._troubles = 0
        self._paused_at: datetime | None = None
        self._pause = timedelta(0)
        self._expired_at: datetime | None = None
        self._disabled_read_at: datetime | None = None
        self._disabled = False
        self._logged_at: datetime | None = None

    def due(self, now: datetime) -> Due:
        """Return what may be sent now, and how much is due."""
        may = 0 if self._is_disabled(now) or self._is_paused(now) else self._left(now)
        return due(self._client, self._channel.name, now, limit=may)

    def send(self, ready: Due, may_go_on: Callable[[], bool]) -> Sent:
        """Send *ready*, asking before each attempt; stop at a receiver in trouble. Records each outcome at once."""
        started = self._clock.now()
        outcomes: list[Delivery] = []
        for delivery in deliveries_by_id(self._client, ready.ids, started):
            if self._clock.now() - started > CYCLE_LIMIT or not may_go_on():
                break
            if delivery.state is DeliveryState.PENDING and delivery.next_attempt_at <= started:
                outcomes.append(self._attempt(delivery))
                if self._is_disabled(started) or self._troubles:
                    break
        return self._report(outcomes, ready.total)

    def expire(self, now: datetime) -> int:
        """Give up what waited too long, once an hour. Return how many."""
        if not self.expiry_is_due(now):
            return 0
        late = [given_up(delivery, now) for delivery in expired(self._client, now)]
        record(self._client, late)
        self._expired_at = now
        return len(late)

    def expiry_is_due(self, now: datetime) -> bool:
        """Whether it is time to look for what waited too long."""
        return self._expired_at is None or not timedelta(0) <= now - self._expired_at < EXPIRE_EVERY

    def idle(self, ready: Due) -> Sent:
        """Return the report of a cycle in which nothing is sent."""
        return self._report([], ready.total)

    def _attempt(self, delivery: Delivery) -> Delivery:
        outcome = self._channel.send(Notice(delivery.id, delivery.body, self._clock.now()))
        now = self._clock.now()
        self._sends.append(now)
        tried = after_attempt(delivery, outcome, now)
        record(self._client, [tried])
        self._note(outcome, now)
        if not outcome.delivered:
            self._log(tried, now)
        return tried

    def _log(self, tried: Delivery, now: datetime) -> None:
        """Log a failure, at most one a minute; each stands in the outbox."""
        if self._logged_at is None or not timedelta(0) <= now - self._logged_at < MINUTE:
            logger.warning("notification %s, attempt %d: %s", tried.id, tried.attempt, tried.last_error)
            self._logged_at = now

    def _note(self, outcome: Outcome, now: datetime) -> None:
        if outcome.gone:
            write_state(self._client, f"{DISABLED}{self._channel.endpoint}", now.isoformat())
            self._disabled = True
        self._troubles = self._troubles + 1 if outcome.trouble else 0
        self._paused_at = now if outcome.trouble else None
        self._pause = pause_after(self._troubles, outcome.retry_after) if outcome.trouble else timedelta(0)

    def _is_paused(self, now: datetime) -> bool:
        # A clock that went back ends the pause: asking a receiver once too often is the smaller harm.
        return self._paused_at is not None and timedelta(0) <= now - self._paused_at < self._pause

    def _is_disabled(self, now: datetime) -> bool:
        """Whether the receiver said that it is gone; asked of the store once a minute, so that a person can undo it."""
        if self._disabled_read_at is None or not timedelta(0) <= now - self._disabled_read_at < MINUTE:
            self._disabled = disabled_since(self._client, self._channel.endpoint) is not None
            self._disabled_read_at = now
        return self._disabled

    def _left(self, now: datetime) -> int:
        recent = sum(1 for at in self._sends if timedelta(0) <= now - at < MINUTE)
        return (self._sends.maxlen or 0) - recent

    def _report(self, outcomes: list[Delivery], waiting: int) -> Sent:
        states = [delivery.state for delivery in outcomes]
        return Sent(
            sent=states.count(DeliveryState.SENT),
            failed=states.count(DeliveryState.PENDING),
            dead=states.count(DeliveryState.DEAD),
            queued=max(0, waiting - len(outcomes)),
            disabled=self._disabled,
        )


def disabled_since(client: Client, endpoint: str) -> str | None:
    """Return when *endpoint* said that it is gone; nothing when it did not, or was enabled again."""
    state = read_state(client, f"{DISABLED}{endpoint}")
    return state.value if state is not None and state.value else None


def enable(client: Client, endpoint: str) -> None:
    """Send to *endpoint* again although it said that it is gone; a worker notices within a minute."""
    write_state(client, f"{DISABLED}{endpoint}", "")
