"""From a business key to what carries it."""

from clickhouse_connect.driver.client import Client

from controltower.store.queries import PAGE_LIMIT, anchors_of, checked, key_values, lookup, named
from controltower.store.reads.answers import AnchorRef, KeySpan
from controltower.store.reads.fetch import fetch, fetch_records
from controltower.store.rows import Key


def find_anchors(
    client: Client, value: str, *, type: str | None = None, flow: str | None = None, limit: int = 50
) -> list[AnchorRef]:
    """Return the transactions that the key *value* leads to; an unknown key leads to none."""
    if not key_values(value):
        return []
    records = fetch_records(client, lookup(anchors_of(value, type=type, flow=flow, limit=limit)))
    return [AnchorRef(record["flow"], Key(record["type"], record["scope"], record["value"])) for record in records]


def spans_with_key(client: Client, value: str, *, type: str | None = None, limit: int = 50) -> list[KeySpan]:
    """Return the spans that carry the key *value*, steps or not, the latest first."""
    if not key_values(value):
        return []
    query = named("select_key_spans", values=key_values(value), type=type or "", limit=checked(limit, PAGE_LIMIT))
    return list(fetch(client, lookup(query), KeySpan))
