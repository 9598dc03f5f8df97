"""A distributor's customers: orders through the warehouse to their money, and what manufacturers owe on contract prices."""

from dataclasses import replace
from datetime import datetime, time
from decimal import Decimal
from typing import Final

from controltower.cli.demo.journey import (
    Fault,
    Journey,
    Leg,
    Together,
    Traveller,
    after_business_days,
    alike,
    as_one,
    daily,
    days,
    hours,
    minutes,
    same,
    worked,
)
from controltower.cli.demo.published import anchor
from controltower.cli.demo.simulation import Chance, Simulation
from controltower.cli.demo.travelling import travel
from controltower.cli.demo.world import CENTS

ORDERS: Final = "order_to_cash"
CHARGEBACKS: Final = "chargeback"
CUSTOMERS: Final = ("C-2001", "C-2002", "C-2003", "C-2004", "C-2005", "C-2006")
BY_API: Final = frozenset({"C-2002", "C-2005"})  # the others exchange EDI
MANUFACTURERS: Final = ("M-501", "M-502", "M-503")
TRANSFERS: Final = 0.08  # of what is planned: stock that moves between warehouses
ADJUSTMENTS: Final = 0.05


def by_channel(leg: Leg, api: str, edi: str, *only_edi: str) -> tuple[Leg, Leg]:
    """Return a leg as it is over an API of one system, and over the EDI of another, with keys that only EDI has."""
    return (
        replace(leg, system=api, style="api", only=lambda each: each.context["channel"] == "api"),
        replace(
            leg,
            system=edi,
            style="edi",
            keys=(*leg.keys, *only_edi),
            only=lambda each: each.context["channel"] == "edi",
        ),
    )


JOURNEY: Final = Journey(
    ORDERS,
    about=("invoice", "payment"),
    legs=(
        *by_channel(
            Leg("o2c.customer_order.received", "", "api", ("customer_order",), minutes(1, 30), interface="orders",
                context=("customer",), own={"set": "850-", "group": "5"},
                faults=(Fault("order_sent_twice", 0.02, "duplicate", hours(0.2, 20)),)),
            "order-api", "edi-gateway", "group", "set",
        ),
        *by_channel(
            Leg("o2c.customer_order.acknowledged", "", "api", ("customer_order",), minutes(5, 240),
                interface="order-acknowledgements", context=("customer",), money=False,
                faults=(Fault("acknowledgement_not_sent", 0.015, "lost"),
                        Fault("acknowledged_late", 0.02, "late", after_business_days(1, hours(1, 20))),
                        Fault("backordered_for_customer", 0.04, "changed", reason="backordered", outcome="pending"))),
            "order-api", "edi-gateway",
        ),
        Leg("o2c.customer_order.allocated", "erp", "event", ("customer_order",), minutes(5, 240),
            after="o2c.customer_order.received", interface="orders.received", context=("customer",), money=False,
            faults=(Fault("short_allocation", 0.03, "rejected", hours(4, 40), reason="out_of_stock"),)),
        Leg("o2c.warehouse_order.sent", "erp", "edi", ("customer_order", "warehouse_order"), minutes(1, 12),
            own={"warehouse_order": "WO-"}, interface="940-outbound", context=("customer",), money=False,
            faults=(Fault("release_stuck", 0.02, "late", minutes(20, 240)),
                    Fault("release_unmapped", 0.01, "failed", hours(0.5, 9), reason="unmapped_item"))),
        Leg("o2c.pick.completed", "warehouse", "event", ("warehouse_order",), minutes(10, 120), interface="picks",
            money=False, actor="human",
            faults=(Fault("short_pick", 0.03, "changed", reason="short", outcome="exception"),)),
        Leg("o2c.pack.completed", "warehouse", "event", ("warehouse_order", "sscc"), minutes(5, 45),
            own={"sscc": "0081"}, interface="packs", money=False, actor="human"),
        Leg("o2c.shipment.dispatched", "warehouse", "edi", ("warehouse_order", "shipment", "bol"), minutes(5, 30),
            together=daily(alike("customer"), time(11, 0), time(17, 30)), numbers={"shipment": "DS", "bol": "BOL"},
            interface="945-outbound", context=("carrier",), money=False),
        *by_channel(
            Leg("o2c.shipment.notified", "", "api", ("shipment", "customer_order"), minutes(5, 150),
                together=as_one(same("shipment")), interface="ship-notices", context=("customer",), money=False,
                faults=(Fault("ship_notice_missing", 0.02, "lost"),
                        Fault("ship_notice_late", 0.03, "late", hours(4.1, 20)))),
            "order-api", "edi-gateway",
        ),
        *by_channel(
            Leg("o2c.invoice.issued", "", "api", ("invoice", "customer_order"), hours(2, 18),
                after="o2c.shipment.dispatched", own={"invoice": "DI-"}, interface="invoices", context=("customer",),
                faults=(Fault("never_invoiced", 0.01, "lost", ends=True),
                        Fault("invoiced_late", 0.02, "late", hours(20, 90)),
                        Fault("invoiced_off_contract", 0.03, "changed", reason="price_variance", outcome="exception",
                              share=Decimal("1.12")))),
            "order-api", "edi-gateway",
        ),
        Leg("o2c.gl.posted", "erp", "batch", ("gl_journal", "invoice"), minutes(5, 60),
            together=daily(alike("company"), time(2, 0)), numbers={"gl_journal": "JS-"}, interface="sales-posting"),
        Leg("o2c.payment.received", "bank-gateway", "file", ("payment", "invoice"), days(12, 38),
            after="o2c.invoice.issued", together=daily(alike("customer"), time(6, 0)), numbers={"payment": "CP"},
            interface="820-inbound", context=("customer",),
            faults=(Fault("customer_never_pays", 0.02, "lost", ends=True),
                    Fault("customer_pays_late", 0.02, "late", days(20, 30)),
                    Fault("short_paid", 0.04, "changed", reason="deduction", outcome="exception",
                          share=Decimal("0.9")))),
        Leg("o2c.cash.applied", "accounts-receivable", "batch", ("payment", "deposit"), hours(2, 20),
            together=as_one(same("payment")), numbers={"deposit": "DP-"}, interface="cash-application", context=("customer",),
            faults=(Fault("unapplied_cash", 0.03, "late", after_business_days(2, hours(2, 60))),)),
    ),
)  # fmt: skip

