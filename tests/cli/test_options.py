"""Values of options: times, amounts, ports."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.cli.options import decimal, moment, port

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T08:30:00Z", datetime(2026, 3, 1, 8, 30, tzinfo=UTC)),
        ("2026-03-01T08:30:00+02:00", datetime(2026, 3, 1, 6, 30, tzinfo=UTC)),
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_a_time_is_read_in_utc(text: str, means: datetime) -> None:
    """A date, RFC 3339 and how long ago all give an aware time in UTC."""
    assert moment(text, NOW) == means


@pytest.mark.parametrize("text", ["", "soon", "7", "7y", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Anything else is refused with the forms that are taken."""
    with pytest.raises(ArgumentTypeError, match="is not a time"):
        moment(text, NOW)


@given(st.datetimes(timezones=st.just(UTC)))
def test_rfc_3339_reads_back(at: datetime) -> None:
    """Every time that is written is read back as it was."""
    assert moment(at.isoformat()) == at


def test_amounts_are_exact() -> None:
    """An amount is a decimal, with or without thousands separators."""
    assert decimal("1,250.10") == Decimal("1250.10")


@pytest.mark.parametrize("text", ["", "NaN", "Infinity", "1.2.3"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """What is no finite decimal is refused."""
    with pytest.raises(ArgumentTypeError):
        decimal(text)


@pytest.mark.parametrize("text", ["-1", "65536", "http", ""])
def test_what_is_no_port_is_refused(text: str) -> None:
    """A port is a number up to 65535."""
    with pytest.raises(ArgumentTypeError):
        port(text)
