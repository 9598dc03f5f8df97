"""Charge to cash: charges become claims, claims become remittances and money, and some are denied first."""

from collections.abc import Sequence
from dataclasses import dataclass
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

FLOW: Final = "charge_to_cash"
PAYERS: Final = ("PAY-MEDICARE", "PAY-NORTHSTAR", "PAY-UNITY", "PAY-CEDAR")
SECONDARY: Final = 0.12  # of accounts: what the first payer leaves is claimed from a second one

DENIED: Final = "denied_claim"
NO_MONEY: Final = "missing_eft"
SHARED: Final = "secondary_claim"


@dataclass(frozen=True, slots=True)
class Stay:
    """Why something is charged: a patient's account, the claim for it, and from when on."""

    account: str
    claim_pcn: str
    facility: str
    at: datetime


def _paid(*, appealed: bool) -> tuple[Leg, ...]:
    """Return the legs from a remittance to the account; a claim that was denied goes along them twice."""

    def only(traveller: Traveller) -> bool:
        return not appealed or traveller.met(DENIED)

    def with_money(traveller: Traveller) -> bool:
        return only(traveller) and not traveller.met(NO_MONEY)

    first = (
        Fault(DENIED, 0.06, "rejected", reason="denied", share=Decimal(0)),
        Fault("missing_remittance", 0.015, "lost", ends=True),
        Fault("late_remittance", 0.03, "late", days(21, 26)),
        Fault("underpaid_claim", 0.05, "changed", reason="underpaid", share=Decimal("0.8"), outcome="exception"),
    )
    return (
        Leg("c2c.remit.received", "revenue-cycle", "file", ("remit", "claim_pcn", "claim_icn"), days(9, 20),
            together=daily(alike("payer"), time(5, 0)), numbers={"remit": "ERA"}, interface="835-inbound",
            context=("payer",), only=only, faults=() if appealed else first),
        Leg("c2c.eft.received", "bank-gateway", "file", ("eft", "remit"), hours(20, 50),
            together=as_one(same("remit")), numbers={"eft": "EFT"}, interface="ccd-addenda", context=("payer",), only=only,
            faults=() if appealed else (
                Fault(NO_MONEY, 0.02, "lost"),
                Fault("late_eft", 0.04, "late", after_business_days(3, hours(1, 60))),
            )),
        Leg("c2c.remit.reassociated", "revenue-cycle", "batch", ("remit", "eft"), hours(1, 10),
            together=as_one(same("remit")), interface="reassociation", context=("payer",), only=with_money),
        Leg("c2c.payment.posted", "patient-billing", "batch", ("posting_batch", "claim_pcn", "remit"), hours(1, 20),
            after="c2c.remit.received", together=daily(alike("billing_system", "payer"), time(20, 0)),
            numbers={"posting_batch": "PB-"}, interface="auto-posting", context=("billing_system", "payer"), only=only,
            faults=(Fault("posted_late", 0.03, "late", after_business_days(2, hours(1, 40))),)),
        Leg("c2c.gl.posted", "erp", "batch", ("gl_journal", "posting_batch"), hours(1, 6),
            together=as_one(same("posting_batch")), numbers={"gl_journal": "JE-"}, interface="ar-posting", only=only,
            faults=(Fault("ledger_late", 0.02, "late", after_business_days(1, hours(1, 30))),)),
    )  # fmt: skip


def _owes(claim: Traveller) -> bool:
    """Whether the patient is asked for the rest: when the only payer has paid."""
    return not claim.met(DENIED) and not claim.met(SHARED)


