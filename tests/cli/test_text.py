"""Text for people."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.cli.shapes import decimal_of
from controltower.cli.text import amount, lasting, money, table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1250", "1,250.00"),
        ("1250.5", "1,250.50"),
        ("0.0375", "0.0375"),
        ("-3", "-3.00"),
        ("0", "0.00"),
        ("1E+3", "1,000.00"),
        ("625.000000", "625.00"),
    ],
)
def test_amounts_have_two_decimals_or_those_they_need(value: str, shown: str) -> None:
    """Money shows cents, and more when the price has more."""
    assert amount(Decimal(value)) == shown


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20))
def test_json_decimals_are_exact(value: Decimal) -> None:
    """A decimal in JSON is the same number, never in exponent form."""
    shown = decimal_of(value, 2)

    assert shown is not None
    assert Decimal(shown) == value
    assert "E" not in shown


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(hours=1, seconds=5), "1 h"),
        (timedelta(days=3, hours=4, minutes=5), "3 d 4 h"),
        (timedelta(minutes=-90), "1 h 30 min"),
    ],
)
def test_durations_show_their_two_largest_units(span: timedelta, shown: str) -> None:
    """A duration is rounded to what a reader needs."""
    assert lasting(span) == shown


def test_money_needs_a_value() -> None:
    """No amount is no text, not a currency alone."""
    assert money(None, "USD") == ""
    assert money(Decimal(5), "USD") == "5.00 USD"


def test_tables_align_their_columns() -> None:
    """Columns are as wide as their widest cell; numbers stand on the right."""
    assert table([["a", "1"], ["bbb", "22"]], head=("N", "V"), right=(1,)) == "N     V\na     1\nbbb  22"
