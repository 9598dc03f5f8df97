"""Why a step belongs: the chain of keys in words."""

from controltower.dashboard.reasons import explain
from controltower.store.read import Member
from controltower.store.rows import Key, Via
from tests.factories import membership, purchase_order, step

ANCHOR = purchase_order("PO-1", "1000")
VOUCHER, INVOICE = Key("voucher", "", "VCH-3"), Key("invoice", "V-7", "INV-9")


def test_chain_names_each_key_and_where_the_tie_was_seen() -> None:
    """Every hop says its key, its evidence and the system whose step shows both."""
    registered = step(system="accounts-payable")
    posted = step(system="erp")
    via = (
        Via(*VOUCHER, "key", posted.trace_id, posted.span_id),
        Via(*INVOICE, "key", registered.trace_id, registered.span_id),
        Via(*ANCHOR, "key", "elsewhere", "1"),
    )

    _, reason = explain(
        [Member(registered, membership(registered, ANCHOR)), Member(posted, membership(posted, ANCHOR, via=via))],
        ANCHOR,
    )

    assert [(link.key, link.evidence, link.seen_in) for link in reason.links] == [
        (VOUCHER, "key", "erp"),
        (INVOICE, "key", "accounts-payable"),
        (ANCHOR, "key", ""),
    ]
    assert reason.sentence == (
        "It carries voucher VCH-3, which stands on one step with invoice INV-9 of V-7, "
        "which stands on one step with purchase order PO-1 of 1000."
    )


def test_step_with_the_anchor_itself_needs_no_chain() -> None:
    """A step that carries the order's number says just that."""
    carries = step()

    (reason,) = explain([Member(carries, membership(carries, ANCHOR))], ANCHOR)

    assert reason.sentence == "It carries purchase order PO-1 of 1000 itself."


def test_evidence_of_a_trace_is_told_apart() -> None:
    """Belonging by trace is weaker than by key, and the sentence says so."""
    silent = step(keys=())
    via = (Via(*INVOICE, "trace", silent.trace_id, "9"), Via(*ANCHOR, "key", "t", "1"))

    (reason,) = explain([Member(silent, membership(silent, ANCHOR, via=via, evidence="trace"))], ANCHOR)

    assert reason.sentence.startswith(
        "It carries no key that leads here, but its trace is about invoice INV-9 of V-7 only"
    )
    assert explain([Member(silent, membership(silent, ANCHOR, via=()))], ANCHOR)[0].sentence.startswith(
        "It was placed here"
    )
