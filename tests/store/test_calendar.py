"""Business calendars and limits."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.store.flows.calendar import BusinessCalendar, Close, Limit, due_at, due_by, parse_limit

NEW_YORK = BusinessCalendar(
    zone=ZoneInfo("America/New_York"),
    days=frozenset(range(5)),
    opens=time(8),
    closes=time(17),
    holidays=frozenset({date(2026, 11, 26)}),
)
instants = st.integers(0, 330 * 24 * 3600).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


@pytest.mark.parametrize(
    ("start", "limit", "due"),
    [
        ("2026-11-18T15:00:00Z", "1 business day", "2026-11-19T15:00:00Z"),  # Wednesday 10:00 -> Thursday 10:00
        ("2026-11-20T20:00:00Z", "1 business day", "2026-11-23T20:00:00Z"),  # Friday 15:00 -> Monday 15:00
        ("2026-11-21T20:00:00Z", "1 business day", "2026-11-24T13:00:00Z"),  # Saturday counts from Monday 08:00
        ("2026-11-25T15:00:00Z", "1 business day", "2026-11-27T15:00:00Z"),  # Thanksgiving is closed
        (
            "2026-11-18T23:30:00Z",
            "2 business days",
            "2026-11-23T13:00:00Z",
        ),  # after closing counts from the next opening
        ("2026-10-30T14:00:00Z", "1 business day", "2026-11-02T15:00:00Z"),  # clocks go back: 10:00 stays 10:00
        ("2026-11-20T20:00:00Z", "4 business hours", "2026-11-23T15:00:00Z"),  # two hours on Friday, two on Monday
        ("2026-11-21T20:00:00Z", "4 hours", "2026-11-22T00:00:00Z"),  # plain time runs at weekends
    ],
)
def test_due(start: str, limit: str, due: str) -> None:
    """A limit falls due on the wall clock of its calendar."""
    found = due_at(datetime.fromisoformat(start), parse_limit(limit), NEW_YORK)

    assert found == datetime.fromisoformat(due)


THIRD = replace(NEW_YORK, close=Close(3, time(17)))
LAST = replace(NEW_YORK, close=Close(-1, time(12)))


@pytest.mark.parametrize(
    ("start", "limit", "at", "calendar", "due"),
    [
        ("2026-11-18T15:00:00Z", "0 minutes", time(17), NEW_YORK, "2026-11-18T22:00:00Z"),  # Wednesday 10:00: today
        (
            "2026-11-18T22:00:00Z",
            "0 minutes",
            time(17),
            NEW_YORK,
            "2026-11-18T22:00:00Z",
        ),  # the cut-off itself is in time
        (
            "2026-11-18T22:00:01Z",
            "0 minutes",
            time(17),
            NEW_YORK,
            "2026-11-19T22:00:00Z",
        ),  # a second later is tomorrow's
        ("2026-11-20T23:00:00Z", "0 minutes", time(17), NEW_YORK, "2026-11-23T22:00:00Z"),  # Friday evening: Monday
        ("2026-11-25T23:00:00Z", "0 minutes", time(17), NEW_YORK, "2026-11-27T22:00:00Z"),  # Thanksgiving has none
        ("2026-11-18T15:00:00Z", "1 business day", time(17), NEW_YORK, "2026-11-19T22:00:00Z"),
        (
            "2026-11-18T15:00:00Z",
            "1 business day",
            time(9),
            NEW_YORK,
            "2026-11-20T14:00:00Z",
        ),  # Thursday's 9:00 is too soon
        (
            "2026-10-30T22:00:00Z",
            "0 minutes",
            time(17),
            NEW_YORK,
            "2026-11-02T22:00:00Z",
        ),  # 17:00 before and after clocks go back
        ("2026-10-30T20:00:00Z", "0 minutes", time(17), NEW_YORK, "2026-10-30T21:00:00Z"),
        ("2026-11-18T15:00:00Z", "0 minutes", "close", THIRD, "2026-12-03T22:00:00Z"),  # the books of November
        (
            "2026-11-02T15:00:00Z",
            "0 minutes",
            "close",
            THIRD,
            "2026-12-03T22:00:00Z",
        ),  # those of October still are open
        ("2026-12-01T03:00:00Z", "0 minutes", "close", THIRD, "2026-12-03T22:00:00Z"),  # in New York it is November
        ("2026-11-18T15:00:00Z", "0 minutes", "close", LAST, "2026-11-30T17:00:00Z"),
        ("2026-11-30T18:00:00Z", "0 minutes", "close", LAST, "2026-12-31T17:00:00Z"),  # after the close: the next books
        ("2026-11-30T15:00:00Z", "1 business day", "close", LAST, "2026-12-31T17:00:00Z"),
    ],
)
def test_due_by_a_cut_off(
    start: str, limit: str, at: time | Literal["close"], calendar: BusinessCalendar, due: str
) -> None:
    """A cut-off is a time on the wall of an open day, a close that of the books which the start is written in."""
    assert due_by(datetime.fromisoformat(start), parse_limit(limit), at, calendar) == datetime.fromisoformat(due)


@given(instants, instants, st.times(), st.integers(-20, 20).filter(bool))
def test_cut_offs_are_reached_in_order(one: datetime, other: datetime, at: time, open_day: int) -> None:
    """No cut-off or close is before what it is for, none is on a closed day, and what begins later is not due earlier."""
    calendar = replace(NEW_YORK, close=Close(open_day, at.replace(microsecond=0)))
    for due in (lambda start: calendar.next_cut_off(start, at), calendar.next_close):
        sooner, later = due(min(one, other)), due(max(one, other))
        assert min(one, other) <= sooner <= later
        assert calendar.is_open_day(sooner.astimezone(calendar.zone).date())
        assert due(sooner) >= sooner


def test_a_short_month_closes_in_itself() -> None:
    """An open day that a month does not have is its last one."""
    calendar = replace(NEW_YORK, days=frozenset({0}), close=Close(20, time(17)))  # Mondays only

    assert calendar.next_close(datetime(2026, 10, 5, tzinfo=UTC)) == datetime(2026, 11, 30, 22, tzinfo=UTC)


@given(instants, st.integers(0, 30))
def test_business_days_land_on_open_time(start: datetime, count: int) -> None:
    """The due instant is always inside opening hours and never before the start."""
    due = NEW_YORK.add_days(start, count)

    assert due >= start
    assert NEW_YORK.next_opening(due) == due


@given(instants, st.integers(0, 20), st.integers(0, 20))
def test_business_days_add_up(start: datetime, first: int, second: int) -> None:
    """Adding days in two parts gives the same instant as adding them at once."""
    assert NEW_YORK.add_days(NEW_YORK.add_days(start, first), second) == NEW_YORK.add_days(start, first + second)


@given(instants, st.integers(1, 60), st.integers(1, 60))
def test_business_hours_are_monotonic(start: datetime, first: int, second: int) -> None:
    """More hours are never due earlier."""
    sooner, later = sorted((first, second))

    assert NEW_YORK.add_hours(start, sooner) <= NEW_YORK.add_hours(start, later)


@pytest.mark.parametrize("text", ["", "soon", "1.5 days", "2 business weeks", "-1 day", "3 business minutes"])
def test_unknown_limits_are_refused(text: str) -> None:
    """A limit that is not understood names what would be."""
    with pytest.raises(ValueError, match="for example 15 minutes"):
        parse_limit(text)


def test_limit_prints_as_written() -> None:
    """A limit reads as people write it."""
    assert str(parse_limit("2  Business Days")) == "2 business days"
    assert parse_limit("1 week") == Limit(1, "week")
    assert parse_limit("3 days").span == timedelta(days=3)
