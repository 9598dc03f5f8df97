"""Which numbers were seen of the counts that a source tells, and which are missing between them."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import nlargest
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

from controltower.store.flows.definition import Flow
from controltower.store.missing import Missing
from controltower.store.rows import Step

BACK: Final = timedelta(days=90)  # what is older is not looked at, and a gap that old not told any more
WIDEST: Final = 100  # numbers from one that was seen to the next; a wider jump begins another count
MOST: Final = 1_000  # gaps of one type of key, the latest
# A key that counts has a run for each gap. One that does not, although its flow says so, has one for each value: of those
# the oldest are forgotten, so that they take some ten megabytes.
RUNS_KEPT: Final = 50_000
_NUMBERED: Final = re.compile("(.*?)([0-9]{1,18})", re.DOTALL)  # as in engine_runs.sql


class Count(NamedTuple):
    """What numbers must agree in to follow each other."""

    type: str
    scope: str
    series: str  # what stands before the number
    width: int  # digits

    def value(self, number: int) -> str:
        """Return a number as its key says it."""
        return numbered(self.series, self.width, number)


@dataclass(frozen=True, slots=True)
class Run:
    """Numbers of a count that were all seen, and when its ends were first."""

    type: str
    scope: str
    series: str
    width: int
    first: int
    last: int
    first_at: datetime
    last_at: datetime

    @property
    def count(self) -> Count:
        """The count that they are of."""
        return Count(self.type, self.scope, self.series, self.width)


class Counts:
    """The counts of a flow that its sources tell. For one thread."""

    def __init__(self, flow: Flow, runs: Iterable[Run] = ()) -> None:
        """Begin with *runs* that were seen, which do not touch each other."""
        self._flow = flow
        self._runs: dict[Count, list[Run]] = {}
        self._gaps: dict[Count, list[Missing]] = {}
        self._open: list[Missing] = []  # all of these
        self._take(runs)

    def see(self, steps: Iterable[Step]) -> None:
        """Take the numbers that these *steps* carry."""
        touched: set[Count] = set()
        for step in steps:
            for key in step.keys:
                if key.type in self._flow.counted and (found := _NUMBERED.fullmatch(key.value)) is not None:
                    series, digits = found.groups()
                    count = Count(key.type, key.scope, series, len(digits))
                    number = int(digits)
                    add(self._runs.setdefault(count, []), Run(*count, number, number, step.at, step.at))
                    touched.add(count)
        if sum(map(len, self._runs.values())) > RUNS_KEPT:
            self._forget()
        elif touched:
            self._look_at(touched)

    def missing(self, now: datetime) -> frozenset[Missing]:
        """Return what is missing and neither lost nor too old: the latest of each type of key."""
        still = [gap for gap in self._open if gap.since >= now - BACK and not self._is_lost(gap, now)]
        by_type = (
            nlargest(MOST, (g for g in still if g.type == kind), attrgetter("until", "name"))
            for kind in self._flow.counted
        )
        return frozenset(gap for latest in by_type for gap in latest)

    def _is_lost(self, gap: Missing, now: datetime) -> bool:
        lost_after = self._flow.counted[gap.type].lost_after
        return lost_after is not None and now >= gap.until + lost_after.span

    def _gaps_of(self, count: Count) -> list[Missing]:
        return [
            self._missing(count, before, after)
            for before, after in pairwise(self._runs[count])
            if after.first - before.last <= WIDEST
        ]

    def _missing(self, count: Count, before: Run, after: Run) -> Missing:
        sequence = self._flow.counted[count.type]
        return Missing(
            source=sequence.source or "",
            since=min(before.last_at, after.first_at),
            until=max(before.last_at, after.first_at),
            type=count.type,
            scope=count.scope,
            first=count.value(before.last + 1),
            last=count.value(after.first - 1),
            counterparty=count.scope if sequence.per_counterparty else "",
        )

    def _forget(self) -> None:
        """Forget the oldest half of the runs."""
        runs = (run for runs in self._runs.values() for run in runs)
        latest = nlargest(RUNS_KEPT // 2, runs, attrgetter("last_at"))
        self._runs, self._gaps = {}, {}
        self._take(latest)

    def _take(self, runs: Iterable[Run]) -> None:
        for run in sorted(runs, key=attrgetter("first")):
            self._runs.setdefault(run.count, []).append(run)
        self._look_at(self._runs)

    def _look_at(self, counts: Iterable[Count]) -> None:
        """Find the gaps of these counts anew."""
        self._gaps |= {count: self._gaps_of(count) for count in counts}
        self._open = [gap for gaps in self._gaps.values() for gap in gaps]


def concerning(flow: Flow, found: Iterable[tuple[Flow, Iterable[Missing]]]) -> frozenset[Missing]:
    """Return what is missing of who tells stages of *flow*, of all that is *found* by the flow that counts it. Whose it is is known where
    both flows call the counterparty the same."""
    return frozenset(
        gap if counting.counterparty == flow.counterparty else replace(gap, counterparty="")
        for counting, missing in found
        for gap in missing
        if gap.source in flow.told_by
    )


def numbered(series: str, width: int, number: int) -> str:
    """Return a *number* of so many digits as its key says it: behind the text of its *series*."""
    return f"{series}{number:0{width}d}"


def add(runs: list[Run], seen: Run) -> None:
    """Add a number, as a run of its own, to the *runs* of its count, which are in order."""
    at = bisect_right(runs, seen.first, key=attrgetter("first"))
    before = runs[at - 1] if at else None
    after = runs[at] if at < len(runs) else None
    if before is not None and seen.first <= before.last:
        runs[at - 1] = _earlier(before, seen)
        return
    begin, end = at, at
    if before is not None and before.last + 1 == seen.first:
        seen, begin = replace(seen, first=before.first, first_at=before.first_at), at - 1
    if after is not None and after.first == seen.last + 1:
        seen, end = replace(seen, last=after.last, last_at=after.last_at), at + 1
    runs[begin:end] = [seen]


def _earlier(run: Run, seen: Run) -> Run:
    """Return a run one of whose numbers was seen once more: what counts is when it was first."""
    if seen.first == run.first:
        run = replace(run, first_at=min(run.first_at, seen.first_at))
    if seen.last == run.last:
        run = replace(run, last_at=min(run.last_at, seen.last_at))
    return run
