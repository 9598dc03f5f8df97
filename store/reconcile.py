"""Three-way match: order, receipt and invoice by line, within tolerances and timing windows. Pure.

What a line's verdict means (first that applies; ``expected`` is ordered price times invoiced quantity):

* nothing invoiced: ``pending_timing``; once goods are in, only until ``invoice_after_receipt`` ends, then an exception
  ``missing_right`` over the uninvoiced receipt;
* the line was never ordered: exception ``missing_left``; unit price out of tolerance: exception ``price_variance``;
  more invoiced than ordered: exception ``qty_variance``; amount out of tolerance: exception ``amount_variance``;
* more invoiced than received: ``pending_timing`` until ``receipt_after_invoice`` ends, then exception ``missing_left``
  (nothing received) or ``qty_variance``;
* more received than invoiced: ``pending_timing`` until ``invoice_after_receipt`` ends, then exception ``missing_right``;
* less invoiced than ordered: ``partial``; otherwise ``matched`` or ``matched_within_tolerance``.

Rules: domain reconciliation R02. A difference is a matter of timing until its window ends, never before an exception.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from controltower.store.flows.calendar import due_at
from controltower.store.flows.definition import Flow, ReconciliationRule, Window
from controltower.store.rows import DocumentLine, MatchStatus

ZERO = Decimal(0)
_SIX_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class SideLine:
    """A document line on one side, and when its document was dated."""

    line: DocumentLine
    at: datetime


@dataclass(frozen=True, slots=True)
class Side:
    """All that one side says of one line: quantity, value and the last time it said something."""

    quantity: Decimal | None
    value: Decimal  # extended amount
    last_at: datetime | None

    @property
    def units(self) -> Decimal:
        """The quantity, zero when the side is silent."""
        return self.quantity if self.quantity is not None else ZERO

    @property
    def price(self) -> Decimal | None:
        """The average unit price, or None without a quantity."""
        return (self.value / self.quantity).quantize(_SIX_PLACES) if self.quantity else None


_SILENT = Side(None, ZERO, None)
Sides = tuple[list[SideLine], list[SideLine], list[SideLine]]  # ordered, received, invoiced: of one line


@dataclass(frozen=True, slots=True)
class Match:
    """The verdict on one line."""

    line: str
    item: str
    status: MatchStatus
    reason: str
    ordered: Side
    received: Side
    invoiced: Side
    difference: Decimal  # invoiced minus expected; negative when goods came in without an invoice
    window_ends_at: datetime | None
    decided_at: datetime | None  # when an exception became one


def three_way(
    flow: Flow,
    rule: ReconciliationRule,
    ordered: Sequence[SideLine],
    received: Sequence[SideLine],
    invoiced: Sequence[SideLine],
    now: datetime,
) -> list[Match]:
    """Return one verdict per line number that any side mentions, in line order, as of *now*."""
    lines = _by_number(ordered, received, invoiced)
    in_order = sorted(lines, key=lambda number: (len(number), number))
    return [_match(flow, rule, number, lines[number], now) for number in in_order]


def healed(
    flow: Flow,
    rule: ReconciliationRule,
    ordered: Sequence[SideLine],
    received: Sequence[SideLine],
    invoiced: Sequence[SideLine],
    now: datetime,
) -> list[tuple[Match, datetime]]:
    """Return the exceptions that later documents healed, with the time of the document that did.

    A line's verdict can change when a document is dated and when a window ends; between the two nothing happens. So what
    was an exception once is known from the documents alone, in whichever order they became known.
    """
    lines = _by_number(ordered, received, invoiced)
    return [found for number in sorted(lines) for found in _healed_line(flow, rule, number, lines[number], now)]


def _by_number(*sides: Sequence[SideLine]) -> dict[str, Sides]:
    """Return line number -> what each side says of it: ordered, received, invoiced."""
    found: dict[str, Sides] = defaultdict(lambda: ([], [], []))
    for position, side in enumerate(sides):
        for entry in side:
            found[entry.line.line][position].append(entry)
    return found


def _healed_line(
    flow: Flow, rule: ReconciliationRule, number: str, sides: Sides, now: datetime
) -> Iterable[tuple[Match, datetime]]:
    opened: Match | None = None
    instants = _instants(flow, rule, sides, now)
    for at in instants:
        if opened is None and at == instants[-1]:
            return  # what begins with the last one is not healed
        ordered, received, invoiced = ([entry for entry in side if entry.at <= at] for side in sides)
        match = _match(flow, rule, number, (ordered, received, invoiced), at)
        if match.status is not MatchStatus.EXCEPTION:
            if opened is not None:
                yield opened, at
            opened = None
        elif opened is None:
            opened = match


def _instants(flow: Flow, rule: ReconciliationRule, sides: Sides, now: datetime) -> Sequence[datetime]:
    """Return when an exception could have begun or ended, up to the last document: after it, only the verdict of now
    counts. None begins before something is invoiced or a window ends, and one that begins with the last document is not
    healed by one."""
    documents = {entry.at for side in sides for entry in side if entry.at <= now}
    last = max(documents, default=now)
    windows = (rule.windows.invoice_after_receipt, sides[1]), (rule.windows.receipt_after_invoice, sides[2])
    ends = {
        end
        for window, side in windows
        for entry in side
        if entry.at + window.within.at_least <= last
        and (end := due_at(entry.at, window.within, flow.calendar(window.calendar))) <= last
    }
    first = min((*ends, *(entry.at for entry in sides[2])), default=last)
    return sorted(at for at in documents | ends if at >= first) if first < last else ()


def _match(flow: Flow, rule: ReconciliationRule, number: str, sides: Sides, now: datetime) -> Match:
    ordered, received, invoiced = sides
    item = next((entry.line.item for side in (ordered, invoiced, received) for entry in side if entry.line.item), "")
    return _Verdict(flow, rule, number, item, (_side(ordered), _side(received), _side(invoiced)), now).decide()


def _side(entries: list[SideLine]) -> Side:
    if not entries:
        return _SILENT
    if len(entries) == 1:
        (entry,) = entries
        return Side(entry.line.quantity or ZERO, extended(entry.line), entry.at)
    return Side(
        quantity=sum((entry.line.quantity or ZERO for entry in entries), ZERO),
        value=sum((extended(entry.line) for entry in entries), ZERO),
        last_at=max(entry.at for entry in entries),
    )


def extended(line: DocumentLine) -> Decimal:
    """Return a line's extended amount: as stated, else quantity times unit price."""
    if line.amount is not None:
        return line.amount
    return ((line.quantity or ZERO) * (line.unit_price or ZERO)).quantize(_SIX_PLACES)


