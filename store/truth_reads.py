"""Bulk reads for ``score`` and ``demo``: everything that is derived of one flow at once, and how far loading came."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from clickhouse_connect.driver.client import Client

from controltower.store.errors import LimitError
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch
from controltower.store.rows import DeadlineState, Key, MatchStatus, TransactionState

# Rows of one table that are compared in memory: a store of a hundred thousand transactions fits, about 2 GB of Python.
ROWS_LIMIT = 5_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FoundMembership:
    """A step's membership. *written_in* is the span in which its record was written, if a scraper read it there."""

    anchor: Key
    trace_id: str
    span_id: str
    written_in: str = ""


@dataclass(frozen=True, slots=True)
class FoundTransaction:
    """A transaction and its state."""

    anchor: Key
    state: TransactionState


@dataclass(frozen=True, slots=True)
class FoundDeadline:
    """A deadline and what became of it."""

    anchor: Key
    rule: str
    subject: str
    from_at: datetime
    due_at: datetime
    met_at: datetime | None
    state: DeadlineState


@dataclass(frozen=True, slots=True)
class FoundMatch:
    """The outcome of one line."""

    anchor: Key
    line: str
    status: MatchStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the spans of one sender came."""

    loaded: int
    newest_us: int
    position_us: int

    @property
    def resolved(self) -> bool:
        """Whether the engine has read everything that is loaded."""
        return self.position_us >= self.newest_us


def all_memberships(client: Client, flow: str) -> tuple[FoundMembership, ...]:
    """Return every membership of *flow*; LimitError when there are more than ``ROWS_LIMIT``."""
    return _all(client, "select_all_memberships", FoundMembership, flow=flow)


def all_transactions(client: Client, flow: str) -> tuple[FoundTransaction, ...]:
    """Return every transaction of *flow*; LimitError when there are more than ``ROWS_LIMIT``."""
    return _all(client, "select_all_transactions", FoundTransaction, flow=flow)


def all_deadlines(client: Client, flow: str) -> tuple[FoundDeadline, ...]:
    """Return every deadline of *flow*; LimitError when there are more than ``ROWS_LIMIT``."""
    return _all(client, "select_all_deadlines", FoundDeadline, flow=flow)


def all_matches(client: Client, flow: str, rule: str) -> tuple[FoundMatch, ...]:
    """Return every result of one reconciliation of *flow*; LimitError when there are more than ``ROWS_LIMIT``."""
    return _all(client, "select_all_matches", FoundMatch, flow=flow, rule=rule)


def progress(client: Client, instance: str) -> Progress:
    """Return how far the spans with that ``service.instance.id`` came."""
    (row,) = fetch(client, named("select_progress", instance=instance), Progress)
    return row


def _all(client: Client, statement: str, kind: type[T], **parameters: object) -> tuple[T, ...]:
    rows = fetch(client, named(statement, **parameters, limit=ROWS_LIMIT + 1), kind)
    if len(rows) > ROWS_LIMIT:
        raise LimitError(
            f"The store holds more than {ROWS_LIMIT} rows to compare; score a simulation in its own store."
        )
    return rows
