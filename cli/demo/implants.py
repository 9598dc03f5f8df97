"""Implants, bill-only and consignment: used in a case first, ordered afterwards, and charged to the patient's account.

The cost leg and the revenue leg of a usage go on side by side. What is used and never charged is money that nobody asks for.
"""

from collections.abc import Hashable
from datetime import datetime, time
from typing import Final

from controltower.cli.demo.claims import Stay
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
from controltower.cli.demo.workdays import OPENS, day_of, local, next_workday
from controltower.cli.demo.world import Company, Vendor

FLOW: Final = "implant"
NEVER_ORDERED: Final = "implant_never_ordered"
NEVER_CHARGED: Final = "lost_implant_charge"
OFF_CONTRACT: Final = "off_contract_implant"


def _in_surgery(chance: Chance, at: datetime) -> datetime:
    """Return when a device is used: during the day of the case, which is the next workday but one."""
    return local(next_workday(next_workday(day_of(at))), OPENS) + chance.minutes(0, 500)


def _of_vendor(usage: Traveller) -> Hashable:
    return usage.keys["case"], usage.context["vendor"]


def _ordered(usage: Traveller) -> bool:
    return "purchase_order" in usage.keys


def _replaced(usage: Traveller) -> bool:
    return _ordered(usage) and usage.context["bill_code"] == "bill_and_replace"


def _matched(usage: Traveller) -> bool:
    return _ordered(usage) and not usage.met("implant_over_contract_never_mended")


def _charged(usage: Traveller) -> bool:
    return not usage.met(NEVER_CHARGED)


JOURNEY: Final = Journey(
    FLOW,
    fallback="case",
    legs=(
        Leg("implant.case.scheduled", "or-system", "event", ("case",), minutes(1, 60), together=as_one(same("case")),
            interface="cases.scheduled", context=("facility",), money=False, actor="human"),
        Leg("implant.usage.documented", "or-system", "api", ("usage", "case", "account", "device"), _in_surgery,
            interface="usages", context=("facility", "vendor", "item"), actor="human", publishes="implants.used",
            faults=(Fault("usage_scanned_twice", 0.02, "duplicate", minutes(1, 20)),)),
        Leg("implant.billsheet.received", "supplier-portal", "file", ("case", "usage"), hours(1, 8),
            together=as_one(_of_vendor), interface="bill-sheets", context=("facility", "vendor"),
            faults=(Fault("missing_bill_sheet", 0.02, "lost"),
                    Fault("late_bill_sheet", 0.05, "late", after_business_days(1, hours(1, 40))))),
        Leg("implant.price.validated", "contract-service", "api", ("usage", "case"), hours(1, 9),
            after="implant.usage.documented", interface="contract-prices", context=("facility", "vendor", "item"),
            faults=(Fault(OFF_CONTRACT, 0.06, "rejected", worked(3, 20), reason="off_contract", never=0.35),)),
        Leg("implant.requisition.created", "requisition-saas", "api", ("case", "usage"), hours(0.2, 3),
            after="implant.billsheet.received", together=as_one(_of_vendor), interface="requisitions",
            context=("facility", "vendor"), actor="human"),
        Leg("implant.purchase_order.created", "erp", "event", ("purchase_order", "case", "usage"), minutes(5, 90),
            together=as_one(_of_vendor), numbers={"purchase_order": "BO-"}, interface="requisition-import",
            context=("facility", "company", "vendor", "bill_code"), lines="usage",
            faults=(Fault(NEVER_ORDERED, 0.015, "lost"),
                    Fault("implant_ordered_late", 0.03, "late", after_business_days(2, hours(1, 50))))),
        Leg("implant.receipt.autocreated", "erp", "batch", ("receipt", "purchase_order"), minutes(30, 300),
            together=Together(alike("company"), (time(23, 30),), same("purchase_order")), own={"receipt": "BR-"}, interface="receipt-creation",
            context=("company",), money=False, only=_ordered),
        Leg("implant.replenishment.fulfilled", "warehouse", "event", ("purchase_order", "shipment"), days(1, 4),
            together=as_one(same("purchase_order")), numbers={"shipment": "RS"}, interface="consignment-stock",
            context=("facility",), money=False, only=_replaced),
        Leg("implant.invoice.matched", "accounts-payable", "edi", ("invoice", "purchase_order"), hours(20, 70),
            after="implant.receipt.autocreated", together=as_one(same("purchase_order")), numbers={"invoice": "II-"},
            interface="810-inbound", context=("company", "vendor"), only=_ordered,
            faults=(Fault("implant_over_contract", 0.05, "rejected", worked(4, 30), reason="price_variance", never=0.3),)),
        Leg("implant.invoice.posted", "erp", "batch", ("invoice", "gl_journal"), minutes(10, 200),
            together=Together(alike("company"), (time(2, 30),), same("invoice")), numbers={"gl_journal": "JI-"},
            interface="gl-posting", context=("vendor", "company"), only=_matched),
        Leg("implant.charge.captured", "clinical-charges", "event", ("charge", "usage", "account"), hours(2, 40),
            after="implant.usage.documented", own={"charge": "CI-"}, interface="implants.used",
            context=("facility",), faults=(
                Fault(NEVER_CHARGED, 0.03, "lost"),
                Fault("late_implant_charge", 0.04, "late", days(3, 9)),
                Fault("implant_charged_twice", 0.015, "repeated", hours(1, 30)))),
        Leg("implant.claim_line.billed", "patient-billing", "batch", ("claim_pcn", "charge"), days(2, 4),
            together=as_one(same("claim_pcn")), interface="837-lines", only=_charged),
        Leg("implant.margin.closed", "erp", "batch", ("usage",), days(4, 9),
            together=daily(alike("company"), time(3, 15)), interface="margin-close", context=("facility",),
            only=lambda usage: _matched(usage) and _charged(usage)),
    ),
)  # fmt: skip


