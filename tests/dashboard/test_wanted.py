"""What an address asks for is read without trust: nonsense is ignored, never an error."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from controltower.dashboard.wanted import LAST_PAGE, Wanted, amount, read_wanted
from controltower.store.queries import OFFSET_LIMIT, PAGE_LIMIT, transactions
from controltower.store.rows import TransactionState

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NAMES = (
    "q",
    "flow",
    "state",
    "stage",
    "vendor",
    "days",
    "min",
    "late",
    "open",
    "rule",
    "reason",
    "sort",
    "order",
    "page",
)


def test_address_becomes_filters() -> None:
    """Every parameter has its place in the read's filters."""
    wanted = read_wanted(
        {
            "q": " PO-1 ",
            "flow": "f",
            "state": "breached",
            "stage": "paid",
            "vendor": "V-7",
            "days": "7",
            "min": "$1,250.50",
            "late": "1",
            "open": "1",
            "rule": "invoice paid",
            "reason": "missing",
            "sort": "at_stake",
            "order": "up",
            "page": "3",
        }
    )

    filters = wanted.filters(NOW)

    assert wanted.filtered
    assert (filters.text, filters.flow, filters.stage) == ("PO-1", "f", "paid")
    assert filters.states == (TransactionState.BREACHED,)
    assert filters.context == {"vendor": "V-7"}
    assert filters.since == NOW - timedelta(days=7)
    assert filters.min_amount == Decimal("1250.50")
    assert (filters.late_only, filters.sort, filters.descending) == (True, "at_stake", False)
    assert (filters.open_only, filters.rule, filters.reason) == (True, "invoice paid", "missing")
    assert (filters.limit, filters.offset) == (50, 100)


def test_no_parameters_ask_for_everything() -> None:
    """An address without parameters filters nothing and starts at the first page."""
    assert read_wanted({}) == Wanted()
    assert not Wanted().filtered


def test_an_amount_is_a_number_that_the_store_can_hold() -> None:
    """Not a number, infinity and what is too large are no amounts."""
    assert amount("12.50") == Decimal("12.50")
    assert [amount(text) for text in ("", "abc", "NaN", "Infinity", "1e40")] == [None] * 5


@given(st.dictionaries(st.sampled_from(NAMES), st.text() | st.integers().map(str)))
def test_any_address_makes_a_read_within_its_limits(parameters: dict[str, str]) -> None:
    """Whatever stands in an address, the read that follows is one the store accepts."""
    filters = read_wanted(parameters).filters(NOW)

    assert 0 <= filters.offset <= LAST_PAGE * 50 <= OFFSET_LIMIT
    assert 0 < filters.limit <= PAGE_LIMIT
    assert transactions(filters).sql