class _Verdict:
    """The work of one verdict: prices are divided and rounded once."""

    def __init__(
        self,
        flow: Flow,
        rule: ReconciliationRule,
        number: str,
        item: str,
        sides: tuple[Side, Side, Side],
        now: datetime,
    ) -> None:
        self.flow = flow
        self.rule = rule
        self.number = number
        self.item = item
        self.ordered, self.received, self.invoiced = sides
        self.now = now
        self.agreed = self.ordered.price or ZERO
        self.expected = (self.invoiced.units * self.agreed).quantize(_SIX_PLACES)
        self.difference = self.invoiced.value - self.expected

    def decide(self) -> Match:
        """Return the first rule of the module's list that applies."""
        if self.invoiced.quantity is None:
            return self._uninvoiced()
        if self.ordered.quantity is None:
            return self._exception("missing_left", self.invoiced.value)
        return self._priced() or self._counted()

    def _uninvoiced(self) -> Match:
        if not self.received.units:
            return self._result(MatchStatus.PENDING)
        owed = -(self.received.units * self.agreed).quantize(_SIX_PLACES)
        return self._until(self.rule.windows.invoice_after_receipt, self.received.last_at, "missing_right", owed)

    def _priced(self) -> Match | None:
        """Return an exception of price, ordered quantity or amount, which no later document can heal."""
        limits = self.rule.tolerances
        price = self.invoiced.price or ZERO
        if not limits.unit_price.allows(price - self.agreed, self.agreed):
            return self._exception("price_variance", self.difference)
        over = self.invoiced.units - self.ordered.units
        if over > 0 and not limits.quantity.allows(over, self.ordered.units):
            return self._exception("qty_variance", (over * self.agreed).quantize(_SIX_PLACES))
        if not limits.amount.allows(self.difference, self.expected):
            return self._exception("amount_variance", self.difference)
        return None

    def _counted(self) -> Match:
        """Compare what was invoiced with what came in, which later documents may still change."""
        allows = self.rule.tolerances.quantity.allows
        gap = self.invoiced.units - self.received.units
        if gap > 0 and not allows(gap, self.received.units):
            reason = "qty_variance" if self.received.units else "missing_left"
            difference = (gap * self.agreed).quantize(_SIX_PLACES)
            return self._until(self.rule.windows.receipt_after_invoice, self.invoiced.last_at, reason, difference)
        if gap < 0 and not allows(gap, self.received.units):
            difference = (gap * self.agreed).quantize(_SIX_PLACES)
            return self._until(
                self.rule.windows.invoice_after_receipt, self.received.last_at, "missing_right", difference
            )
        open_units = self.ordered.units - self.invoiced.units
        if open_units > 0 and not allows(open_units, self.ordered.units):
            return self._result(MatchStatus.PARTIAL, difference=self.difference)
        exact = self.ordered.units == self.received.units == self.invoiced.units and not self.difference
        return self._result(MatchStatus.MATCHED if exact else MatchStatus.WITHIN_TOLERANCE, difference=self.difference)

    def _until(self, window: Window, start: datetime | None, reason: str, difference: Decimal) -> Match:
        """Wait for the window to end; a difference that is still there then is an exception."""
        assert start is not None
        ends_at = due_at(start, window.within, self.flow.calendar(window.calendar))
        if self.now < ends_at:
            return self._result(MatchStatus.PENDING, reason, difference, window_ends_at=ends_at)
        return self._result(MatchStatus.EXCEPTION, reason, difference, window_ends_at=ends_at, decided_at=ends_at)

    def _exception(self, reason: str, difference: Decimal) -> Match:
        return self._result(MatchStatus.EXCEPTION, reason, difference, decided_at=self.invoiced.last_at)

    def _result(
        self,
        status: MatchStatus,
        reason: str = "",
        difference: Decimal = ZERO,
        *,
        window_ends_at: datetime | None = None,
        decided_at: datetime | None = None,
    ) -> Match:
        return Match(
            line=self.number,
            item=self.item,
            status=status,
            reason=reason,
            ordered=self.ordered,
            received=self.received,
            invoiced=self.invoiced,
            difference=difference,
            window_ends_at=window_ends_at,
            decided_at=decided_at,
        )
