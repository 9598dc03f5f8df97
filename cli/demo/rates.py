"""How often things go wrong in the simulated network. Every fault has a name, a rate and a sentence."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Chance of each fault, 0 to 1, per document that it can happen to.

    requisitions
        ``slow_approval`` the approver is away; ``split_requisition`` one requisition becomes two orders at two vendors;
        ``consolidated_requisitions`` two or three become one order; ``placeholder_requisition`` the order names "0000".
    orders
        ``slow_creation`` the ERP is down for hours; ``retried_dispatch`` the first transmission of a file fails;
        ``dead_letter_dispatch`` an order cannot be mapped, is dead-lettered and replayed hours later;
        ``missing_997`` and ``late_997`` functional acknowledgement of a file; ``recycled_control_numbers`` a file reuses
        the group number of one that is a week old; ``changed_order``, ``cancelled_order``, ``rejected_order``.
    acknowledgements
        ``missing_855``, ``late_855``, ``dead_letter_855``; ``backordered``; ``price_changed_855`` the supplier announces
        another price; ``scopeless_855`` it does not say for which company; ``lower_case_855`` it writes the number small.
    goods
        ``several_orders_per_shipment``; ``backorder_never_shipped`` of the back-ordered; ``partial_receipt`` and
        ``partial_receipt_never_completed`` of those; ``placeholder_packing_slip`` "N/A"; ``blind_receipt`` the dock
        knows the packing slip only; ``receipt_booked_late`` entered hours after the goods came in.
    invoices
        ``price_variance`` beyond tolerance; ``price_within_tolerance``; ``over_invoiced`` quantity;
        ``missing_invoice``; ``invoice_for_several_orders`` of the shipments with several; ``duplicate_invoice`` sent
        twice, and ``duplicate_unnoticed`` of those, as if new; ``dead_letter_invoice``; ``scanned_invoice`` paper;
        ``invoice_without_order`` of all transactions; ``placeholder_order`` "TBD" of those.
    payment
        ``variance_never_resolved`` of the match exceptions; ``late_clearing``, ``missing_clearing`` of payments.
    telemetry
        ``late_arrival`` the spans of one trace reach the collector hours after they happened.
    journeys
        ``journeys`` is no chance itself: the part of the chances that the legs of the other flows name.
    """

    slow_approval: float = 0.03
    split_requisition: float = 0.05
    consolidated_requisitions: float = 0.04
    placeholder_requisition: float = 0.01
    slow_creation: float = 0.01
    retried_dispatch: float = 0.03
    dead_letter_dispatch: float = 0.01
    missing_997: float = 0.015
    late_997: float = 0.015
    recycled_control_numbers: float = 0.1
    changed_order: float = 0.02
    cancelled_order: float = 0.015
    rejected_order: float = 0.012
    missing_855: float = 0.02
    late_855: float = 0.03
    dead_letter_855: float = 0.008
    backordered: float = 0.05
    price_changed_855: float = 0.01
    scopeless_855: float = 0.05
    lower_case_855: float = 0.03
    several_orders_per_shipment: float = 0.35
    backorder_never_shipped: float = 0.3
    partial_receipt: float = 0.04
    partial_receipt_never_completed: float = 0.35
    placeholder_packing_slip: float = 0.03
    blind_receipt: float = 0.02
    receipt_booked_late: float = 0.15
    price_variance: float = 0.025
    price_within_tolerance: float = 0.03
    over_invoiced: float = 0.02
    missing_invoice: float = 0.008
    invoice_for_several_orders: float = 0.6
    duplicate_invoice: float = 0.012
    duplicate_unnoticed: float = 0.4
    dead_letter_invoice: float = 0.006
    scanned_invoice: float = 0.05
    invoice_without_order: float = 0.025
    placeholder_order: float = 0.5
    variance_never_resolved: float = 0.3
    late_clearing: float = 0.05
    missing_clearing: float = 0.01
    late_arrival: float = 0.02
    journeys: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(f"{field.name} is a chance between 0 and 1")


def no_faults(**given: Any) -> FaultRates:
    """Return rates of zero but those *given*."""
    return FaultRates(**{**{field.name: 0.0 for field in fields(FaultRates)}, **given})
