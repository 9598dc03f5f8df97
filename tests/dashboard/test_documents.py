"""Documents of a transaction: how lines compare, whose they are, and what a shared trace hides."""

from datetime import timedelta
from decimal import Decimal

from controltower.dashboard.documents import (
    Difference,
    around,
    before_their_parents,
    documents,
    line_belongs,
    match_rows,
)
from controltower.dashboard.parts import transaction as parts
from controltower.store.read import Member, Span, TransactionView
from controltower.store.rows import Key
from tests.factories import AT, document_line, membership, purchase_order, reconciliation, step, transaction


def test_each_side_is_compared_with_the_one_before() -> None:
    """Received with ordered, invoiced with received, the charged price with the agreed one."""
    short = reconciliation(
        quantities={"ordered": Decimal(3), "received": Decimal(2), "invoiced": Decimal(3)},
        prices={"ordered": Decimal("5.00"), "invoiced": Decimal("5.00")},
    )

    (row,) = match_rows([short])

    assert row.marks == (Difference.NONE, Difference.LESS, Difference.MORE)
    assert row.price_mark == Difference.NONE


def test_silence_of_a_side_is_no_difference() -> None:
    """What has not come yet is missing, not different; what nobody ordered is more than expected."""
    (pending,) = match_rows([reconciliation(quantities={"ordered": Decimal(3)}, prices={})])
    (unordered,) = match_rows([reconciliation(quantities={"invoiced": Decimal(1)}, prices={"invoiced": Decimal(4)})])

    assert pending.marks == (Difference.NONE,) * 3
    assert unordered.marks[2] == unordered.price_mark == Difference.MORE


def test_documents_are_steps_with_lines_or_money() -> None:
    """A step without either is no document; its own keys are its numbers."""
    invoice = Key("invoice", "V-7", "INV-9")
    carries = step(keys=(purchase_order(), invoice), amount=None)
    paid, silent = step(amount=Decimal(5)), step(amount=None)
    line = document_line(carries)
    members = tuple(Member(one, membership(one)) for one in (carries, paid, silent))

    found = documents(TransactionView(transaction(), members, (line,), (), (), (), ()))

    assert [document.member.step for document in found] == [carries, paid]
    assert found[0].numbers == (invoice,)
    assert found[0].lines == (line,)


def test_line_of_a_shared_document_belongs_to_the_order_it_names() -> None:
    """A line that names another order is not this one's; one that names none is."""
    mine, other = purchase_order("PO-1", "1000"), purchase_order("PO-2", "1000")
    of = step()

    assert line_belongs(document_line(of), mine)
    assert line_belongs(document_line(of, keys=(purchase_order("PO-1"),)), mine)
    assert not line_belongs(document_line(of, keys=(other,)), mine)
    assert not line_belongs(document_line(of, keys=(purchase_order("PO-1", "2000"),)), mine)


def test_steps_of_others_in_one_trace_are_left_out() -> None:
    """Of a batch's trace the page shows the run and this transaction's records, and counts the others."""

    def span(number: str, **attributes: str) -> Span:
        return Span("t", number, "", "load", "internal", "ap", AT, 1, "Ok", "", attributes)

    run, mine, other = span("1"), span("2", **{"controltower.step": "x"}), span("3", **{"controltower.step": "x"})

    assert around([run, mine, other], {("t", "2")}) == ((run, mine), 1)


def test_clocks_that_do_not_agree_are_suspected() -> None:
    """A span that begins before its parent is marked, by however little; one that ends after it is late, and is not."""

    def span(number: str, parent: str, begins: float, lasts: float, trace: str = "t") -> Span:
        at = AT + timedelta(seconds=begins)
        return Span(trace, number, parent, "name", "Server", "erp", at, int(lasts * 10**9), "Ok", "", {})

    spans = [
        span("cause", "", 0, 1),
        span("before", "cause", -5, 1),
        span("hardly before", "cause", -0.000001, 1),
        span("longer", "cause", 0, 9),
        span("after", "cause", 5, 1),
        span("of nobody stored", "lost", -5, 1),
        span("of another trace", "cause", -5, 1, trace="u"),
    ]

    skewed = before_their_parents(spans)

    assert skewed == {("t", "before"), ("t", "hardly before")}
    assert parts.spans(spans, (), skewed).count("clock skew suspected") == 2
    assert "clock skew" not in parts.spans(spans, ())