def plan_implants(sim: Simulation, wanted: int) -> list[Stay]:
    """Write down what becomes of so many used implants; return the patients' stays in which they were used."""
    chance = sim.chance("implants")
    usages: list[Traveller] = []
    stays = []
    for at in sim.times("cases", wanted):
        if len(usages) >= wanted:
            break
        company = sim.world.company(chance.random)
        facility = chance.random.choice(company.facilities).code
        stay = Stay(sim.number("account", "ACC-"), sim.number("claim_pcn", "PCN"), facility, at)
        usages.extend(_case(sim, chance, company, stay)[: wanted - len(usages)])
        stays.append(stay)
    travel(sim, JOURNEY, usages)
    return stays


def _case(sim: Simulation, chance: Chance, company: Company, stay: Stay) -> list[Traveller]:
    """Return what is used in one case: up to four devices, of one vendor or two."""
    case = sim.number("case", "CASE-")
    makers = [vendor for vendor in sim.world.vendors if vendor.line == "implant"]
    vendors = chance.random.sample(makers, 2 if chance.happens(0.2) else 1)
    bill_code = "bill_and_replace" if chance.happens(0.4) else "bill_only"
    count = max(len(vendors), chance.random.choice((1, 1, 2, 2, 3, 4)))
    return [
        _usage(sim, chance, company, stay, case, vendors[number % len(vendors)], bill_code) for number in range(count)
    ]


def _usage(
    sim: Simulation, chance: Chance, company: Company, stay: Stay, case: str, vendor: Vendor, bill_code: str
) -> Traveller:
    item = chance.random.choice(vendor.catalogue)
    usage = sim.number("usage", "USE-")
    context = {
        "facility": stay.facility,
        "company": company.code,
        "vendor": vendor.code,
        "item": item.gtin,
        "bill_code": bill_code,
    }
    keys: dict[str, tuple[str, ...]] = {
        "usage": (usage,),
        "case": (case,),
        "account": (stay.account,),
        "device": (sim.number("device", f"{item.gtin}-"),),
        "claim_pcn": (stay.claim_pcn,),
    }
    return Traveller(FLOW, anchor(FLOW, "usage", usage, context), stay.at, keys, context, item.price)
