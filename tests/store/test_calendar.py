"""Business calendars and limits."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.store.flows.calendar import BusinessCalendar, Limit, due_at, parse_limit

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
