"""Three-way match: order, receipt and invoice by line."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.store.flows.calendar import due_at
from controltower.store.reconcile import Match, SideLine, healed, three_way
from controltower.store.rows import DocumentLine, MatchStatus
from tests.store.flow_steps import P2P

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
RULE = P2P.reconciliations[0]
AFTER_INVOICE = due_at(START, RULE.windows.receipt_after_invoice.within, P2P.calendar("us_business"))
AFTER_RECEIPT = due_at(START, RULE.windows.invoice_after_receipt.within, None)


def side(
    quantity: str | None, price: str | None = "10", number: str = "1", amount: str | None = None
) -> list[SideLine]:
    """Return one side with one line, or none when *quantity* is None."""
    if quantity is None:
        return []
    line = DocumentLine(
        flow=P2P.flow,
        trace_id="t",
        span_id="s",
        position=0,
        line=number,
        item="item",
        quantity=Decimal(quantity),
        uom="EA",
        unit_price=Decimal(price) if price is not None else None,
        amount=Decimal(amount) if amount is not None else None,
        currency="USD",
        keys=(),
    )
    return [SideLine(line, START)]


def match(ordered: list[SideLine], received: list[SideLine], invoiced: list[SideLine], now: datetime = START) -> Match:
    """Return the verdict on the only line."""
    (found,) = three_way(P2P, RULE, ordered, received, invoiced, now)
    return found


@pytest.mark.parametrize(
    ("ordered", "received", "invoiced", "status", "reason", "difference"),
    [
        (("10", "4"), "10", ("10", "4"), "matched", "", "0"),
        (("10", "4"), None, None, "pending_timing", "", "0"),
        (("10", "4"), "10", None, "pending_timing", "missing_right", "-40"),
        (("10", "4"), "10", ("10", "4.1"), "matched_within_tolerance", "", "1"),
        (("10", "4"), "10", ("10", "4.3"), "exception", "price_variance", "3"),
        (
            ("10", "400"),
            "10",
            ("10", "411"),
            "exception",
            "price_variance",
            "110",
        ),  # 2.75 %, but more than 10.00 a unit
        (("100", "40"), "100", ("100", "41.5"), "exception", "amount_variance", "150"),  # 3.75 % of many is over 100.00
        (("10", "4"), "10", ("12", "4"), "exception", "qty_variance", "8"),
        (("10", "4"), "6", ("10", "4"), "pending_timing", "qty_variance", "16"),
        (("10", "4"), None, ("10", "4"), "pending_timing", "missing_left", "40"),
        (("10", "4"), "6", ("6", "4"), "partial", "", "0"),
        (("10", "4"), "10", ("6", "4"), "pending_timing", "missing_right", "-16"),
        (("100", "4"), "99", ("100", "4"), "matched_within_tolerance", "", "0"),
        (None, "10", ("10", "4"), "exception", "missing_left", "40"),
    ],
)
def test_verdicts(
    ordered: tuple[str, str] | None,
    received: str | None,
    invoiced: tuple[str, str] | None,
    status: str,
    reason: str,
    difference: str,
) -> None:
    """Each rule of the module, with its money."""
    found = match(side(*ordered) if ordered else [], side(received, None), side(*invoiced) if invoiced else [])

    assert (found.status.value, found.reason, found.difference) == (status, reason, Decimal(difference))


def test_timing_becomes_an_exception_when_its_window_ends() -> None:
    """One microsecond before the end it is a matter of timing, at the end it is an exception that opened then."""
    ordered, received, invoiced = side("10"), side("6", None), side("10")
    before = match(ordered, received, invoiced, AFTER_INVOICE - timedelta(microseconds=1))
    after = match(ordered, received, invoiced, AFTER_INVOICE)

    assert (before.status, before.window_ends_at) == (MatchStatus.PENDING, AFTER_INVOICE)
    assert (after.status, after.reason, after.decided_at) == (MatchStatus.EXCEPTION, "qty_variance", AFTER_INVOICE)


def test_an_uninvoiced_receipt_is_looked_at_after_thirty_days() -> None:
    """Goods without an invoice are normal at first and an exception later."""
    found = match(side("10"), side("10", None), [], AFTER_RECEIPT)

    assert (found.status, found.reason, found.difference) == (MatchStatus.EXCEPTION, "missing_right", Decimal(-100))


def test_an_exception_that_a_later_document_healed_stays_on_record() -> None:
    """Goods booked a week after the invoice: an exception from the window's end until the receipt."""
    late = START + timedelta(days=7)
    received = [SideLine(entry.line, late) for entry in side("10", None)]
    ((found, resolved_at),) = healed(P2P, RULE, side("10"), received, side("10"), late + timedelta(days=1))

    assert (found.reason, found.decided_at, resolved_at) == ("missing_left", AFTER_INVOICE, late)
    assert healed(P2P, RULE, side("10"), side("10", None), side("10"), late) == []


def test_lines_are_matched_apart() -> None:
    """A variance on one line does not touch another; lines come in their order."""
    ordered = [*side("1", "5", "10"), *side("1", "5", "2")]
    found = three_way(P2P, RULE, ordered, ordered, [*side("1", "9", "10"), *side("1", "5", "2")], START)

    assert [(one.line, one.status.value) for one in found] == [("2", "matched"), ("10", "exception")]


def test_a_stated_amount_counts_before_quantity_times_price() -> None:
    """An invoice line's own amount is what will be paid."""
    found = match(side("10", "4"), side("10", None), side("10", "4", amount="55"))

    assert (found.reason, found.invoiced.value) == ("price_variance", Decimal(55))


quantities = st.one_of(st.none(), st.decimals(0, 1000, places=2).map(str))
prices = st.decimals(0, 1000, places=4).map(str)


@given(quantities, prices, quantities, quantities, prices)
def test_every_line_gets_one_verdict(
    ordered: str | None, price: str, received: str | None, invoiced: str | None, billed: str
) -> None:
    """Whatever the documents say there is one verdict per line, and time only ever closes what was waiting."""
    sides = side(ordered, price), side(received, None), side(invoiced, billed)
    early = three_way(P2P, RULE, *sides, START)
    late = three_way(P2P, RULE, *sides, START + timedelta(days=400))

    assert [one.line for one in early] == [one.line for one in late] == (["1"] if any(sides) else [])
    for before, after in zip(early, late, strict=True):
        if before.window_ends_at is None or before.status is not MatchStatus.PENDING:
            assert before == after
        else:
            assert (after.status, after.reason, after.difference) == (
                MatchStatus.EXCEPTION,
                before.reason,
                before.difference,
            )


@given(st.decimals("0.01", 1000, places=2), st.decimals("0.0001", 1000, places=4))
def test_equal_documents_match(quantity: Decimal, price: Decimal) -> None:
    """What was ordered, received and invoiced alike is matched to the last digit."""
    found = match(side(str(quantity), str(price)), side(str(quantity), None), side(str(quantity), str(price)))

    assert (found.status, found.difference) == (MatchStatus.MATCHED, 0)
