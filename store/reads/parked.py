"""Steps that belong to no transaction yet."""

from clickhouse_connect.driver.client import Client

from controltower.store.queries import count_parked_steps, named, parked_steps
from controltower.store.reads.answers import Parked
from controltower.store.reads.fetch import fetch, fetch_records
from controltower.store.rows import ParkedStep, Step


def parked(
    client: Client, limit: int = 100, *, offset: int = 0, flow: str | None = None, state: str | None = None
) -> list[Parked]:
    """Return steps without a way to an anchor (``parked``) or with too many (``ambiguous``), the latest first."""
    rows = fetch(client, parked_steps(flow=flow or "", state=state or "", limit=limit, offset=offset), ParkedStep)
    if not rows:
        return []
    spans = [(row.flow, row.trace_id, row.span_id) for row in rows]
    steps = fetch(client, named("select_steps_of_parked", spans=spans, limit=len(spans)), Step)
    by_span = {(step.flow, step.trace_id, step.span_id): step for step in steps}
    return [Parked(by_span[span], row) for span, row in zip(spans, rows, strict=True) if span in by_span]


def count_parked(client: Client, *, flow: str | None = None, state: str | None = None) -> int:
    """Return how many steps are parked or ambiguous."""
    (counted,) = fetch_records(client, count_parked_steps(flow=flow or "", state=state or ""))
    return int(counted["total"])
