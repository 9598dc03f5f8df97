"""How the collectors stand: backlog, room, quarantine, and what they refused."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from controltower.dashboard.format import count, duration, moment, relative, size, words
from controltower.dashboard.markup import Column, Html, badge, table, toned
from controltower.store.read import CollectorState, RefusalCount

# It reports every ten seconds; after so long without a word somebody should look.
SILENT_AFTER: Final = timedelta(minutes=1)
BEHIND_AFTER: Final = timedelta(minutes=1)  # as /readyz by default
NEARLY_FULL: Final = 0.9

# What each reason is about, for who has never read the collector's documents.
REASONS: Final = {
    "unauthenticated": "no valid token",
    "locked_out": "no valid token, many times from one address",
    "token_in_query": "a token in the address",
    "forbidden": "not what the token may send",
    "rate": "more than the token may send",
    "malformed": "not OTLP",
    "too_large": "above a limit of size",
    "overload": "too many requests at the same time",
    "slow": "the disk was too slow",
    "slow_client": "the client was too slow",
    "disconnected": "the client went away",
    "journal_full": "no room in the journal",
    "journal_failed": "the journal cannot be written",
}


def states(rows: Iterable[CollectorState], now: datetime) -> Html:
    """Return how each signal stands at each collector."""
    columns = (
        Column("Collector"),
        Column("Signal"),
        Column("State"),
        Column("Lag", "right", hint="Age of the oldest request that is acknowledged and not in the store yet"),
        Column("Waiting", "right", hint="Bytes in the journal that are not in the store yet"),
        Column("Room left", "right", hint="What the journal can still take, by its budget and by the free disk"),
        Column("Disk free", "right"),
        Column("Quarantine", "right", hint="Rows and files set aside: controltower quarantine list says why"),
        Column("Reported", "right"),
    )
    return table(
        columns,
        (
            (
                row.collector,
                row.signal,
                _state(row, now),
                duration(timedelta(seconds=round(row.lag_s))) if row.lag_s >= 1 else "none",
                size(row.waiting_bytes),
                size(row.left_bytes),
                size(row.free_bytes),
                _quarantine(row),
                relative(row.reported_at, now),
            )
            for row in rows
            if row.signal
        ),
        empty="No collector has reported within an hour: start `controltower serve`.",
    )


def refusals(rows: Iterable[RefusalCount], now: datetime) -> Html:
    """Return what was refused, by reason."""
    columns = (
        Column("Reason"),
        Column("Signal"),
        Column("Requests", "right"),
        Column("Last (UTC)", "right"),
        Column("", "right"),
    )
    return table(
        columns,
        (
            (
                REASONS.get(row.reason, words(row.reason)),
                row.signal or "any",
                count(row.requests),
                moment(row.last_at, seconds=True),
                relative(row.last_at, now),
            )
            for row in rows
        ),
        empty="Nothing was refused.",
    )


def _state(row: CollectorState, now: datetime) -> Html:
    if now - row.reported_at >= SILENT_AFTER:
        return badge("breached", "silent")
    if row.failing or not row.left_bytes:
        return badge("breached", "refuses")
    if row.used_bytes > NEARLY_FULL * (row.used_bytes + row.left_bytes):
        return badge("exception", "nearly full")
    return badge("exception", "behind") if row.lag_s >= BEHIND_AFTER.total_seconds() else badge("completed", "works")


def _quarantine(row: CollectorState) -> Html | str:
    if not row.quarantined_rows and not row.quarantined_files:
        return "none"
    return toned(f"{count(row.quarantined_rows)} rows, {count(row.quarantined_files)} files", "warn")
