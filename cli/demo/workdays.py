"""Business days of the simulated network: the truth's own, deliberately simple calendar.

Weekdays but US federal holidays (as observed, computed from the law and not from a list), open 08:00 to 17:00 in New
York. ``n business days`` after a moment: take the moment, or the next opening when closed then, and move *n* open days on
at the same time of day.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
OPENS = time(8)
CLOSES = time(17)
DAY = timedelta(days=1)
SATURDAY, SUNDAY = 5, 6

_FIXED = ((1, 1), (6, 19), (7, 4), (11, 11), (12, 25))
_NTH_MONDAY = ((1, 3), (2, 3), (9, 1), (10, 2))  # King, Washington, Labor, Columbus
MAY, NOVEMBER = 5, 11


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[date]:
    """Return the US federal holidays of *year* on the day they are observed."""
    found = {_observed(date(year, month, day)) for month, day in _FIXED}
    found.update(_nth(year, month, 0, count) for month, count in _NTH_MONDAY)
    last_may = max(date(year, MAY, day) for day in range(25, 32) if date(year, MAY, day).weekday() == 0)
    return frozenset({*found, last_may, _nth(year, NOVEMBER, 3, 4)})  # Memorial Day, Thanksgiving


def _observed(day: date) -> date:
    if day.weekday() == SATURDAY:
        return day - DAY
    return day + DAY if day.weekday() == SUNDAY else day


def _nth(year: int, month: int, weekday: int, count: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (count - 1))


def is_workday(day: date) -> bool:
    """Whether offices are open on *day*."""
    return day.weekday() < SATURDAY and day not in holidays(day.year)


def next_workday(day: date) -> date:
    """Return the first open day after *day*."""
    day += DAY
    while not is_workday(day):
        day += DAY
    return day


def local(day: date, at: time) -> datetime:
    """Return a local time of the network, as UTC."""
    return datetime.combine(day, at, tzinfo=ZONE).astimezone(UTC)


def day_of(at: datetime) -> date:
    """Return the local day of an instant."""
    return at.astimezone(ZONE).date()


def opening(at: datetime) -> datetime:
    """Return *at* when offices are open then, else when they open next."""
    here = at.astimezone(ZONE)
    day = here.date()
    if is_workday(day) and here.time() < CLOSES:
        return at if here.time() >= OPENS else local(day, OPENS)
    return local(next_workday(day), OPENS)


def business_days_after(at: datetime, count: int) -> datetime:
    """Return the moment *count* business days after *at* (UTC)."""
    start = opening(at).astimezone(ZONE)
    day = start.date()
    for _ in range(count):
        day = next_workday(day)
    return local(day, start.time())


def working_time_after(at: datetime, effort: timedelta) -> datetime:
    """Return when somebody who starts at *at*, works office hours only and needs *effort* is done."""
    here = opening(at)
    while (room := local(day_of(here), CLOSES) - here) < effort:
        effort -= room
        here = local(next_workday(day_of(here)), OPENS)
    return here + effort
