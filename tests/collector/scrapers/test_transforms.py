"""Values changed on their way, and times read, as systems write them."""

import contextlib
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from controltower.collector.scrapers.definition import TimeSpec
from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.getting import business_time_getter
from controltower.collector.scrapers.times import rfc3339, time_reader, zone_of
from controltower.collector.scrapers.transforms import Transform, change_of

NOW_NS = 1_768_000_000 * 10**9  # 2026-01-09T23:06:40Z
ADAPTER: TypeAdapter[Transform] = TypeAdapter(Transform)


def changed(text: str, *transforms: object) -> str:
    """Return *text* after the transforms, which are given as in YAML."""
    change = change_of([ADAPTER.validate_python(each) for each in transforms], "UTC", lambda: NOW_NS)
    assert change is not None
    return change(text)


@pytest.mark.parametrize(
    ("text", "transforms", "expected"),
    [
        ("  a ", ["trim"], "a"),
        ("000420", ["strip_zeros"], "420"),
        ("000", ["strip_zeros"], "0"),
        ("", ["strip_zeros"], ""),
        ("po-1", ["upper"], "PO-1"),
        ("(1) 2-3", ["digits"], "123"),
        ("**x**", [{"strip": "*"}], "x"),
        ("0012345678", [{"cut": [2, 6]}], "1234"),
        ("0012345678", [{"cut": [2, None]}], "12345678"),
        ("1", [{"prefix": "PO-"}], "PO-1"),
        ("order 17 sent", [{"find": "[0-9]+"}], "17"),
        ("order 17 sent", [{"find": "order (\\w+)"}], "17"),
        ("IA", [{"map": {"IA": "ok", "IR": "rejected"}}], "ok"),
        ("ZZ", [{"map": {"IA": "ok"}, "else": "pending"}], "pending"),
        ("125000", [{"places": 2}], "1250.00"),
        ("-5", [{"places": 2}], "-0.05"),
        ("1,250.50", [{"decimal": {}}], "1250.50"),
        ("1.250,50", [{"decimal": {"thousands": ".", "point": ","}}], "1250.50"),
        ("12.5-", [{"decimal": {}}], "-12.5"),
        ("20261010", [{"time": "%Y%m%d", "zone": "America/New_York"}], "2026-10-10T04:00:00+00:00"),
        (" 00017 ", ["trim", "strip_zeros", {"prefix": "PO-"}], "PO-17"),
    ],
)
def test_changes(text: str, transforms: list[object], expected: str) -> None:
    """Each transform does what its name says, in the order given."""
    assert changed(text, *transforms) == expected


@pytest.mark.parametrize(
    ("text", "transform", "reason"),
    [
        ("x", {"places": 2}, "bad_number"),
        ("9" * 100, {"places": 2}, "bad_number"),
        ("1e9999999", {"decimal": {}}, "bad_number"),
        ("NaN", {"decimal": {}}, "bad_number"),
        ("ZZ", {"map": {"IA": "ok"}}, "unknown_code"),
        ("x", {"find": "[0-9]"}, "not_found"),
        ("2026-13-01", {"time": "%Y-%m-%d"}, "bad_time"),
    ],
)
def test_what_cannot_be_changed_is_rejected(text: str, transform: object, reason: str) -> None:
    """A value that cannot be what it should be has a reason, which does not show it."""
    with pytest.raises(Rejection) as rejected:
        changed(text, transform)

    assert rejected.value.reason == reason
    assert text not in str(rejected.value)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20))
def test_implied_places_move_the_point_and_nothing_else(amount: Decimal) -> None:
    """A decimal without its point comes back exactly."""
    assert Decimal(changed(format(amount.scaleb(4), ".0f"), {"places": 4})) == amount


def moment(text: str, form: str, zone: str = "UTC") -> str:
    """Return a time that was read, in UTC."""
    return rfc3339(time_reader(form, zone_of(zone), lambda: NOW_NS)(text))


