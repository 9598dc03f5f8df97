"""Schedules: when their slots open and are due, on calendars whose clocks are changed."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controltower.store.flows.calendar import BusinessCalendar, Close, parse_limit
from controltower.store.flows.schedule import BACK, MOST, Every, Schedule, shortest

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ZONE = ZoneInfo("America/New_York")
WEEK = BusinessCalendar(ZONE, frozenset(range(7)), time(0), time(23, 59), frozenset(), Close(3, time(17)))
OFFICE = replace(
    WEEK, days=frozenset(range(5)), opens=time(8), closes=time(17), holidays=frozenset({date(2026, 11, 26)})
)


def schedule(
    every: Every, within: str = "0 minutes", early: str = "", calendar: BusinessCalendar | None = OFFICE
) -> Schedule:
    """Return a schedule as a rule says it."""
    return Schedule(every, parse_limit(within), parse_limit(early) if early else None, calendar)


def at(text: str) -> datetime:
    """Read a time of New York as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


def through(made: Schedule, day: str) -> list[datetime]:
    """Return the times of a day, from its midnight to the next one in New York."""
    begin = at(day)
    end = at((datetime.fromisoformat(day) + DAY).isoformat())
    slots, _ = made.slots(begin, end - MINUTE)
    return [slot.at for slot in slots if slot.at < end]


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-07", 24), ("2026-03-08", 23), ("2026-11-01", 25)],
)
def test_an_interval_counts_hours_that_pass(day: str, hours: int) -> None:
    """A day on which the clocks are changed has as many slots as it has quarters of an hour."""
    made = schedule(parse_limit("15 minutes"), calendar=WEEK)

    times = through(made, day)
    assert (len(times), times[0]) == (hours * 4, at(day))
    assert {after - before for before, after in pairwise(times)} == {15 * MINUTE}


@pytest.mark.parametrize(
    ("day", "wall", "utc"),
    [
        ("2026-03-07", "02:30", "2026-03-07T07:30Z"),
        ("2026-03-08", "02:30", "2026-03-08T07:30Z"),  # is left out: an hour later, 03:30
        ("2026-03-09", "02:30", "2026-03-09T06:30Z"),
        ("2026-11-01", "01:30", "2026-11-01T05:30Z"),  # comes twice: the first
        ("2026-11-02", "01:30", "2026-11-02T06:30Z"),
    ],
)
def test_a_time_of_the_day_is_one_slot(day: str, wall: str, utc: str) -> None:
    """Also where the clocks leave it out, or show it twice."""
    assert through(schedule((time.fromisoformat(wall),), calendar=WEEK), day) == [datetime.fromisoformat(utc)]


def test_two_times_that_the_clocks_make_one() -> None:
    """What is left out falls on the time an hour later, which is one slot and not two."""
    made = schedule((time(2, 30), time(3), time(3, 30)), calendar=WEEK)

    assert through(made, "2026-03-08") == [at("2026-03-08T03:00"), at("2026-03-08T03:30")]


def test_open_days_only() -> None:
    """Weekends and holidays have no slot, and what follows them opens half way since the one before was due."""
    slots, end = schedule((time(6),), "2 hours").slots(at("2026-11-25T00:00"), at("2026-11-29T12:00"))

    assert [(each.opens, each.at, each.due) for each in slots] == [
        (at("2026-11-24T19:00"), at("2026-11-25T06:00"), at("2026-11-25T08:00")),
        (at("2026-11-26T07:00"), at("2026-11-27T06:00"), at("2026-11-27T08:00")),  # Thanksgiving is closed
        (at("2026-11-28T19:00"), at("2026-11-30T06:00"), at("2026-11-30T08:00")),
    ]
    assert end == at("2026-11-30T19:00")


def test_an_interval_begins_at_each_opening() -> None:
    """And has no slot at the closing, nor at night."""
    made = schedule(parse_limit("2 hours"))

    assert through(made, "2026-11-25") == [at(f"2026-11-25T{hour:02}:00") for hour in (8, 10, 12, 14, 16)]
    assert through(made, "2026-11-26") == []


