"""A distributor's stock: movements until their cost is in the ledger, replenishment, and counts."""

from datetime import time
from decimal import Decimal
from typing import Final

from controltower.cli.demo.customers import by_channel
from controltower.cli.demo.journey import (
    Fault,
    Journey,
    Leg,
    Traveller,
    after_business_days,
    alike,
    as_one,
    daily,
    days,
    hours,
    minutes,
    moments,
    same,
)
from controltower.cli.demo.published import anchor
from controltower.cli.demo.simulation import Simulation
from controltower.cli.demo.travelling import travel
from controltower.cli.demo.world import CENTS

FINANCE: Final = "warehouse_to_finance"
REPLENISHMENT: Final = "replenishment"
COUNTS: Final = "cycle_count"
WAREHOUSES: Final = ("WH-1", "WH-2")
HALF_HOURS: Final = tuple(time(hour, minute) for hour in range(24) for minute in (0, 30))

JOURNEY: Final = Journey(
    FINANCE,
    legs=(
        Leg("inv.movement.recorded", "warehouse", "api", ("movement",), minutes(1, 300), interface="movements",
            context=("warehouse", "item"), money=False, actor="human", publishes="stock.movements"),
        Leg("inv.movement.published", "event-broker", "event", ("movement",), moments(0.5, 40),
            interface="stock.movements", context=("warehouse",), money=False, publishes="stock.published",
            faults=(Fault("publishing_stuck", 0.02, "late", minutes(2, 200)),
                    Fault("published_before_recorded", 0.02, "early", moments(-40, -2)))),
        Leg("inv.movement.applied", "erp", "queue", ("movement", "erp_transaction"), moments(2, 400),
            own={"erp_transaction": "ET-"}, interface="stock.published", context=("warehouse",), money=False,
            faults=(Fault("movement_lost", 0.01, "lost", ends=True),
                    Fault("movement_applied_late", 0.02, "late", minutes(16, 400)),
                    Fault("movement_applied_twice", 0.02, "repeated", minutes(1, 60)),
                    Fault("movement_dead_lettered", 0.015, "failed", hours(0.5, 12), reason="unknown_item"),
                    Fault("period_closed", 0.015, "rejected", hours(3, 40), reason="closed_period", never=0.3,
                          ends=True))),
        Leg("inv.cost.updated", "erp", "event", ("movement",), minutes(3, 50), interface="costs",
            context=("warehouse", "item"),
            faults=(Fault("stale_cost", 0.04, "late", hours(1.1, 30)),
                    Fault("cost_of_wrong_unit", 0.02, "changed", reason="unit_of_measure", outcome="exception",
                          share=Decimal(12)))),
        Leg("inv.gl.posted", "erp", "batch", ("gl_journal", "movement"), minutes(1, 30), after="inv.movement.applied",
            together=daily(alike("company"), time(6, 0), time(22, 0)), numbers={"gl_journal": "JV-"},
            interface="stock-posting",
            faults=(Fault("stock_posted_late", 0.02, "late", hours(24.1, 60)),)),
    ),
)  # fmt: skip

SUPPLY: Final = Journey(
    REPLENISHMENT,
    about=("purchase_order",),
    legs=(
        Leg("inv.par.breached", "warehouse", "event", ("replenishment",), minutes(1, 300), interface="stock.levels",
            context=("warehouse", "item"), money=False, publishes="par.breached"),
        Leg("inv.replenishment.requested", "replenishment-saas", "event", ("replenishment",), moments(10, 600),
            interface="par.breached", context=("warehouse", "item"),
            faults=(Fault("replenishment_suppressed", 0.03, "late", minutes(16, 600)),)),
        Leg("inv.replenishment.sourced", "erp", "batch", ("replenishment", "transfer_order"), minutes(1, 20),
            own={"transfer_order": "RT-"}, interface="sourcing", money=False,
            only=lambda each: each.context["channel"] == "transfer"),
        Leg("inv.replenishment.sourced", "erp", "batch", ("replenishment", "purchase_order"), minutes(1, 15),
            together=daily(alike("vendor", "channel"), *HALF_HOURS), numbers={"purchase_order": "RO-"}, interface="sourcing",
            context=("company", "vendor"), only=lambda each: each.context["channel"] != "transfer",
            faults=(Fault("no_source", 0.03, "rejected", hours(1, 20), reason="no_source"),
                    Fault("sourced_late", 0.02, "late", hours(1.1, 9)))),
        *by_channel(
            Leg("inv.supplier.acknowledged", "", "api", ("purchase_order",), minutes(20, 400),
                together=as_one(same("purchase_order")), interface="supplier-acknowledgements",
                context=("company", "vendor"), money=False,
                faults=(Fault("supplier_silent", 0.03, "lost"),
                        Fault("supplier_answers_late", 0.04, "late", after_business_days(1, hours(1, 30))),
                        Fault("supplier_backorders", 0.05, "changed", reason="backordered", outcome="pending"))),
            "supplier-saas", "edi-gateway",
        ),
        Leg("inv.replenishment.fulfilled", "warehouse", "event", ("replenishment",), days(1, 4),
            after="inv.replenishment.sourced", interface="putaways", context=("warehouse",), money=False,
            faults=(Fault("never_replenished", 0.02, "lost"), Fault("replenished_late", 0.04, "late", days(2, 6)))),
    ),
)  # fmt: skip

