"""How the collectors stand: backlog, room, quarantine, and what they refused."""

from datetime import datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.collector_rows import CollectorState, RefusalCount
from controltower.store.errors import LimitError
from controltower.store.queries import named, timestamp
from controltower.store.reads.fetch import fetch

HEARD_WITHIN: Final = timedelta(hours=1)  # a collector that was silent for longer is no part of the picture
ROWS_LIMIT: Final = 1_000
LONGEST_RANGE: Final = timedelta(days=15)  # samples are kept for 14 days


def collectors(client: Client, now: datetime) -> tuple[CollectorState, ...]:
    """Return the last that every collector said within an hour, by collector and signal."""
    return fetch(
        client, named("select_collectors", since=timestamp(now - HEARD_WITHIN), limit=ROWS_LIMIT), CollectorState
    )


def refusals(client: Client, since: datetime, until: datetime) -> tuple[RefusalCount, ...]:
    """Return the requests that were refused in the time range, by reason, the most frequent first."""
    if until - since > LONGEST_RANGE:
        raise LimitError(f"The time range of refusals is at most {LONGEST_RANGE.days} days.")
    query = named("select_collector_refusals", since=timestamp(since), until=timestamp(until), limit=ROWS_LIMIT)
    return fetch(client, query, RefusalCount)
