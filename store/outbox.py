"""Exceptions to read, decisions and notifications to keep: everything the alert worker asks of the store.

A delivery is written once when it is decided and once after each attempt, each time with the next ``version``; writing
the first row again is harmless, because a later one already stands above it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clickhouse_connect.driver.exceptions import ClickHouseError

from controltower.store.alert_rows import Alert, AlertState, Delivery, DeliveryState, NamedState, Tally
from controltower.store.client import Client
from controltower.store.errors import StoreUnavailableError
from controltower.store.queries import PAGE_LIMIT, checked, named, timestamp
from controltower.store.reads.fetch import fetch, fetch_records
from controltower.store.rows import ExceptionRow
from controltower.store.write import Row, insert

# A notification that could not be delivered for this long is given up: past the last attempt of the schedule (75.6 h)
# with room for receivers that ask to wait, and for the queue after a storm.
EXPIRES_AFTER = timedelta(days=7)
# How far back expired notifications are looked for: a worker may have been away.
EXPIRY_HORIZON = timedelta(days=90)
CHANGES_LIMIT = 10_000  # exceptions of one page: the alerts behind them fit in memory many times over
KEYS_PER_READ = 500  # keys travel in the address of the request: 500 of 43 characters are 22 kB of its 1 MiB


@dataclass(frozen=True, slots=True)
class Due:
    """Which notifications to send now, and how many more are due."""

    ids: tuple[str, ...]
    total: int


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Alerts by state and the outbox at a glance, for ``doctor`` and the dashboard."""

    alerts: dict[str, int]
    pending: int
    due: int
    retrying: int
    sent: int
    dead: int
    oldest_pending_at: datetime | None
    last_sent_at: datetime | None
    last_error: str


def fingerprint(client: Client, since: int) -> tuple[int, int]:
    """Return a value that changes when exceptions were written with version *since* or later."""
    record = fetch_records(client, named("select_alert_fingerprint", since=since))[0]
    return record["parts"], record["content"]


def changed_exceptions(
    client: Client, since: int, *, after: ExceptionRow | None = None, limit: int = CHANGES_LIMIT
) -> tuple[ExceptionRow, ...]:
    """Return one page of the exceptions written with version *since* or later, in order, behind the row *after*."""
    return fetch(
        client,
        named(
            "select_alert_changes",
            since=since,
            after_version=after.version if after else 0,
            after_flow=after.flow if after else "",
            after_type=after.anchor.type if after else "",
            after_value=after.anchor.value if after else "",
            after_scope=after.anchor.scope if after else "",
            after_kind=after.kind if after else "",
            after_rule=after.rule if after else "",
            after_subject=after.subject if after else "",
            limit=checked(limit, CHANGES_LIMIT),
        ),
        ExceptionRow,
    )


def alerts_by_key(client: Client, keys: Iterable[str]) -> dict[str, Alert]:
    """Return what was decided before about each of *keys*; a key without a decision is left out."""
    wanted = sorted(set(keys))
    found: dict[str, Alert] = {}
    for start in range(0, len(wanted), KEYS_PER_READ):
        query = named("select_alerts_by_key", keys=wanted[start : start + KEYS_PER_READ])
        found |= {alert.dedup_key: alert for alert in fetch(client, query, Alert)}
    return found


def open_causes(client: Client, flows: Iterable[str] = (), *, limit: int = PAGE_LIMIT) -> list[Alert]:
    """Return the alerts about what several exceptions have in common that are open, of *flows* or of all."""
    query = named("select_alert_causes", flows=sorted(set(flows)), limit=checked(limit, PAGE_LIMIT))
    return list(fetch(client, query, Alert))


def alone(client: Client, flows: Iterable[str], rules: Iterable[str], since: datetime) -> list[Alert]:
    """Return open alerts of these rules that have no cause with others, of what opened *since*: the latest ``PAGE_LIMIT``."""
    query = named(
        "select_alert_alone",
        flows=sorted(set(flows)),
        rules=sorted(set(rules)),
        since=timestamp(since),
        limit=PAGE_LIMIT,
    )
    return list(fetch(client, query, Alert))