def test_the_close() -> None:
    """The books of a month close on the third open day of the next one."""
    slots, _ = schedule("close", "1 business day").slots(at("2026-02-01T00:00"), at("2026-03-20T00:00"))

    assert [(slot.at, slot.due) for slot in slots] == [
        (at("2026-02-04T17:00"), at("2026-02-06T08:00")),
        (at("2026-03-04T17:00"), at("2026-03-06T08:00")),
        (at("2026-04-03T17:00"), at("2026-04-07T08:00")),
    ]


@pytest.mark.parametrize(
    ("early", "opens"),
    [("0 minutes", "2026-11-24T06:00"), ("9 hours", "2026-11-23T21:00"), ("5 days", "2026-11-23T08:00")],
)
def test_early(early: str, opens: str) -> None:
    """A slot opens as early as its rule says, and never before the one before was due."""
    slots, _ = schedule((time(6),), "2 hours", early).slots(at("2026-11-24T00:00"), at("2026-11-24T12:00"))

    assert slots[0].opens == at(opens)


def test_how_many_are_looked_at() -> None:
    """Ninety days, or the latest thousand."""
    now = at("2026-11-02T12:00")
    daily, _ = schedule((time(6),), calendar=WEEK).slots(now - 2 * BACK, now)
    often, _ = schedule(parse_limit("1 minute"), calendar=None).slots(now - 2 * BACK, now)

    assert len(daily) == BACK // DAY + 1
    assert (len(often), often[-2].at) == (MOST + 1, now)


def test_a_calendar_that_is_always_closed() -> None:
    """Is told, and not searched for ever."""
    closed = replace(WEEK, days=frozenset())
    with pytest.raises(ValueError, match="no time of the schedule"):
        schedule((time(6),), calendar=closed).slots(at("2026-11-02T12:00"), at("2026-11-03T12:00"))


times_of_day = st.sets(st.integers(0, 95).map(lambda n: time(n // 4, n % 4 * 15)), min_size=1, max_size=4)
everies = st.one_of(
    times_of_day.map(lambda found: tuple(sorted(found))),
    st.sampled_from(["15 minutes", "45 minutes", "3 hours"]).map(parse_limit),
)


def wall_times(every: Every, calendar: BusinessCalendar, begin: datetime, end: datetime) -> list[datetime]:
    """Return the times of a schedule as a clerk finds them, who looks at the clock on the wall each minute; away from changes of the
    clocks."""
    found: list[datetime] = []
    opened = begin
    for minute in range((end - begin) // MINUTE + 1):
        here = (begin + minute * MINUTE).astimezone(calendar.zone)
        if not calendar.is_open_day(here.date()):
            continue
        wall = here.time()
        if wall == calendar.opens:
            opened = here
        if isinstance(every, tuple):
            due = wall in every
        else:
            due = calendar.opens <= wall < calendar.closes and not (here - opened) % parse_limit(str(every)).span
        if due:
            found.append(here.astimezone(UTC))
    return found


@settings(max_examples=60, deadline=None)
@given(everies, st.integers(0, 60), st.one_of(st.none(), st.integers(0, 2000)), st.integers(0, 4 * 24 * 60))
def test_slots_are_those_of_a_clerk(every: Every, within: int, early: int | None, minutes: int) -> None:
    """For any schedule: each time on the wall once, due when it says or when the next one is scheduled, and open from half way since
    the one before was due; no two slots are open at once."""
    now = at("2026-11-24T09:00") + minutes * MINUTE
    since = now - 4 * DAY
    made = schedule(
        every, f"{min(within, shortest(every) // MINUTE)} minutes", "" if early is None else f"{early} minutes"
    )
    slots, end = made.slots(since, now)
    times = wall_times(every, OFFICE, since - 7 * DAY, now + 7 * DAY)
    before, *wanted = [when for when in times if when < since][-1:] + [when for when in times if since <= when <= now]
    ahead = [when for when in times if when > now]

    assert [slot.at for slot in slots] == [*wanted, ahead[0]]
    for slot, after in zip(slots, [*wanted[1:], *ahead] if wanted else ahead[1:], strict=False):
        assert slot.due == min(slot.at + made.within.span, after)
        free = min(before + made.within.span, slot.at)
        half = slot.at - ((slot.at - free) // MINUTE // 2) * MINUTE
        assert slot.opens == (half if early is None else max(free, slot.at - early * MINUTE))
        before = slot.at
    edges = [when for slot in slots for when in (slot.opens, slot.due)]
    assert [*edges, end] == sorted([*edges, end])
