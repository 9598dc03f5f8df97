"""How the sources of scrapers stand."""

from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.queries import named
from controltower.store.reads.fetch import fetch
from controltower.store.source_rows import SourceState

SOURCES_LIMIT: Final = 1_000  # of a network with hundreds of interfaces; the most silent come first


def sources(client: Client) -> tuple[SourceState, ...]:
    """Return the last that every source said of itself within 30 days, the most silent first."""
    return fetch(client, named("select_sources", limit=SOURCES_LIMIT), SourceState)
