"""When systems were last heard of."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.queries import named
from controltower.store.reads.fetch import fetch_records

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def heard(client: Client, systems: Iterable[str]) -> dict[str, datetime]:
    """Return system -> when it was last heard of; one that never was is left out."""
    asked = sorted(set(systems))
    if not asked:
        return {}
    rows = fetch_records(client, named("select_heard", systems=asked))
    return {row["system"]: _EPOCH + timedelta(microseconds=row["heard_us"]) for row in rows}