COUNT: Final = Journey(
    COUNTS,
    legs=(
        Leg("inv.count.started", "warehouse", "api", ("count",), minutes(1, 60), interface="counts",
            context=("warehouse",), money=False, actor="human"),
        Leg("inv.count_line.counted", "warehouse", "api", ("count", "count_line"), minutes(10, 240), each="count_line",
            interface="count-lines", context=("warehouse",), money=False, actor="human"),
        Leg("inv.count.approved", "warehouse", "api", ("count",), hours(2, 30), interface="count-approvals",
            context=("warehouse",), actor="human",
            faults=(Fault("recount", 0.08, "rejected", hours(3, 50), reason="recount"),
                    Fault("variance_left_open", 0.05, "lost", ends=True))),
        Leg("inv.count.adjusted", "erp", "event", ("count_line",), minutes(5, 200), each="count_line",
            interface="count-adjustments", money=False, only=lambda each: each.amount > 0),
    ),
)  # fmt: skip


def plan_movements(sim: Simulation, wanted: int) -> None:
    """Write down what becomes of so many movements of stock."""
    chance = sim.chance("movements")
    movements = []
    for at in sim.times("movements", wanted):
        item = chance.random.choice(chance.random.choice(sim.world.vendors).catalogue)
        context = {"warehouse": chance.random.choice(WAREHOUSES), "item": item.gtin, "company": "3000"}
        number = sim.number("movement", "MV-")
        worth = (item.price * chance.random.randint(1, 40)).quantize(CENTS)
        named = anchor(FINANCE, "movement", number, context)
        movements.append(Traveller(FINANCE, named, at, {"movement": (number,)}, context, worth))
    travel(sim, JOURNEY, movements)


def plan_replenishments(sim: Simulation, wanted: int) -> None:
    """Write down how so many shortages are made good."""
    chance = sim.chance("replenishments")
    shortages = []
    for at in sim.times("replenishments", wanted):
        vendor = chance.random.choice(sim.world.vendors)
        item = chance.random.choice(vendor.catalogue)
        context = {
            "warehouse": chance.random.choice(WAREHOUSES),
            "item": item.gtin,
            "company": "3000",
            "vendor": vendor.code,
            "channel": chance.random.choice(("api", "edi", "edi", "transfer")),
        }
        number = sim.number("replenishment", "RP-")
        named = anchor(REPLENISHMENT, "replenishment", number, context)
        worth = (item.price * 20).quantize(CENTS)
        shortages.append(Traveller(REPLENISHMENT, named, at, {"replenishment": (number,)}, context, worth))
    travel(sim, SUPPLY, shortages)


def plan_counts(sim: Simulation, wanted: int) -> None:
    """Write down so many counts; what differs is adjusted."""
    chance = sim.chance("counts")
    counts = []
    for at in sim.times("counts", wanted):
        number = sim.number("count", "CC-")
        lines = tuple(f"{number}-{line}" for line in range(1, chance.random.randint(2, 6)))
        context = {"warehouse": chance.random.choice(WAREHOUSES)}
        differs = Decimal(chance.random.randint(20, 900)) if chance.happens(0.5) else Decimal(0)
        keys = {"count": (number,), "count_line": lines}
        counts.append(Traveller(COUNTS, anchor(COUNTS, "count", number, context), at, keys, context, differs))
    travel(sim, COUNT, counts)
