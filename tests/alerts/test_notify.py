"""When a notification is tried again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.alerts.notify import (
    ATTEMPTS,
    RETRY_AFTER_LIMIT,
    next_attempt_at,
    parse_retry_after,
    pause_after,
)

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def test_the_schedule_is_that_of_the_specification() -> None:
    """Ten attempts: at once, then 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h after the one before."""
    at, offsets = NOW, []
    made = 1
    while (again := next_attempt_at(made, at, None)) is not None:
        offsets.append(again - at)
        at, made = again, made + 1

    seconds = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert offsets == [timedelta(seconds=offset) for offset in seconds]
    assert made == ATTEMPTS == 10
    assert at - NOW == timedelta(hours=75, minutes=35, seconds=5)


@given(st.integers(1, 9), st.timedeltas(min_value=timedelta(0), max_value=RETRY_AFTER_LIMIT))
def test_nobody_is_asked_before_they_want_to_be(made: int, wanted: timedelta) -> None:
    """The next attempt is never before the schedule, and never before what the receiver asked for."""
    again = next_attempt_at(made, NOW, wanted)
    scheduled = next_attempt_at(made, NOW, None)

    assert again is not None
    assert scheduled is not None
    assert again == max(scheduled, NOW + wanted)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("86401", 86_400),
        ("9" * 400, 86_400),
        ("Mon, 02 Mar 2026 09:01:30 GMT", 90),
        ("Mon, 02 Mar 2026 10:01:30 +0100", 90),
        ("Mon, 02 Mar 2026 09:01:30 -0000", 90),
        ("Sun, 01 Mar 2026 09:00:00 GMT", 0),
        ("Tue, 02 Mar 2100 09:00:00 GMT", 86_400),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: int | None) -> None:
    """Both forms are read and bounded by a day; what cannot be read counts as not said."""
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert parse_retry_after(text, NOW) == expected


@given(st.text())
def test_any_retry_after_is_read_or_ignored(text: str) -> None:
    """No text of a receiver raises or asks for more than a day."""
    wanted = parse_retry_after(text, NOW)

    assert wanted is None or timedelta(0) <= wanted <= RETRY_AFTER_LIMIT


def test_a_receiver_in_trouble_is_left_alone_longer_each_time() -> None:
    """1, 2, 4 … seconds up to a minute, or as long as it asks for."""
    pauses = [pause_after(troubles, None).total_seconds() for troubles in range(1, 10)]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pause_after(1, timedelta(minutes=5)) == timedelta(minutes=5)
    assert pause_after(1_000_000, None) == timedelta(seconds=60)
