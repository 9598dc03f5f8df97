"""What is expected: each time of a calendar once, also of those that came while nothing ran; what a run is for."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controltower.collector.scrapers.definition import ScheduleSource, parse_sources
from controltower.collector.scrapers.errors import SourcesError
from controltower.collector.scrapers.schedule import ScheduleReader
from controltower.collector.scrapers.slots import between, latest, slot_of
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.brokers import worker_of
from tests.collector.scrapers.test_worker import attributes_of, spans_of

NEW_YORK = ZoneInfo("America/New_York")
MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
OFTEN = "30 1,2 * * *"  # at hours that are not there, or twice, on two days of a year
EARLIEST = datetime.fromisoformat("2026-01-03")
OK: Answer = (200, {}, b"")


def source_of(**options: Any) -> ScheduleSource:
    """Return a source that expects something each hour."""
    rule = {"step": "batch.run.expected", "keys": {"slot": {"text": "load|{slot}"}}, "context": {"grace_s": "grace_s"}}
    said = {"kind": "schedule", "cron": "0 * * * *", "rules": [rule], **options}
    source = parse_sources(json.dumps({"sources": {"load": said}}), "load.yaml").sources["load"]  # JSON is YAML
    assert isinstance(source, ScheduleSource)
    return source


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> int:
        """Return nanoseconds since 1970."""
        return int(self.now.timestamp()) * 10**9


def test_each_time_is_expected_once(tmp_path: Path) -> None:
    """From the first start on, over restarts and what was missed between them; ids are of the time alone."""
    clock, sent = Clock(), []
    with answering(lambda *_: OK) as server:
        for hours in (0, 0.5, 1, 0, 3):
            clock.now += timedelta(hours=hours)
            worker_of(tmp_path, source_of(), server.url, clock).run_once()
        sent = spans_of(server.bodies)

    slots = [f"load|2026-03-02T{hour}:00:00Z" for hour in (13, 14, 15, 16)]
    assert [attributes_of(span)["controltower.key.slot"] for span in sent] == slots
    assert attributes_of(sent[0])["controltower.context.grace_s"] == "1800"
    assert len({span.span_id for span in sent}) == len(slots)
    assert sent[0].start_time_unix_nano == int(datetime(2026, 3, 2, 13, tzinfo=UTC).timestamp()) * 10**9


def test_what_is_long_gone_is_not_expected() -> None:
    """After a year without a scraper nobody is told of 365 late files; what is read at once is bounded."""
    clock = Clock()
    reader = ScheduleReader(source_of(cron="* * * * *"), clock)
    reader.restore({"after": (MONDAY - timedelta(days=365)).isoformat()})
    records, caught_up = reader.read()

    assert (len(records), caught_up) == (1_000, False)
    assert records[0].place == slot_of(MONDAY - timedelta(days=31) + timedelta(minutes=1))


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC), min_value=EARLIEST, max_value=EARLIEST.replace(year=2027)))
@example(datetime(2026, 3, 8, 7, 45, tzinfo=UTC))
@example(datetime(2026, 11, 1, 6, 45, tzinfo=UTC))
def test_a_run_is_for_the_time_that_is_expected(at: datetime) -> None:
    """What a run works out backwards is the last that the schedule expects, through changes of daylight saving."""
    *_, expected = between(OFTEN, at - timedelta(days=2), at, NEW_YORK)
    slot = latest(OFTEN, at, NEW_YORK)

    assert slot is not None
    assert slot_of(slot) == slot_of(expected)


def test_holidays() -> None:
    """Nothing is expected on a holiday."""
    days = [*between("0 2 * * 1-5", MONDAY, MONDAY + timedelta(days=4), UTC, {date(2026, 3, 4)})]
    assert [each.day for each in days] == [3, 5, 6]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"cron": "at night"}, "no cron expression"),
        ({"cron": "0 0 30 2 *"}, "no cron expression"),
        ({"grace": "1 business day"}, "business days"),
        ({"rules": [{"step": "a.b", "keys": {"slot": "day"}, "outcome": "hours"}]}, "hours is no field"),
        ({"tests": [{"name": "x", "given": "2026-03-02"}]}, "two times"),
    ],
)
def test_what_cannot_be_meant(options: dict[str, Any], problem: str) -> None:
    """It is refused with its line and field."""
    with pytest.raises(SourcesError, match=problem):
        source_of(**options)
