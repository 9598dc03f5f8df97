"""Numbers that follow each other, such as the control numbers of a partner's interchanges: an exception for each gap, or one for
all that is missing of a source."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.flows.counts import BACK, MOST, WIDEST, numbered
from controltower.store.flows.definition import Flow
from controltower.store.flows.silence import of_source
from controltower.store.flows.told import Known, Often, known, stamped
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch
from controltower.store.rows import SEVERITIES, UNKNOWN_SINCE, ExceptionRow, Key
from controltower.store.write import insert

KIND: Final = "gap"
LOOK_EVERY_S: Final = 60.0
GAPS_TOLD: Final = 3  # of a source in one sentence; how many more there are is said


@dataclass(frozen=True, slots=True)
class Gap:
    """Two numbers that were seen, and none between them."""

    scope: str
    series: str  # what stands before the number
    width: int  # digits
    previous: int
    number: int
    previous_at: datetime
    at: datetime

    @property
    def missing(self) -> tuple[str, str]:
        """The first and the last value that is missing."""
        first, last = (numbered(self.series, self.width, n) for n in (self.previous + 1, self.number - 1))
        return first, last


class Sequences:
    """Looks for gaps, again and again. For one thread."""

    def __init__(
        self, client: Client, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._now = now
        self._often = Often(LOOK_EVERY_S, monotonic)
        self._known: dict[str, dict[Key, ExceptionRow]] = {}

    def look(self, flows: Iterable[Flow]) -> None:
        """Write what is missing of the counts that *flows* name, and what came; at most once in ``LOOK_EVERY_S``. Raises
        StoreError."""
        if not self._often.is_due():
            return
        now = self._now()
        for flow in flows:
            if flow.flow not in self._known:
                self._known[flow.flow] = known(self._client, flow.flow, KIND)
            found = {name: self._gaps(flow, name, now - BACK) for name in flow.sequences}
            written = changes(flow, found, self._known[flow.flow], now)
            insert(self._client, written)
            self._known[flow.flow] |= {row.anchor: row for row in written}

    def _gaps(self, flow: Flow, key_type: str, since: datetime) -> tuple[Gap, ...]:
        since_us = (since - UNKNOWN_SINCE) // timedelta(microseconds=1)
        query = named("engine_gaps", flow=flow.flow, type=key_type, since=since_us, widest=WIDEST, limit=MOST)
        return fetch(self._client, query, Gap)


def changes(flow: Flow, found: Mapping[str, Sequence[Gap]], before: Known, now: datetime) -> list[ExceptionRow]:
    """Return what must be written of the gaps *found* by type of key: those that are over their time, and those that are
    closed; of what a source tells all that are neither closed nor lost as one. Pure."""
    rows: list[ExceptionRow] = []
    of_sources: dict[str, list[ExceptionRow]] = defaultdict(list)
    for name, gaps in found.items():
        sequence = flow.sequences[name]
        told = of_sources[sequence.source] if sequence.source else rows
        lost_after = sequence.lost_after.span if sequence.lost_after else BACK
        told += (row for gap in gaps if (row := _row(flow, name, gap)).opened_at <= now < _later(gap) + lost_after)
    rows += (_incomplete(source, gaps) for source, gaps in of_sources.items() if gaps)
    still = {row.anchor for row in rows}
    closed = (row for anchor, row in before.items() if row.resolved_at is None and anchor not in still)
    return stamped((*rows, *(replace(row, resolved_at=now) for row in closed)), before, now)


def _later(gap: Gap) -> datetime:
    return max(gap.previous_at, gap.at)


def _incomplete(source: str, gaps: Sequence[ExceptionRow]) -> ExceptionRow:
    """Return one exception for all *gaps* of what a source tells."""
    told = sorted(gaps, key=lambda row: (row.opened_at, row.anchor))
    more = f" {len(gaps) - GAPS_TOLD} more gaps are open." if len(gaps) > GAPS_TOLD else ""
    return replace(
        told[0],
        anchor=of_source(source),
        rule="every number of a source is seen",
        severity=max((row.severity for row in gaps), key=SEVERITIES.index),
        detail=(
            f"{source} did not tell all, so that whether what it tells is late is not known. "
            f"{' '.join(row.detail for row in told[:GAPS_TOLD])}{more}"
        ),
    )


def _row(flow: Flow, key_type: str, gap: Gap) -> ExceptionRow:
    first, last = gap.missing
    what = f"{first} was not seen" if first == last else f"{first} to {last} were not seen"
    return ExceptionRow(
        flow=flow.flow,
        anchor=Key("sequence", gap.scope, first),
        kind=KIND,
        rule=f"every {key_type} is seen",
        subject="",
        reason="missing",
        severity=flow.sequences[key_type].severity,
        opened_at=gap.at + flow.sequences[key_type].missing_after.span,
        resolved_at=None,
        amount=Decimal(0),
        currency="",
        detail=(
            f"{key_type.capitalize()} {what}: the one before came {gap.previous_at:%Y-%m-%d %H:%M} UTC, "
            f"the next one {gap.at:%Y-%m-%d %H:%M} UTC."
        ),
    )