def tallies(client: Client, causes: Iterable[str]) -> dict[str, Tally]:
    """Return cause -> what its members come to; a cause without members is left out."""
    wanted = sorted(set(causes))
    found: dict[str, Tally] = {}
    for start in range(0, len(wanted), KEYS_PER_READ):
        query = named("select_alert_tallies", causes=wanted[start : start + KEYS_PER_READ])
        found |= {tally.cause: tally for tally in fetch(client, query, Tally)}
    return found


def orphans(client: Client, now: datetime, *, limit: int = PAGE_LIMIT) -> list[Alert]:
    """Return alerts whose notification was decided and never written."""
    query = named("select_alert_orphans", since=timestamp(now - EXPIRES_AFTER), limit=checked(limit, PAGE_LIMIT))
    return list(fetch(client, query, Alert))


def to_repeat(client: Client, now: datetime, every: timedelta, *, limit: int = PAGE_LIMIT) -> list[Alert]:
    """Return announced alerts that are open and were last told longer than *every* ago."""
    query = named(
        "select_alert_repeats",
        before=timestamp(now - every),
        since=timestamp(now - EXPIRES_AFTER),
        limit=checked(limit, PAGE_LIMIT),
    )
    return list(fetch(client, query, Alert))


def record(client: Client, rows: Sequence[Row]) -> None:
    """Write rows of one type. Blocks until stored; raises StoreUnavailableError when the store did not take them."""
    try:
        insert(client, rows)
    except ClickHouseError as exc:
        raise StoreUnavailableError("The store did not take the alert worker's rows; they are written again.") from exc


def due(client: Client, channel: str, now: datetime, *, limit: int) -> Due:
    """Return the notifications of *channel* whose time has come: at most *limit*, the most severe, then expensive first."""
    query = named(
        "select_alert_due",
        channel=channel,
        now=timestamp(now),
        since=timestamp(now - EXPIRES_AFTER),
        limit=max(1, checked(limit, PAGE_LIMIT)),  # one row at least, because the count stands in it
    )
    records = fetch_records(client, query)
    return Due(tuple(record["id"] for record in records[:limit]), records[0]["due"] if records else 0)


def deliveries_by_id(client: Client, ids: Sequence[str], now: datetime) -> list[Delivery]:
    """Return the notifications *ids* in that order; those that are gone are left out."""
    if not ids:
        return []
    query = named("select_deliveries_by_id", ids=list(ids), since=timestamp(now - EXPIRES_AFTER))
    found = {delivery.id: delivery for delivery in fetch(client, query, Delivery)}
    return [found[id] for id in ids if id in found]


def expired(client: Client, now: datetime, *, limit: int = PAGE_LIMIT) -> list[Delivery]:
    """Return notifications that still wait although nobody may wait that long."""
    query = named(
        "select_alert_expired",
        before=timestamp(now - EXPIRES_AFTER),
        since=timestamp(now - EXPIRY_HORIZON),
        limit=checked(limit, PAGE_LIMIT),
    )
    return list(fetch(client, query, Delivery))


def list_alerts(client: Client, *, state: AlertState | None = None, limit: int = 100) -> list[Alert]:
    """Return alerts for people, the latest decision first."""
    query = named("select_alerts", state=str(state or ""), limit=checked(limit, PAGE_LIMIT))
    return list(fetch(client, query, Alert))


def list_deliveries(client: Client, *, state: DeliveryState | None = None, limit: int = 100) -> list[Delivery]:
    """Return notifications for people, the latest first."""
    query = named("select_deliveries", state=str(state or ""), limit=checked(limit, PAGE_LIMIT))
    return list(fetch(client, query, Delivery))


def read_state(client: Client, name: str) -> NamedState | None:
    """Return a named fact of the worker, or nothing when it was never written."""
    found = fetch(client, named("select_alert_state", name=name), NamedState)
    return found[0] if found else None


def write_state(client: Client, name: str, value: str) -> None:
    """Write a named fact of the worker."""
    before = read_state(client, name)
    record(client, [NamedState(name, value, before.version + 1 if before else 1)])


def status(client: Client, now: datetime) -> OutboxStatus:
    """Return alerts by state and the outbox at a glance."""
    alerts = fetch_records(client, named("select_alert_counts"))
    outbox = fetch_records(client, named("select_delivery_counts", now=timestamp(now)))[0]
    return OutboxStatus(alerts={row["state"]: row["alerts"] for row in alerts}, **outbox)
