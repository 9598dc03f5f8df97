"""Rows in quarantine: what a broken clock dated, kept until somebody decides.

Stored or dropped is always a whole group, the rows of one segment with one reason: so a retry that was cut off is known
again by its insert token, and stores nothing twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from controltower.store.client import Client
from controltower.store.loader import WAYS, Signal
from controltower.store.otlp_rows import quoted
from controltower.store.queries import Query, checked, named
from controltower.store.reads.fetch import fetch

PAGE_LIMIT: Final = 10_000
GROUPS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which rows are meant; what is empty means all."""

    signal: Signal | None = None
    reason: str = ""
    segment: str = ""

    def parameters(self) -> dict[str, str]:
        """Return the parameters of a statement."""
        return {"signal": self.signal or "", "reason": self.reason, "segment": self.segment}


EVERYTHING: Final = QuarantineFilter()


@dataclass(frozen=True, slots=True)
class QuarantineCount:
    """How many rows of a signal wait for one reason."""

    signal: Signal
    reason: str
    rows: int
    first_received_at: datetime
    last_received_at: datetime


@dataclass(frozen=True, slots=True)
class QuarantineGroup:
    """Rows of one segment, one reason and one tenant."""

    signal: Signal
    reason: str
    segment: str
    tenant: str
    rows: int
    first_received_at: datetime
    last_received_at: datetime


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """One row, with the times as they were sent. A metric's point has no span id, a log record no end."""

    signal: Signal
    reason: str
    segment: str
    tenant: str
    service: str
    name: str
    trace_id: str
    span_id: str
    sent_unix_nano: int
    sent_end_unix_nano: int
    received_at: datetime
    quarantined_at: datetime


def count_quarantined(client: Client) -> tuple[QuarantineCount, ...]:
    """Return how many rows wait, by signal and reason; nothing when none does. Raises StoreError."""
    return fetch(client, named("select_quarantine_counts"), QuarantineCount)


def list_quarantined(
    client: Client, which: QuarantineFilter = EVERYTHING, limit: int = 100, *, offset: int = 0
) -> tuple[QuarantineGroup, ...]:
    """Return the groups that wait, the oldest first. Raises StoreError."""
    return fetch(client, _read("select_quarantine_groups", which, limit, offset), QuarantineGroup)


def show_quarantined(
    client: Client, which: QuarantineFilter = EVERYTHING, limit: int = 100, *, offset: int = 0
) -> tuple[QuarantineRow, ...]:
    """Return rows that wait, the oldest first. Raises StoreError."""
    return fetch(client, _read("select_quarantine_rows", which, limit, offset), QuarantineRow)


def retry_quarantined(client: Client, which: QuarantineFilter = EVERYTHING) -> int:
    """Store what waits all the same, and return the rows: at the time of receipt, marked with the reason.

    It may be called again after it was cut off: every row is stored once. Raises the engine's errors.
    """
    return sum(_store(client, group) for group in _groups(client, which))


def drop_quarantined(client: Client, which: QuarantineFilter = EVERYTHING) -> int:
    """Delete what waits, for good, and return the rows. Raises the engine's errors."""
    return sum(_delete(client, group) for group in _groups(client, which))


def _read(name: str, which: QuarantineFilter, limit: int, offset: int) -> Query:
    return named(name, **which.parameters(), limit=checked(limit, PAGE_LIMIT), offset=offset)


def _groups(client: Client, which: QuarantineFilter) -> Iterator[tuple[Signal, str, str, int]]:
    """Yield signal, reason, segment and rows of each group, until none is left."""
    while listed := list_quarantined(client, which, GROUPS_AT_ONCE):
        rows: dict[tuple[Signal, str, str], int] = {}
        for group in listed:
            key = (group.signal, group.reason, group.segment)
            rows[key] = rows.get(key, 0) + group.rows
        for (signal, reason, segment), number in rows.items():
            yield signal, reason, segment, number


def _store(client: Client, group: tuple[Signal, str, str, int]) -> int:
    signal, reason, segment, rows = group
    way = WAYS[signal].rows
    for target in way.targets:
        names = ", ".join(quoted(target.columns))
        client.command(
            f"INSERT INTO {target.table} ({names}) SELECT {names} FROM {way.quarantine} "  # noqa: S608 - our own names
            "WHERE SegmentId = {segment:String} AND TimeQuality = {reason:String} "
            f"AND {target.condition or 'true'} ORDER BY ALL",
            parameters={"segment": segment, "reason": reason},
            settings={"insert_deduplication_token": f"retry {segment} {reason}", "max_partitions_per_insert_block": 0},
        )
    _delete(client, group)
    return rows


def _delete(client: Client, group: tuple[Signal, str, str, int]) -> int:
    signal, reason, segment, rows = group
    client.command(
        f"ALTER TABLE {WAYS[signal].rows.quarantine} DELETE "
        "WHERE SegmentId = {segment:String} AND TimeQuality = {reason:String}",
        parameters={"segment": segment, "reason": reason},
        settings={"mutations_sync": 2},
    )
    return rows