TRANSFER: Final = Journey(
    ORDERS,
    legs=(
        Leg("o2c.stock_transfer.advised", "warehouse", "edi", ("transfer_order",), minutes(1, 60),
            interface="943-outbound", context=("warehouse",), money=False),
        Leg("o2c.stock_transfer.received", "warehouse", "edi", ("transfer_order",), hours(3, 14),
            interface="944-inbound", context=("warehouse",), money=False,
            faults=(Fault("transfer_in_transit_too_long", 0.06, "late", after_business_days(1, hours(1, 60))),
                    Fault("transfer_lost", 0.03, "lost"))),
    ),
)  # fmt: skip

ADJUSTMENT: Final = Journey(
    ORDERS,
    legs=(
        Leg("o2c.stock.adjusted", "warehouse", "edi", ("adjustment",), minutes(1, 60), interface="947-outbound",
            context=("warehouse",)),
    ),
)  # fmt: skip

CHARGEBACK: Final = Journey(
    CHARGEBACKS,
    legs=(
        Leg("o2c.chargeback.requested", "contract-service", "edi", ("debit_memo", "debit_memo_line"), minutes(5, 200),
            together=daily(alike("manufacturer"), time(21, 0)), numbers={"debit_memo": "DM-"},
            interface="844-outbound", context=("manufacturer", "contract", "customer"),
            faults=(Fault("chargeback_sent_twice", 0.02, "duplicate", days(1, 4)),)),
        Leg("o2c.chargeback.answered", "edi-gateway", "edi", ("debit_memo", "debit_memo_line"), days(4, 12),
            together=Together(same("debit_memo")), interface="849-inbound", context=("manufacturer",),
            faults=(Fault("chargeback_unanswered", 0.03, "lost", ends=True),
                    Fault("chargeback_answered_late", 0.05, "late", days(11, 20)),
                    Fault("chargeback_refused", 0.08, "rejected", worked(20, 60), reason="not_eligible", never=0.4,
                          ends=True))),
        Leg("o2c.chargeback.credited", "erp", "edi", ("debit_memo_line", "payment"), days(3, 20),
            together=daily(alike("manufacturer"), time(6, 0)), numbers={"payment": "MC"}, interface="credits-inbound",
            context=("manufacturer",),
            faults=(Fault("credited_short", 0.05, "changed", reason="amount_variance", outcome="exception",
                          share=Decimal("0.85")),)),
    ),
)  # fmt: skip


def plan_orders_to_cash(sim: Simulation, wanted: int) -> None:
    """Write down what becomes of so many customers' orders, transfers and adjustments of stock."""
    chance = sim.chance("customers")
    transfers, adjustments = round(wanted * TRANSFERS), round(wanted * ADJUSTMENTS)
    orders = [_order(sim, chance, at) for at in sim.times("customers' orders", wanted - transfers - adjustments)]
    travel(sim, JOURNEY, orders)
    for journey, key_type, prefix, count in (
        (TRANSFER, "transfer_order", "TO-", transfers),
        (ADJUSTMENT, "adjustment", "W15-", adjustments),
    ):
        moved = []
        for at in sim.times(key_type, count):
            number = sim.number(key_type, prefix)
            context = {"warehouse": chance.random.choice(("WH-1", "WH-2"))}
            named = anchor(ORDERS, key_type, number, context)
            moved.append(Traveller(ORDERS, named, at, {key_type: (number,)}, context, _worth(chance)))
        travel(sim, journey, moved)


def _order(sim: Simulation, chance: Chance, at: datetime) -> Traveller:
    customer = chance.random.choice(CUSTOMERS)
    number = f"CO-{sim.numbers.next(f'order of {customer}')}"  # customers number alike
    context = {
        "customer": customer,
        "channel": "api" if customer in BY_API else "edi",
        "carrier": chance.random.choice(("CARRIER-A", "CARRIER-B")),
        "company": "3000",
    }
    named = anchor(ORDERS, "customer_order", number, context)
    return Traveller(ORDERS, named, at, {"customer_order": (number,)}, context, _worth(chance))


def _worth(chance: Chance) -> Decimal:
    return Decimal(str(40 * 200 ** chance.random.random())).quantize(CENTS)


def plan_chargebacks(sim: Simulation, wanted: int) -> None:
    """Write down what becomes of so many lines of chargebacks."""
    chance = sim.chance("chargebacks")
    lines = []
    for at in sim.times("sales at contract prices", wanted):
        number = sim.number("debit_memo_line", "DML-")
        context = {
            "manufacturer": chance.random.choice(MANUFACTURERS),
            "contract": f"CT-{chance.random.randrange(100, 130)}",
            "customer": chance.random.choice(CUSTOMERS),
        }
        named = anchor(CHARGEBACKS, "debit_memo_line", number, context)
        lines.append(Traveller(CHARGEBACKS, named, at, {"debit_memo_line": (number,)}, context, _worth(chance)))
    travel(sim, CHARGEBACK, lines)