@pytest.mark.parametrize(
    ("text", "form", "zone", "expected"),
    [
        ("2026-10-10T13:55:36.123Z", "iso", "UTC", "2026-10-10T13:55:36.123000+00:00"),
        ("2026-10-10 13:55:36,123", "iso", "America/Chicago", "2026-10-10T18:55:36.123000+00:00"),
        ("2026-01-10T13:55:36-07:00", "iso", "UTC", "2026-01-10T20:55:36+00:00"),
        ("1760104536", "unix", "UTC", "2025-10-10T13:55:36+00:00"),
        ("1760104536.25", "unix", "UTC", "2025-10-10T13:55:36.250000+00:00"),
        ("1760104536250", "unix_ms", "UTC", "2025-10-10T13:55:36.250000+00:00"),
        ("10/Oct/2026:13:55:36 -0700", "access_log", "UTC", "2026-10-10T20:55:36+00:00"),
        ("Jan  9 22:14:15", "syslog", "UTC", "2026-01-09T22:14:15+00:00"),
        ("Dec 31 23:59:59", "syslog", "UTC", "2025-12-31T23:59:59+00:00"),
        ("Jan 11 01:00:00", "syslog", "UTC", "2026-01-11T01:00:00+00:00"),
        ("Feb 29 01:00:00", "syslog", "UTC", None),
        ("2026-01-09T22:14:15.5+01:00", "syslog", "UTC", "2026-01-09T21:14:15.500000+00:00"),
        ("11/01/2026 1:30 AM", "%m/%d/%Y %I:%M %p", "America/New_York", "2026-11-01T05:30:00+00:00"),
    ],
)
def test_times(text: str, form: str, zone: str, expected: str | None) -> None:
    """A time is read by its format, in its own zone or that of the source; the year of syslog is the latest possible."""
    if expected is None:
        with pytest.raises(Rejection):
            moment(text, form, zone)
    else:
        assert moment(text, form, zone) == expected


@pytest.mark.parametrize("form", ["iso", "unix", "unix_ms", "access_log", "syslog", "%Y-%m-%d"])
@given(text=st.text(max_size=40))
def test_no_text_breaks_a_reader(form: str, text: str) -> None:
    """Whatever stands where a time should be is read or rejected."""
    with contextlib.suppress(Rejection):
        assert time_reader(form, zone_of("UTC"), lambda: NOW_NS)(text) >= 0


@given(
    st.integers(86_400, 7 * 10**9).map(lambda second: datetime.fromtimestamp(second, UTC).replace(tzinfo=None)),
    st.integers(0, 999_999),
    st.sampled_from(["", "Z", "+02:00", "-07:30"]),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
    st.sampled_from(["T", " "]),
    st.sampled_from([".", ","]),
)
def test_a_time_of_any_form_is_the_moment_it_names(
    at: datetime, microsecond: int, zone: str, precision: str, between: str, point: str
) -> None:
    """Whatever its precision, its zone and its point: as Python's own reader reads it."""
    text = at.replace(microsecond=microsecond).isoformat(between, precision)
    expected = datetime.fromisoformat(text + (zone or "+00:00")).astimezone(UTC)

    assert moment(text.replace(".", point) + zone, "iso") == expected.isoformat()


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("2026-11-03", "iso", "2026-11-03"),
        ("2026-11-03T09:30:00", "iso", "2026-11-03T14:30:00+00:00"),
        ("20261103", "compact", "2026-11-03"),
        ("202611032330", "compact", "2026-11-04T04:30:00+00:00"),
        ("20261103", "%Y%m%d", "2026-11-03"),
        ("20261103 2330", "%Y%m%d %H%M", "2026-11-04T04:30:00+00:00"),
        ("1793745000", "unix", "2026-11-03T22:30:00+00:00"),
    ],
)
def test_a_day_alone_is_no_moment(text: str, form: str, expected: str) -> None:
    """A business time without an hour stays the day that it is where it was written; no deadline begins at its midnight."""
    get = business_time_getter(TimeSpec(field="at", format=form), "America/New_York", lambda: NOW_NS)

    assert get({"at": text}, {}) == expected
