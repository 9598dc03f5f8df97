"""Sources of scrapers that are not well: one exception for each, for whoever is on call."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.flows.told import Often, stamped
from controltower.store.flows.told import known as known_of
from controltower.store.reads.sources import sources
from controltower.store.rows import ExceptionRow, Key
from controltower.store.source_rows import NOT_WELL, SourceState, Standing
from controltower.store.write import insert

FLOW: Final = "scrape"  # stands in place of a flow: no step is of it
KIND: Final = "source"
RULE: Final = "source is well"
TOLD_AFTER: Final = timedelta(minutes=5)  # a restart, of the scraper or of what it reads, is over by then
LOOK_EVERY_S: Final = 15.0  # sources report every ten seconds
SEVERITIES: Final[Mapping[Standing, str]] = {
    Standing.FAILING: "page",
    Standing.SILENT: "page",
    Standing.PROBLEMS: "warning",
    Standing.BEHIND: "warning",
}
_SAID: Final[Mapping[Standing, str]] = {
    Standing.FAILING: "fails: nothing of it goes on",
    Standing.SILENT: "is silent: its scraper ended, or does not reach the collector",
    Standing.PROBLEMS: "has problems: some of it cannot be read, or a queue of it is beyond its limit",
    Standing.BEHIND: "is behind: it is not read as fast as it grows",
}


class ScrapedSources:
    """Looks at how sources stand, again and again. For one thread."""

    def __init__(
        self, client: Client, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._now = now
        self._often = Often(LOOK_EVERY_S, monotonic)
        self._since: dict[Key, datetime] = {}
        self._known: dict[Key, ExceptionRow] | None = None

    def look(self) -> None:
        """Write who is not well for a while, and who is well again; at most once in ``LOOK_EVERY_S``. Raises StoreError."""
        if not self._often.is_due():
            return
        if self._known is None:
            self._known = known_of(self._client, FLOW, KIND)
        now = self._now()
        standings = standings_of(sources(self._client), now)
        self._since = {key: self._since.get(key, now) for key, found in standings.items() if found in NOT_WELL}
        written = changes(standings, self._since, self._known, now)
        insert(self._client, written)
        self._known |= {row.anchor: row for row in written}


def standings_of(states: Iterable[SourceState], now: datetime) -> dict[Key, Standing]:
    """Return how each source stands: one of a host, of whichever tenant stands worst."""
    found: dict[Key, Standing] = {}
    for state in states:
        key = Key("source", state.host, state.source)
        found[key] = min(found.get(key, Standing.STOPPED), state.standing(now), key=list(Standing).index)
    return found


def changes(
    standings: Mapping[Key, Standing],
    since: Mapping[Key, datetime],
    known: Mapping[Key, ExceptionRow],
    now: datetime,
) -> list[ExceptionRow]:
    """Return what must be written: a source that is not well *since* a while, as it stands now, and the end of it. Pure.

    A source of which nobody told for 30 days is forgotten, and with it what was *known* of it.
    """
    rows = [_row(key, standings[key], since[key], known.get(key)) for key in since if _is_told(key, since, known, now)]
    rows += [
        replace(row, resolved_at=now) for key, row in known.items() if row.resolved_at is None and key not in since
    ]
    return stamped(rows, known, now)


def _is_told(key: Key, since: Mapping[Key, datetime], known: Mapping[Key, ExceptionRow], now: datetime) -> bool:
    before = known.get(key)
    return now - since[key] >= TOLD_AFTER or (before is not None and before.resolved_at is None)


def _row(key: Key, standing: Standing, since: datetime, before: ExceptionRow | None) -> ExceptionRow:
    is_open = before is not None and before.resolved_at is None
    return ExceptionRow(
        flow=FLOW,
        anchor=key,
        kind=KIND,
        rule=RULE,
        subject="",
        reason=standing.value,
        severity=SEVERITIES[standing],
        opened_at=before.opened_at if before is not None and is_open else since,
        resolved_at=None,
        amount=Decimal(0),
        currency="",
        detail=f"Source {key.value} on {key.scope} {_SAID[standing]}; see `controltower scrape status {key.value}`.",
    )
