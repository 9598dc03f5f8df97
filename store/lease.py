"""A lease on a piece of work, so that of several workers one works.

ClickHouse has no compare-and-set. What it has is insert deduplication: of inserts with the same token one is kept, and
the check happens under the table's lock. So the token names the term, everybody who wants the next term inserts with
its token, and whoever reads its own name back has it. What this cannot do is stop a worker that slept through the end
of its term: it may finish what it had begun, beside its successor. Hosts must agree on the time to a few seconds.
"""

from dataclasses import fields
from datetime import datetime, timedelta
from typing import Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError

from controltower.store.alert_rows import Lease
from controltower.store.client import Client
from controltower.store.errors import StoreUnavailableError
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> datetime:
        """Return the current time, aware and UTC."""
        ...


def leased(client: Client, name: str, now: datetime) -> bool:
    """Return whether anybody has the lease *name*."""
    last = _read(client, name)
    return last is not None and now < last.until


def extend(client: Client, name: str, owner: str, until: datetime) -> None:
    """Take, or go on with, a lease that nobody else wants."""
    last = _read(client, name)
    _propose(client, Lease(name, last.term + 1 if last else 1, owner, until))


class LeaseKeeper:
    """Takes, renews and releases one named lease for one owner; not for use from several threads."""

    def __init__(self, client: Client, name: str, owner: str, clock: Clock, lasts: timedelta) -> None:
        self._client = client
        self._name = name
        self._owner = owner
        self._clock = clock
        self._lasts = lasts
        self._held: Lease | None = None
        self._since = 0

    @property
    def since(self) -> int:
        """The term in which this owner followed another one (or itself, before a restart); 0 before the first."""
        return self._since

    def hold(self, at_least: timedelta) -> bool:
        """Return whether the lease is ours for *at_least* from now, taking or renewing it when that needs a new term."""
        now = self._clock.now()
        if self._held is not None and now + at_least <= self._held.until <= now + self._lasts:
            return True
        self._held = self._take(now)
        return self._held is not None

    def release(self) -> None:
        """Let others work at once; does nothing when the lease is not ours."""
        if self._held is not None:
            _propose(self._client, Lease(self._name, self._held.term + 1, self._owner, self._clock.now()))
            self._held = None

    def _take(self, now: datetime) -> Lease | None:
        last = _read(self._client, self._name)
        if last is not None and last.owner != self._owner and now < last.until <= now + self._lasts:
            return None  # an end further away than a lease lasts is a clock that was wrong
        term = last.term + 1 if last else 1
        _propose(self._client, Lease(self._name, term, self._owner, now + self._lasts))
        after = _read(self._client, self._name)
        if after is None or (after.term, after.owner) != (term, self._owner):
            return None
        if self._since == 0 or last is None or last.owner != self._owner:
            self._since = term
        return after


def _propose(client: Client, row: Lease) -> None:
    columns = [field.name for field in fields(row)]
    try:
        client.insert(
            row.TABLE,
            [[getattr(row, column) for column in columns]],
            column_names=columns,
            settings={"async_insert": 0, "insert_deduplication_token": f"{row.name}/{row.term}"},
        )
    except ClickHouseError as exc:
        raise StoreUnavailableError(f"The store did not take the lease {row.name}; try again in a moment.") from exc


def _read(client: Client, name: str) -> Lease | None:
    found = fetch(client, named("select_lease", name=name), Lease)
    return found[0] if found else None
