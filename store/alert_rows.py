"""Rows of the alert tables: frozen values, and the only list of their columns."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from controltower.store.rows import Key


class AlertState(StrEnum):
    """Where an alert stands. ``historic`` is open, but opened too long ago to tell anyone."""

    FIRING = "firing"
    HISTORIC = "historic"
    RESOLVED = "resolved"
    RETRACTED = "retracted"


class DeliveryState(StrEnum):
    """What became of a notification: ``dead`` is one that nobody will try again."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Alert:
    """What was decided about one exception, and what is known of it."""

    TABLE: ClassVar = "alerts"

    dedup_key: str
    flow: str
    anchor: Key
    kind: str
    rule: str
    subject: str
    state: AlertState
    decision: str  # the last decision that was not "none"
    episode: int  # how many times it has opened
    sequence: int  # how many notifications were decided, over all episodes
    announced: bool  # a firing notification of this episode was decided
    announced_severity: str  # the severity that it told
    notification_id: str  # of the last decision; empty when that one told nobody
    reason: str
    severity: str
    amount: Decimal
    currency: str
    detail: str
    opened_at: datetime
    resolved_at: datetime | None
    first_seen_at: datetime
    decided_at: datetime
    exception_version: int
    system: str = ""  # what it may have in common with others: where it happened
    counterparty: str = ""  # with whom
    batch: str = ""  # and in which batch
    cause: str = ""  # the alert that tells of it, where several have one cause
    members: int = 0  # of a cause: the transactions that are open
    grows_until: datetime | None = None  # of a cause: what opens until then belongs to it
    version: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What the members of a cause come to."""

    cause: str
    open: int  # transactions with an open member
    severity: str  # the highest of open members
    amounts: dict[str, Decimal]  # currency -> money of open members
    first_opened_at: datetime
    last_opened_at: datetime
    last_resolved_at: datetime | None  # none while no member was resolved: all that are over were retracted


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification to one channel. ``id`` is the same over all attempts."""

    TABLE: ClassVar = "deliveries"

    id: str
    channel: str
    dedup_key: str
    sequence: int
    event: str
    decision: str
    severity: str
    severity_rank: int
    amount: Decimal
    body: str
    state: DeliveryState
    attempt: int  # attempts made
    next_attempt_at: datetime
    last_error: str
    response_status: int | None
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    version: int = 0


@dataclass(frozen=True, slots=True)
class NamedState:
    """A named fact of the alert worker."""

    TABLE: ClassVar = "alert_state"

    name: str
    value: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may work, and until when; each taking or renewal is a term."""

    TABLE: ClassVar = "leases"

    name: str
    term: int
    owner: str
    until: datetime
