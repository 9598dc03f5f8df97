"""From a business key to what carries it."""

from collections.abc import Mapping

from clickhouse_connect.driver.client import Client

from controltower.store.queries import (
    ANCHORS_LIMIT,
    KEY_STEPS_LIMIT,
    PAGE_LIMIT,
    checked,
    key_values,
    lookup,
    named,
)
from controltower.store.reads.answers import AnchorRef, KeySpan
from controltower.store.reads.fetch import fetch, fetch_records
from controltower.store.rows import Key


def find_anchors(
    client: Client, value: str, *, type: str | None = None, flow: str | None = None, limit: int = 50
) -> list[AnchorRef]:
    """Return the transactions that the key *value* leads to; an unknown key leads to none.

    As ``select_anchors`` finds them, but most numbers that are asked for anchor a transaction and are nothing else: that
    is known before any membership is read.
    """
    if not key_values(value):
        return []
    checked(limit, ANCHORS_LIMIT)
    owners = named("select_key_owners", values=key_values(value), type=type or "", flow=flow or "", limit=limit)
    records = fetch_records(client, lookup(owners))
    found = {_anchor(record) for record in records if record["anchors"]}
    own = {(ref.flow, ref.anchor.type, ref.anchor.value) for ref in found}
    carried = {(record["flow"], record["type"], record["value"]) for record in records} - own
    if carried:
        through = named("select_anchors_of_keys", keys=sorted(carried), steps=KEY_STEPS_LIMIT, limit=limit)
        found |= {_anchor(record) for record in fetch_records(client, lookup(through))}
    return sorted(found, key=lambda ref: (ref.flow, ref.anchor.type, ref.anchor.value, ref.anchor.scope))[:limit]


def _anchor(record: Mapping[str, str]) -> AnchorRef:
    return AnchorRef(record["flow"], Key(record["type"], record["scope"], record["value"]))


def spans_with_key(client: Client, value: str, *, type: str | None = None, limit: int = 50) -> list[KeySpan]:
    """Return the spans that carry the key *value*, steps or not, the latest first."""
    if not key_values(value):
        return []
    query = named("select_key_spans", values=key_values(value), type=type or "", limit=checked(limit, PAGE_LIMIT))
    return list(fetch(client, lookup(query), KeySpan))
