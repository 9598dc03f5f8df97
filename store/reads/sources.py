"""How the sources of scrapers stand, and how full the queues are that they look at."""

from datetime import datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.queries import named, timestamp
from controltower.store.reads.fetch import fetch
from controltower.store.source_rows import QueueLevel, SourceState

SOURCES_LIMIT: Final = 1_000  # of a network with hundreds of interfaces; the most silent come first

LEVELS_WITHIN: Final = timedelta(hours=1)  # a level that is older says nothing of a queue


def sources(client: Client) -> tuple[SourceState, ...]:
    """Return the last that every source said of itself within 30 days, the most silent first."""
    return fetch(client, named("select_sources", limit=SOURCES_LIMIT), SourceState)


def queues(client: Client, now: datetime) -> tuple[QueueLevel, ...]:
    """Return the last that was said of each queue within an hour, the deepest first."""
    since = timestamp(now - LEVELS_WITHIN)
    return fetch(client, named("select_queues", since=since, limit=SOURCES_LIMIT), QueueLevel)
