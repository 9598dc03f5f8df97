"""One order of the shipped pack from requisition to clearing, as spans."""

from datetime import UTC, datetime, timedelta

from tests.store.spans import Span

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)  # a Monday, 09:00 in New York
ACME = {"company": "acme", "vendor": "V-7"}


def at(**after: float) -> datetime:
    """Return a time after the start."""
    return START + timedelta(**after)


def line(number: int, quantity: str, price: str, **more: str) -> dict[str, str]:
    """Return a line event's attributes."""
    return {"line": str(number), "item": f"item-{number}", "quantity": quantity, "unit_price": price, **more}


def whole_order(quantity: str = "2", price: str = "10.00") -> list[Span]:
    """Return an order from requisition to clearing, each step in a system and a trace of its own."""
    ordered = [line(1, "2", "10.00")]
    return [
        Span(1, 1, at(), "p2p.requisition.created", {"requisition": "R1"}, "saas", ACME),
        Span(1, 2, at(hours=1), "p2p.requisition.approved", {"requisition": "R1"}, "saas", ACME),
        Span(2, 3, at(hours=2), "p2p.purchase_order.created", {"requisition": "R1", "purchase_order": "po-1"}, "erp", ACME, lines=ordered, more={"amount": "20.00", "currency": "USD"}),
        Span(3, 4, at(hours=2, minutes=5), "p2p.purchase_order.dispatched", {"purchase_order": "PO-1", "group": "77"}, "edi", {**ACME, "ack_within_s": "14400"}),
        Span(4, 5, at(hours=2, minutes=20), "p2p.purchase_order.functional_acknowledged", {"group": "77"}, "edi"),
        Span(5, 6, at(hours=5), "p2p.purchase_order.acknowledged", {"purchase_order": "PO-1"}, "edi", {"vendor": "V-7"}),
        Span(6, 7, at(days=1), "p2p.shipment.notified", {"purchase_order": "PO-1", "shipment": "S1"}, "supplier", ACME),
        Span(7, 8, at(days=2), "p2p.goods.received", {"shipment": "S1", "receipt": "G1"}, "wms", ACME, lines=[line(1, "2", "10.00")]),
        Span(8, 9, at(days=3), "p2p.invoice.received", {"purchase_order": "PO-1", "invoice": "i-1"}, "ap", ACME, lines=[line(1, quantity, price)]),
        Span(9, 10, at(days=3, hours=1), "p2p.invoice.registered", {"invoice": "I-1", "voucher": "V1"}, "ap", ACME),
        Span(10, 11, at(days=3, hours=2), "p2p.invoice.matched", {"voucher": "V1"}, "ap", ACME),
        Span(11, 12, at(days=4), "p2p.invoice.posted", {"voucher": "V1", "gl_journal": "J1"}, "erp", ACME),
        Span(12, 13, at(days=20), "p2p.payment.issued", {"invoice": "I-1", "payment": "P1"}, "bank", ACME),
        Span(13, 14, at(days=21), "p2p.payment.cleared", {"payment": "P1", "bank_ref": "B1"}, "bank"),
    ]  # fmt: skip
