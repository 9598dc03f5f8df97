"""The documents of one transaction: their lines, and how order, receipt and invoice compare; pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from controltower.store.read import Member, Span, TransactionView
from controltower.store.rows import DocumentLine, Key, Reconciliation
from controltower.tracer.attributes import STEP

ORDERED, RECEIVED, INVOICED = "ordered", "received", "invoiced"
SIDES = (ORDERED, RECEIVED, INVOICED)


class Difference(StrEnum):
    """How a figure compares with the one before it."""

    NONE = ""
    LESS = "less"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class MatchRow:
    """One line across its sides. Received is compared with ordered, invoiced with received, the price with the order's."""

    match: Reconciliation
    quantities: tuple[Decimal | None, Decimal | None, Decimal | None]
    marks: tuple[Difference, Difference, Difference]
    ordered_price: Decimal | None
    invoiced_price: Decimal | None
    price_mark: Difference


@dataclass(frozen=True, slots=True)
class Document:
    """A step that carries lines, or money."""

    member: Member
    numbers: tuple[Key, ...]  # its own keys, without the transaction's anchor
    lines: tuple[DocumentLine, ...]


def match_rows(reconciliations: Iterable[Reconciliation]) -> tuple[MatchRow, ...]:
    """Return how the sides of each line compare."""
    return tuple(_row(match) for match in reconciliations)


def documents(view: TransactionView) -> tuple[Document, ...]:
    """Return the steps that carry lines or money, in order of time."""
    lines = _by_span(view.lines)
    return tuple(
        Document(
            member,
            tuple(key for key in member.step.keys if key != view.transaction.anchor),
            tuple(lines[member.step.trace_id, member.step.span_id]),
        )
        for member in view.members
        if (member.step.trace_id, member.step.span_id) in lines or member.step.amount is not None
    )


def line_belongs(line: DocumentLine, anchor: Key) -> bool:
    """Whether a line of a shared document is about this anchor: it says so, or it does not say."""
    named = [key for key in line.keys if key.type == anchor.type]
    return not named or any(key.value == anchor.value and key.scope in ("", anchor.scope) for key in named)


def _by_span(lines: Sequence[DocumentLine]) -> defaultdict[tuple[str, str], list[DocumentLine]]:
    found: defaultdict[tuple[str, str], list[DocumentLine]] = defaultdict(list)
    for line in lines:
        found[line.trace_id, line.span_id].append(line)
    return found


def _row(match: Reconciliation) -> MatchRow:
    ordered, received, invoiced = (match.quantities.get(side) for side in SIDES)
    price, charged = match.prices.get(ORDERED), match.prices.get(INVOICED)
    return MatchRow(
        match=match,
        quantities=(ordered, received, invoiced),
        marks=(Difference.NONE, _compare(received, ordered), _compare(invoiced, received)),
        ordered_price=price,
        invoiced_price=charged,
        price_mark=_compare(charged, price),
    )


def _compare(figure: Decimal | None, expected: Decimal | None) -> Difference:
    if figure is None or figure == (expected or 0):
        return Difference.NONE
    return Difference.MORE if figure > (expected or 0) else Difference.LESS


def around(spans: Iterable[Span], own: Collection[tuple[str, str]]) -> tuple[tuple[Span, ...], int]:
    """Return the spans around a transaction's own steps, and how many steps of others were left out.

    A batch or a payment run is one trace of many transactions: the other ones' steps are not this one's story.
    """
    found = tuple(spans)
    kept = tuple(span for span in found if (span.trace_id, span.span_id) in own or STEP not in span.attributes)
    return kept, len(found) - len(kept)


def before_their_parents(spans: Iterable[Span]) -> frozenset[tuple[str, str]]:
    """Return the spans that begin before the one that caused them: clocks of two hosts do not agree.

    Who ends after its cause is none: what was put on a queue is worked on later. No time is corrected: which of the two
    clocks is wrong cannot be seen.
    """
    found = tuple(spans)
    began = {(span.trace_id, span.span_id): span.at for span in found}
    return frozenset(
        (span.trace_id, span.span_id)
        for span in found
        if (cause := began.get((span.trace_id, span.parent_span_id))) is not None and span.at < cause
    )
