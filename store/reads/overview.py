"""Where everything stands: counts, money, breaches, exceptions, and how fresh the data is."""

from datetime import datetime, timedelta
from decimal import Decimal

from clickhouse_connect.driver.client import Client

from controltower.store.errors import LimitError
from controltower.store.queries import Query, named, timestamp
from controltower.store.reads.answers import (
    DayCount,
    Facets,
    Freshness,
    Overview,
    ReasonCount,
    RuleCount,
    StageCount,
    StateCount,
)
from controltower.store.reads.fetch import fetch, fetch_records
from controltower.store.reads.mapping import money, to_values
from controltower.store.rows import TransactionState

LONGEST_RANGE = timedelta(days=3_660)  # ten years of days; states, stages, rules and reasons are fewer
SYSTEMS_LIMIT = 1_000
OVERFLOW = "overflow"
SOON = timedelta(days=1)  # a deadline this near is due soon


def overview(client: Client, now: datetime, since: datetime, until: datetime, flow: str | None = None) -> Overview:
    """Return where everything stands as of *now*, with the history of the time range. Five queries."""
    if until - since > LONGEST_RANGE:
        raise LimitError(f"The time range of an overview is at most {LONGEST_RANGE.days:,} days.")

    def query(statement: str) -> Query:
        return named(
            statement,
            soon=timestamp(now + SOON),
            since=timestamp(since),
            until=timestamp(until),
            flow=flow or "",
            limit=LONGEST_RANGE.days,
        )

    states = fetch_records(client, query("select_states"))
    open_states = [state for state in states if state["state"] != TransactionState.COMPLETED]
    breaches = fetch(client, query("select_breaches"), RuleCount)
    return Overview(
        states=to_values(StateCount, tuple(states[0]), list(zip(*map(dict.values, states), strict=True)))
        if states
        else (),
        in_flight=sum(state["transactions"] for state in open_states),
        late=sum(state["late"] for state in open_states),
        at_stake=money(_total([state["at_stake"] for state in open_states])),
        due_soon=sum(rule.due_soon for rule in breaches),
        stages=fetch(client, query("select_stages"), StageCount),
        breaches=breaches,
        exceptions=fetch(client, query("select_reasons"), ReasonCount),
        days=fetch(client, query("select_days"), DayCount),
    )


def freshness(client: Client) -> list[Freshness]:
    """Return when each system was last heard of, the most silent first; the smallest beyond the limit as one."""
    return list(fetch(client, named("select_freshness", limit=SYSTEMS_LIMIT, overflow=OVERFLOW), Freshness))


def facets(client: Client) -> Facets:
    """Return the values to filter by."""
    (found,) = fetch_records(client, named("select_facets"))
    return Facets(tuple(found["flows"]), tuple(filter(None, found["vendors"])), tuple(found["stages"]))


def _total(per_currency: list[dict[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for amounts in per_currency:
        for currency, amount in amounts.items():
            total[currency] = total.get(currency, Decimal(0)) + amount
    return total
