"""The truth's own calendar: federal holidays by law, and business days by walking."""

from datetime import UTC, date, datetime, timedelta

import pytest

from controltower.cli.demo.workdays import business_days_after, holidays, is_workday, opening, working_time_after


def test_holidays_follow_from_the_law() -> None:
    """Fixed days move to the nearest weekday, the others are counted in their month."""
    assert {date(2026, 7, 3), date(2026, 11, 26), date(2026, 5, 25), date(2027, 12, 24)} <= holidays(2026) | holidays(
        2027
    )
    assert len(holidays(2026)) == 11


@pytest.mark.parametrize(
    ("start", "count", "end"),
    [
        ("2026-11-18T15:00:00+00:00", 1, "2026-11-19T15:00:00+00:00"),  # Wednesday 10:00 to Thursday 10:00
        ("2026-11-20T15:00:00+00:00", 1, "2026-11-23T15:00:00+00:00"),  # over the weekend
        ("2026-11-20T23:00:00+00:00", 1, "2026-11-24T13:00:00+00:00"),  # closed: counts from Monday 08:00
        ("2026-11-25T15:00:00+00:00", 2, "2026-11-30T15:00:00+00:00"),  # over Thanksgiving and the weekend
        ("2026-10-30T14:00:00+00:00", 1, "2026-11-02T15:00:00+00:00"),  # the end of daylight saving keeps 10:00
    ],
)
def test_business_days(start: str, count: int, end: str) -> None:
    """A limit in business days keeps the local time of day and skips closed days."""
    assert business_days_after(datetime.fromisoformat(start), count) == datetime.fromisoformat(end)


def test_working_time_is_office_hours_only() -> None:
    """Work that does not fit into the day goes on the next open morning."""
    friday_four = datetime(2026, 11, 20, 21, tzinfo=UTC)

    assert working_time_after(friday_four, timedelta(hours=2)) == datetime(2026, 11, 23, 14, tzinfo=UTC)
    assert opening(friday_four) == friday_four
    assert not is_workday(date(2026, 11, 21))
