"""Figures read as people write them, exactly, and no cell of a file is run as a formula."""

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.dashboard.format import (
    duration,
    key_text,
    moment,
    money,
    moneys,
    nanoseconds,
    plural,
    quantity,
    ratio,
    reason,
    relative,
    rule,
    safe_cell,
    short_money,
    size,
    to_csv,
    unit_price,
    words,
)
from controltower.store.read import Money
from controltower.store.rows import Key

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AMOUNTS = st.decimals(min_value=-(10**15), max_value=10**15, places=2)


@pytest.mark.parametrize(
    ("length_s", "text"),
    [
        (0, "under 1 s"),
        (0.4, "under 1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_660, "1 h 1 min"),
        (86_460, "1 d"),
        (90_000, "1 d 1 h"),
        (-90_000, "1 d 1 h"),
    ],
)
def test_duration_is_two_units_at_most(length_s: float, text: str) -> None:
    """A length of time is its largest unit and the next one, if that says anything."""
    assert duration(timedelta(seconds=length_s)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0"),
        ("980.5", "$980.50"),
        ("9999", "$9,999"),
        ("12567", "$12.5k"),
        ("999999", "$999k"),
        ("-1250000", "−$1.25M"),
    ],
)
def test_short_money_is_never_rounded_up(amount: str, text: str) -> None:
    """A card never shows more money than there is."""
    assert short_money(Decimal(amount), "USD") == text


def test_money_is_exact_and_keeps_its_currency() -> None:
    """Amounts show cents, prices as many places as they have, unknown currencies their code, and none nothing."""
    assert money(Decimal(1250), "USD") == "$1,250.00"
    assert money(Decimal("-0.5"), "CHF") == "−CHF 0.50"
    assert money(None, "USD") == "–"
    assert unit_price(Decimal("0.0125"), "EUR") == "€0.0125"
    assert unit_price(Decimal("625.000000"), "USD") == "$625.00"
    assert moneys([Money(Decimal(12567), "USD"), Money(Decimal(3), "EUR")]) == "$12.5k + €3"
    assert moneys([]) == "–"


@given(AMOUNTS)
def test_money_reads_back_as_the_amount(amount: Decimal) -> None:
    """No digit of an amount is lost between the store and the page."""
    text = money(amount, "USD").replace("$", "").replace(",", "").replace("−", "-")

    assert Decimal(text) == amount


@pytest.mark.parametrize(
    ("share", "text"), [("0", "0 %"), ("1", "100 %"), ("0.99999", "99.9 %"), ("0.0001", "< 0.1 %"), ("0.984", "98.4 %")]
)
def test_only_a_whole_is_a_hundred_percent(share: str, text: str) -> None:
    """Nearly all is not all, and hardly any is not none."""
    assert ratio(Decimal(share)) == text


def test_times_are_utc_whatever_zone_they_come_in() -> None:
    """A time of another zone shows the same instant in UTC."""
    assert moment(NOW.astimezone(timezone(timedelta(hours=-5)))) == "2026-03-02 09:00"
    assert moment(NOW, seconds=True) == "2026-03-02 09:00:00"
    assert relative(NOW + timedelta(hours=3), NOW) == "in 3 h"
    assert relative(NOW - timedelta(days=2), NOW) == "2 d ago"
    assert relative(NOW, NOW) == "now"
    assert relative(None, NOW) == "–"


def test_names_become_words() -> None:
    """Identifiers of flows, reasons and rules read as words."""
    assert words("purchase_order") == "Purchase order"
    assert reason("missing_right") == "Received, not invoiced"
    assert rule("p2p.purchase_order.dispatched") == "Purchase order dispatched"
    assert key_text(Key("invoice", "V-7", "INV-9")) == "invoice INV-9 of V-7"
    assert plural(1, "step") == "1 step"
    assert plural(1_200, "step") == "1,200 steps"
    assert quantity(Decimal("2.500000")) == "2.5"
    assert [nanoseconds(number) for number in (5_000, 12_500_000, 3_000_000_000)] == ["5 µs", "12.5 ms", "3 s"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r\n=1", "\u00a0=1"])
def test_text_that_begins_a_formula_is_made_text(text: str) -> None:
    """A spreadsheet shows the cell instead of running it."""
    assert safe_cell(text) == f"'{text}"


def test_numbers_stay_numbers_in_a_file() -> None:
    """A negative amount is a number and no formula; a time is ISO 8601 in UTC."""
    assert safe_cell(Decimal("-1250.50")) == "-1250.50"
    assert safe_cell(Decimal("1E+3")) == "1000"
    assert safe_cell(NOW) == "2026-03-02T09:00:00Z"
    assert safe_cell(None) == ""


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_csv_reads_back_and_holds_no_formula(rows: list[list[str]]) -> None:
    """Whatever senders put into a field: the file keeps its shape, and no cell begins a formula."""
    text = to_csv(["one", "two"], rows)

    read = list(csv.reader(io.StringIO(text, newline="")))
    assert len(read) == len(rows) + 1
    for row, cells in zip(rows, read[1:], strict=True):
        assert [
            cell.removeprefix("'") if cell != value else cell for cell, value in zip(cells, row, strict=True)
        ] == row
        assert not any(cell.strip(" \u00a0").startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in cells)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1_023, "1,023 B"),
        (1_024, "1.0 KiB"),
        (3_435_973_837, "3.2 GiB"),
        (150 * 1_024**2, "150 MiB"),
        (5_000 * 1_024**4, "5,000 TiB"),
    ],
)
def test_sizes_are_short(number: int, text: str) -> None:
    """Bytes are told in the unit in which people compare disks."""
    assert size(number) == text
