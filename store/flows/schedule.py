"""Schedules: times at which a step must come again and again, although no step before it asks for it. Pure.

A slot is one such time. It opens half way between the time at which the slot before was due and its own time, or ``early`` before its
own time, though never before the other one was due, and lasts until the next one opens. So a step is of exactly one slot, and the
first step of a slot answers it: in time until it is due, late from then on.

Times of the day are on the wall of open days: one that a change of the clocks leaves out is an hour later, of one that comes twice
it is the first. An interval counts from each opening of the calendar until its closing, without a calendar from 1970 on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Final, Literal

from controltower.store.flows.calendar import BusinessCalendar, Limit, due_at

Every = Limit | tuple[time, ...] | Literal["close"]

BACK: Final = timedelta(days=90)  # slots that are older are not looked at
MOST: Final = 1_000  # slots of a schedule, the latest
MINUTE: Final = timedelta(minutes=1)  # all times of a slot are in full minutes
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MINUTES: Final = 24 * 60
# Intervals, days or months that are looked through: more than ``MOST``, and no calendar is closed for so long.
_PERIODS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Slot:
    """One time of a schedule (UTC)."""

    opens: datetime  # from here on a step is of this slot, until the next one opens
    at: datetime  # when it is scheduled
    due: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something must come again and again, and how long before and after that it may."""

    every: Every
    within: Limit
    early: Limit | None
    calendar: BusinessCalendar | None

    def slots(self, since: datetime, now: datetime, most: int = MOST) -> tuple[list[Slot], datetime]:
        """Return slots in order, and when the one behind them opens: of those scheduled from *since* until *now* the latest *most*
        within ``BACK``, and the next one, which a step may answer already. ValueError when there is no next one."""
        latest: list[datetime] = []
        for before in self._past(now):
            if before < max(since, now - BACK) or len(latest) == most:
                break
            latest.append(before)
        times = [before, *reversed(latest), *islice(self._ahead(now), 2)]
        found = [self._slot(*around) for around in zip(times, times[1:], [*times[2:], None], strict=False)]
        return found[:-1], found[-1].opens

    def _slot(self, before: datetime, at: datetime, after: datetime | None) -> Slot:
        free = self._due(before, at)
        half = (at - free) / 2 // MINUTE * MINUTE
        opens = at - half if self.early is None else max(free, at - self.early.span)
        return Slot(opens, at, self._due(at, after))

    def _due(self, at: datetime, after: datetime | None) -> datetime:
        """Return when what is scheduled *at* is due: at the latest when the one *after* is scheduled."""
        due = due_at(at, self.within, self.calendar)
        return due if after is None else min(due, after)

    def _past(self, until: datetime) -> Iterator[datetime]:
        """Yield the times that are not after *until*, the latest first."""
        begin = self._period(until) + 1
        for period in range(begin, begin - _PERIODS, -1):
            yield from (at for at in reversed(self._times(period)) if at <= until)
        raise ValueError(f"the calendar has no time of the schedule before {until}")

    def _ahead(self, after: datetime) -> Iterator[datetime]:
        """Yield the times after *after*, the next first."""
        begin = self._period(after) - 1
        for period in range(begin, begin + _PERIODS):
            yield from (at for at in self._times(period) if at > after)
        raise ValueError(f"the calendar has no time of the schedule after {after}")

    def _period(self, at: datetime) -> int:
        """Return the number of the interval, day or month that *at* is in."""
        if self.calendar is None:
            return int((at - _EPOCH) // self._interval)
        day = at.astimezone(self.calendar.zone).date()
        return day.year * 12 + day.month - 1 if self.every == "close" else day.toordinal()

    def _times(self, period: int) -> list[datetime]:
        """Return the times of an interval, a day, or the books of a month, in order."""
        if self.calendar is None:
            return [_EPOCH + period * self._interval]
        if self.every == "close":
            closes = self.calendar.closes_of(date(period // 12, period % 12 + 1, 1))
            return [] if closes is None else [closes]
        day = date.fromordinal(period)
        if isinstance(self.every, tuple):
            return self.calendar.on(day, self.every)
        return self.calendar.through(day, self._interval)

    @property
    def _interval(self) -> timedelta:
        if not isinstance(self.every, Limit):
            raise TypeError(f"{self.every} is no interval, and needs a calendar")
        return self.every.span


def shortest(every: Every) -> timedelta:
    """Return the shortest time from one slot to the next, where no change of the clocks makes it shorter."""
    if isinstance(every, Limit):
        return every.span
    if every == "close":
        return timedelta(days=28)
    minutes = [at.hour * 60 + at.minute for at in every]
    return min(after - before for before, after in pairwise([*minutes, minutes[0] + _DAY_MINUTES])) * MINUTE
