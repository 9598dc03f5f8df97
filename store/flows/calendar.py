"""Business calendars: when a limit given in business time falls due.

A start outside opening hours counts from the next opening. ``n business days`` keeps the local time of day and moves *n*
open days on; ``n business hours`` counts open hours only. A cut-off is a time on the wall of open days, a close an open day of
each month, counted from its beginning or its end. All arithmetic is done in the calendar's time zone, so a
change of daylight saving moves the UTC instant, not the time on the wall.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

Unit = Literal["minute", "hour", "day", "week", "business hour", "business day"]

_LIMIT = re.compile(r"(?P<count>\d{1,5})\s+(?P<unit>(?:business\s+)?(?:minute|hour|day|week))s?")
_PLAIN: dict[str, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
# No calendar is closed for longer; a search that goes on past it means that the calendar has no open day.
_LONGEST_CLOSURE_DAYS = 366


@dataclass(frozen=True)
class Limit:
    """How long something may take: ``4 hours``, ``1 business day``."""

    count: int
    unit: Unit

    @cached_property
    def business(self) -> bool:
        """Whether the limit needs a calendar."""
        return self.unit.startswith("business")

    @cached_property
    def span(self) -> timedelta:
        """The limit in calendar time; a business unit counts as its plain one (used for fences, never for deadlines)."""
        return self.count * _PLAIN[self.unit.removeprefix("business ")]

    @cached_property
    def at_least(self) -> timedelta:
        """What passes at least until the limit is over; clocks that are changed may take up to a day from a business one."""
        return self.span - timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}"


def parse_limit(text: str) -> Limit:
    """Read ``15 minutes``, ``2 business days``; ValueError says what is understood."""
    found = _LIMIT.fullmatch(text.strip().lower())
    unit = re.sub(r"\s+", " ", found["unit"]) if found else ""
    if found is None or unit not in (*_PLAIN, "business hour", "business day"):
        raise ValueError(f"{text!r} is not a limit; write for example 15 minutes, 4 hours, 45 days, 2 business days")
    return Limit(int(found["count"]), unit)  # type: ignore[arg-type]  # membership was just checked


@dataclass(frozen=True, slots=True)
class Close:
    """When the books of a month close: on its n-th open day from its end (-1 is its last), or on the n-th of the next month."""

    open_day: int  # not 0
    at: time


@dataclass(frozen=True, slots=True)
class BusinessCalendar:
    """Open days and hours of one place. ``opens < closes``; both are local times."""

    zone: ZoneInfo
    days: frozenset[int]  # 0 is Monday
    opens: time
    closes: time
    holidays: frozenset[date]
    close: Close | None = None

    def is_open_day(self, day: date) -> bool:
        """Whether *day* has opening hours."""
        return day.weekday() in self.days and day not in self.holidays

    def next_opening(self, at: datetime) -> datetime:
        """Return *at* itself when open then, else the next opening (local time)."""
        local = at.astimezone(self.zone)
        if self.is_open_day(local.date()):
            if local.time() < self.opens:
                return self._local(local.date(), self.opens)
            if local.time() < self.closes:
                return local
        return self._local(self._next_open_day(local.date()), self.opens)

    def add_days(self, at: datetime, count: int) -> datetime:
        """Return the instant *count* open days after *at* (UTC)."""
        start = self.next_opening(at)
        day = start.date()
        for _ in range(count):
            day = self._next_open_day(day)
        return self._local(day, start.time()).astimezone(UTC)

    def add_hours(self, at: datetime, count: int) -> datetime:
        """Return the instant *count* open hours after *at* (UTC)."""
        left = timedelta(hours=count)
        here = self.next_opening(at)
        while (room := self._local(here.date(), self.closes).astimezone(UTC) - here.astimezone(UTC)) < left:
            left -= room
            here = self._local(self._next_open_day(here.date()), self.opens)
        return here.astimezone(UTC) + left

    def next_cut_off(self, at: datetime, cut_off: time) -> datetime:
        """Return the first *cut_off* of an open day that is not before *at* (UTC)."""
        day = at.astimezone(self.zone).date()
        if self.is_open_day(day) and (today := self._local(day, cut_off).astimezone(UTC)) >= at:
            return today
        return self._local(self._next_open_day(day), cut_off).astimezone(UTC)

    def next_close(self, at: datetime) -> datetime:
        """Return when the books close in which *at* is written: those of its month, or of the next one that is not closed (UTC)."""
        month = at.astimezone(self.zone).date().replace(day=1)
        while (closes := self.closes_of(month)) is None or closes < at:
            month = _next_month(month)
        return closes

    def closes_of(self, month: date) -> datetime | None:
        """Return when the books of *month*, its first day, close (UTC); None when it has no open day. A day it is too short for is
        its last, or first."""
        if self.close is None:
            raise ValueError("the calendar does not say when the books close")
        first = month if self.close.open_day < 0 else _next_month(month)
        days = [day for day in _days_of(first) if self.is_open_day(day)]
        if not days:
            return None
        open_day = self.close.open_day
        position = open_day - 1 if open_day > 0 else len(days) + open_day
        return self._local(days[min(max(position, 0), len(days) - 1)], self.close.at).astimezone(UTC)

    def on(self, day: date, times: Iterable[time]) -> list[datetime]:
        """Return these *times* of a day in order (UTC), none when it is not open: a change of the clocks may make one of two."""
        return sorted({self._local(day, at).astimezone(UTC) for at in times}) if self.is_open_day(day) else []

    def through(self, day: date, interval: timedelta) -> list[datetime]:
        """Return the opening of a day and what follows it at each *interval* before the closing (UTC), none when it is not open."""
        if not self.is_open_day(day):
            return []
        opens, closes = (self._local(day, at).astimezone(UTC) for at in (self.opens, self.closes))
        return [opens + number * interval for number in range(-((opens - closes) // interval))]

    def _next_open_day(self, day: date) -> date:
        for offset in range(1, _LONGEST_CLOSURE_DAYS):
            if self.is_open_day(candidate := day + timedelta(days=offset)):
                return candidate
        raise ValueError(f"the calendar has no open day within a year of {day}")

    def _local(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, tzinfo=self.zone)


def _next_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


def _days_of(month: date) -> list[date]:
    return [day for day in (month + timedelta(days=number) for number in range(31)) if day.month == month.month]


def due_by(start: datetime, limit: Limit, at: time | Literal["close"], calendar: BusinessCalendar) -> datetime:
    """Return the first cut-off *at* that time of the day, or the first close, once *limit* from *start* is over (UTC)."""
    earliest = due_at(start, limit, calendar)
    return calendar.next_close(earliest) if at == "close" else calendar.next_cut_off(earliest, at)


def due_at(start: datetime, limit: Limit, calendar: BusinessCalendar | None) -> datetime:
    """Return when *limit*, counted from *start*, is over (UTC). A business unit needs *calendar*."""
    if not limit.business:
        return start.astimezone(UTC) + limit.span
    if calendar is None:
        raise ValueError(f"{limit} needs a business calendar")
    add: Callable[[datetime, int], datetime] = calendar.add_days if limit.unit == "business day" else calendar.add_hours
    return add(start, limit.count)
