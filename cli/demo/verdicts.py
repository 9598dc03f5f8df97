"""What follows from the facts at a given time: deadline states, match outcomes and the transaction's state.

The truth's own reading of the published rules: tolerances and windows of the three-way match (domain R02), and the order
breached, exception, completed, in progress. Nothing of the engine is used.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.facts import DeadlineFact, Facts, LineFact
from controltower.cli.demo.workdays import business_days_after

MATCHED: Final = "matched"
WITHIN: Final = "matched_within_tolerance"
PARTIAL: Final = "partial"
PENDING: Final = "pending_timing"
EXCEPTION: Final = "exception"

PRICE_SHARE: Final = Decimal("0.05")
PRICE_MOST: Final = Decimal("10.00")
QUANTITY_SHARE: Final = Decimal("0.02")
AMOUNT_MOST: Final = Decimal("100.00")
GOODS_WINDOW_DAYS: Final = 2  # business days after the last invoice
INVOICE_WINDOW: Final = timedelta(days=30)  # after the last receipt


@dataclass(frozen=True, slots=True)
class MatchFact:
    """The outcome for one line: before the window ends, and after it. Without a window the two are the same."""

    line: str
    status_before: str
    reason_before: str
    window_ends_at: datetime | None
    status_after: str
    reason_after: str

    def at(self, now: datetime) -> tuple[str, str]:
        """Return status and reason as of *now*."""
        if self.window_ends_at is not None and now >= self.window_ends_at:
            return self.status_after, self.reason_after
        return self.status_before, self.reason_before


def match(line: LineFact) -> MatchFact:
    """Return the three-way match of one line."""
    if line.invoiced is None:
        return _uninvoiced(line)
    reason = _wrong(line, line.invoiced)
    if reason:
        return _settled(line, EXCEPTION, reason)
    if not _close(line.invoiced, line.received):
        return _untimely(line, line.invoiced)
    if line.ordered > line.invoiced and not _close(line.invoiced, line.ordered):
        return _settled(line, PARTIAL)
    exact = line.ordered == line.received == line.invoiced and line.invoiced_value == line.invoiced * line.price
    return _settled(line, MATCHED if exact else WITHIN)


def _uninvoiced(line: LineFact) -> MatchFact:
    if line.received_at is None:
        return _settled(line, PENDING)
    return _waiting(line, "missing_right", line.received_at + INVOICE_WINDOW)


def _wrong(line: LineFact, invoiced: Decimal) -> str:
    """Return why no later document can make the line right, or nothing."""
    off = abs(line.invoiced_value / invoiced - line.price)
    if off > line.price * PRICE_SHARE or off > PRICE_MOST:
        return "price_variance"
    if invoiced > line.ordered and not _close(invoiced, line.ordered):
        return "qty_variance"
    if abs(line.invoiced_value - invoiced * line.price) > AMOUNT_MOST:
        return "amount_variance"
    return ""


def _close(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) <= other * QUANTITY_SHARE


def _untimely(line: LineFact, invoiced: Decimal) -> MatchFact:
    if invoiced < line.received:
        assert line.received_at is not None
        return _waiting(line, "missing_right", line.received_at + INVOICE_WINDOW)
    assert line.invoiced_at is not None
    reason = "qty_variance" if line.received else "missing_left"
    return _waiting(line, reason, business_days_after(line.invoiced_at, GOODS_WINDOW_DAYS))


def _settled(line: LineFact, status: str, reason: str = "") -> MatchFact:
    return MatchFact(line.line, status, reason, None, status, reason)


def _waiting(line: LineFact, reason: str, until: datetime) -> MatchFact:
    return MatchFact(line.line, PENDING, reason, until, EXCEPTION, reason)


def deadline_state(fact: DeadlineFact, cancelled_at: datetime | None, now: datetime) -> str:
    """Return what became of a deadline as of *now*."""
    if fact.met_at is not None:
        return "met" if fact.met_at <= fact.due_at else "met late"
    if cancelled_at is not None:
        return "waived"
    return "breached" if now >= fact.due_at else "running"


def state(facts: Facts, matches: tuple[MatchFact, ...], now: datetime) -> str:
    """Return the transaction's state as of *now*."""
    limits = {deadline_state(fact, facts.cancelled_at, now) for fact in facts.deadlines}
    outcomes = {match_fact.at(now)[0] for match_fact in matches}
    if "breached" in limits:
        return "breached"
    if facts.unhealed or EXCEPTION in outcomes:
        return "exception"
    over = facts.final or facts.cancelled_at is not None
    if over and "running" not in limits and outcomes <= {MATCHED, WITHIN}:
        return "completed"
    return "in progress"