JOURNEY: Final = Journey(
    FLOW,
    fallback="charge",
    about=("remit",),
    legs=(
        Leg("c2c.charge.captured", "clinical-charges", "event", ("charge", "account"), hours(0.5, 30), each="charge",
            together=as_one(same("account")), interface="dft.charges", context=("facility", "billing_system"),
            money=False, publishes="charges.captured"),
        Leg("c2c.charge.posted", "patient-billing", "event", ("charge", "account"), minutes(1, 90), each="charge",
            together=as_one(same("account")), interface="charges.captured", context=("billing_system",), money=False,
            faults=(Fault("charge_in_suspense", 0.03, "late", hours(25, 90)),)),
        Leg("c2c.account.final_billed", "patient-billing", "api", ("account", "bill", "charge"), worked(9, 34),
            together=as_one(same("account")), numbers={"bill": "BILL-"}, interface="final-billing",
            context=("facility", "billing_system"), money=False,
            faults=(Fault("coding_hold", 0.05, "late", worked(20, 60)),)),
        Leg("c2c.claim.created", "patient-billing", "batch", ("claim_pcn", "claim", "charge", "account"), minutes(5, 60),
            together=daily(alike("billing_system"), time(3, 0)), own={"claim": "CLM-"}, interface="claim-generation",
            context=("facility", "billing_system", "payer"),
            faults=(Fault("claim_created_late", 0.02, "late", hours(25, 70)),)),
        Leg("c2c.claim.scrubbed", "claim-scrubber", "api", ("claim_pcn",), minutes(2, 40), interface="claims",
            context=("billing_system", "payer"),
            faults=(Fault("scrubber_edit", 0.08, "rejected", worked(0.5, 9), reason="edit_failure"),)),
        Leg("c2c.claim.submitted", "clearinghouse", "edi", ("claim_pcn", "group", "set"), minutes(5, 60),
            together=daily(alike("billing_system", "payer"), time(18, 0)), numbers={"group": "8"}, own={"set": "837-"},
            interface="837-outbound", context=("billing_system", "payer"),
            faults=(Fault("claim_sent_twice", 0.01, "duplicate", days(1, 2)),
                    Fault("claim_unmapped", 0.01, "failed", hours(1, 20), reason="mapping_error"))),
        Leg("c2c.interchange.acknowledged", "clearinghouse", "edi", ("group", "set"), minutes(4, 45),
            together=Together(same("group")), interface="999-inbound", context=("payer",), money=False,
            faults=(Fault("missing_999", 0.01, "lost"), Fault("late_999", 0.02, "late", hours(1.1, 20)))),
        Leg("c2c.claim.acknowledged", "clearinghouse", "edi", ("claim_pcn", "claim_icn"), hours(4, 20),
            after="c2c.claim.submitted", own={"claim_icn": "ICN"}, interface="277ca-inbound", context=("payer",),
            money=False,
            faults=(Fault("missing_277ca", 0.01, "lost", ends=True),
                    Fault("late_277ca", 0.02, "late", after_business_days(2, hours(1, 40))),
                    Fault("claim_refused", 0.02, "rejected", worked(4, 20), reason="rejected_by_payer"))),
        *_paid(appealed=False),
        Leg("c2c.denial.opened", "revenue-cycle", "event", ("denial", "claim_icn"), hours(2, 30), own={"denial": "DEN-"},
            after="c2c.remit.received", interface="denials", context=("payer",), only=lambda claim: claim.met(DENIED)),
        Leg("c2c.denial.appealed", "revenue-cycle", "api", ("denial",), worked(2, 30), interface="appeals",
            actor="human", only=lambda claim: claim.met(DENIED)),
        Leg("c2c.claim.resubmitted", "clearinghouse", "edi", ("claim_icn",), hours(1, 8), interface="837-outbound",
            context=("payer",), states={"claim_status": "replacement"}, only=lambda claim: claim.met(DENIED)),
        *_paid(appealed=True),
        Leg("c2c.denial.closed", "revenue-cycle", "event", ("denial",), hours(2, 20), interface="denials",
            only=lambda claim: claim.met(DENIED)),
        Leg("c2c.patient_balance.billed", "patient-billing", "file", ("account", "statement"), days(3, 10),
            together=as_one(same("account")), numbers={"statement": "ST-"}, interface="statements",
            context=("billing_system",), money=False, only=_owes),
        Leg("c2c.patient_balance.paid", "patient-portal", "api", ("statement",), days(2, 25),
            together=as_one(same("account")), interface="payments", money=False, actor="human",
            only=_owes, faults=(Fault("patient_pays_nothing", 0.3, "lost"),)),
    ),
)  # fmt: skip


def plan_claims(sim: Simulation, wanted: int, stays: Sequence[Stay] = ()) -> None:
    """Write down what becomes of so many claims; the first are for *stays* that are known already."""
    chance = sim.chance("claims")
    claims: list[Traveller] = []
    known = list(stays[:wanted])
    for at in sim.times("stays", wanted - len(known)):
        company = sim.world.company(chance.random)
        facility = chance.random.choice(company.facilities).code
        known.append(Stay(sim.number("account", "ACC-"), sim.number("claim_pcn", "PCN"), facility, at))
    for stay in known:
        first = _claim(sim, chance, stay)
        claims.append(first)
        if len(claims) < wanted and chance.happens(SECONDARY):
            sim.tape.fault(SHARED, stay.at)
            claims.append(_secondary(sim, chance, first))
        if len(claims) >= wanted:
            break
    travel(sim, JOURNEY, claims)


def _claim(sim: Simulation, chance: Chance, stay: Stay) -> Traveller:
    charges = tuple(sim.number("charge", "CH-") for _ in range(chance.random.randint(1, 3)))
    context = {
        "facility": stay.facility,
        "billing_system": f"BILL-{stay.facility[:2]}",
        "payer": chance.random.choice(PAYERS),
    }
    amount = Decimal(str(120 * 90 ** chance.random.random())).quantize(CENTS)
    keys = {"claim_pcn": (stay.claim_pcn,), "account": (stay.account,), "charge": charges}
    return Traveller(FLOW, anchor(FLOW, "claim_pcn", stay.claim_pcn, context), stay.at, keys, context, amount)


def _secondary(sim: Simulation, chance: Chance, first: Traveller) -> Traveller:
    """Return a second claim for the same charges, at another payer."""
    others = [payer for payer in PAYERS if payer != first.context["payer"]]
    context = {**first.context, "payer": chance.random.choice(others)}
    pcn = sim.number("claim_pcn", "PCN")
    keys = {**first.keys, "claim_pcn": (pcn,)}
    amount = (first.amount * Decimal("0.2")).quantize(CENTS)
    second = Traveller(FLOW, anchor(FLOW, "claim_pcn", pcn, context), first.ready_at, keys, context, amount)
    for each in (first, second):
        each.marks.add(SHARED)
    return second
