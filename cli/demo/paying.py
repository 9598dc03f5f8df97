"""Money out: vouchers are posted at night, paid by weekly runs over hundreds of them, and cleared at the bank."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.hops import database, file, http_client
from controltower.cli.demo.model import BusinessStep, Values
from controltower.cli.demo.registering import EACH, Voucher
from controltower.cli.demo.simulation import CHECK_REST, Chance, Simulation
from controltower.cli.demo.workdays import (
    DAY,
    business_days_after,
    day_of,
    is_workday,
    local,
    next_workday,
    opening,
)
from controltower.cli.demo.world import CURRENCY

POST_AT: Final = time(2, 30)
PAY_AT: Final = time(15, 0)
STATEMENT_AT: Final = time(6, 0)
PAYDAY: Final = 2  # Wednesday
PAY_AHEAD: Final = timedelta(days=6)  # what falls due before the next run is paid in this one


def plan_payments(sim: Simulation, approved: Sequence[tuple[datetime, Voucher]]) -> None:
    """Write down everything from the ledger to the bank's statement."""
    _clear(sim, _payment_runs(sim, _postings(sim, approved)))


# the ledger


def _postings(sim: Simulation, approved: Sequence[tuple[datetime, Voucher]]) -> list[tuple[datetime, Voucher]]:
    """Write down the nightly posting runs; return what was posted when."""
    nights: dict[datetime, list[Voucher]] = defaultdict(list)
    for at, voucher in approved:
        tonight = local(day_of(at), POST_AT)
        night = tonight if at < tonight - timedelta(minutes=15) else local(day_of(at) + DAY, POST_AT)
        nights[night].append(voucher)
    return [entry for night in sorted(nights) for entry in _post(sim, night, nights[night])]


def _post(sim: Simulation, night: datetime, vouchers: list[Voucher]) -> list[tuple[datetime, Voucher]]:
    draft = sim.tape.trace("erp")
    run = draft.run("gl-posting", f"GL-{night:%Y%m%d}", night, CURRENCY)
    draft.add("INSERT gl_journals", night + timedelta(milliseconds=100), 300, parent=run, kind="client",
              attributes=database("INSERT", "gl_journals"))  # fmt: skip
    posted = []
    for index, voucher in enumerate(vouchers):
        at = night + timedelta(seconds=1) + EACH * index
        invoice = voucher.invoice
        draft.add(
            "voucher posted", at, 30, parent=run,
            step=BusinessStep(
                code="p2p.invoice.posted",
                keys={"voucher": voucher.number, "gl_journal": f"JE-{invoice.company.code}-{night:%Y%m%d}"},
                context={"company": invoice.company.code, "period": f"{night:%Y-%m}", "cost_centre": invoice.cost_centre},
                amount=invoice.total, currency=CURRENCY, style="batch", interface="gl-posting", anchors=voucher.invoice.anchors, about={"invoice": voucher.invoice.number},
            ),
        )  # fmt: skip
        posted.append((at, voucher))
    draft.done(delay=sim.late_arrival(sim.chance(f"post {night}"), night))
    return posted


# the payment run


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment to one vendor for many invoices."""

    number: str
    check: str  # empty when it goes by ACH
    vouchers: tuple[Voucher, ...]
    at: datetime

    @property
    def total(self) -> Decimal:
        """What is paid."""
        return sum((voucher.invoice.total for voucher in self.vouchers), Decimal(0))


def _payment_runs(sim: Simulation, posted: list[tuple[datetime, Voucher]]) -> list[Payment]:
    """Write down the weekly runs: each pays what falls due before the next one."""
    payments: list[Payment] = []
    day = day_of(sim.start)
    open_vouchers = list(posted)
    while open_vouchers and local(day, PAY_AT) <= sim.tape.horizon:
        if day.weekday() == PAYDAY:
            at = local(day if is_workday(day) else next_workday(day), PAY_AT)
            due = [
                voucher for posted_at, voucher in open_vouchers if posted_at < at and _due_at(voucher) <= at + PAY_AHEAD
            ]
            if due:
                paid = {voucher.number for voucher in due}
                open_vouchers = [entry for entry in open_vouchers if entry[1].number not in paid]
                payments.extend(_pay(sim, at, due))
        day += DAY
    return payments


def _due_at(voucher: Voucher) -> datetime:
    return voucher.invoice.at + timedelta(days=voucher.invoice.vendor.terms_days)


def _pay(sim: Simulation, at: datetime, due: list[Voucher]) -> list[Payment]:
    draft = sim.tape.trace("accounts-payable")
    run = draft.run("payment-run", f"PAY-{at:%Y%m%d}", at, CURRENCY)
    payments = []
    moment = at + timedelta(seconds=1)
    for vouchers in _per_payee(due):
        payment = _payment(sim, moment, vouchers)
        payments.append(payment)
        for voucher in vouchers:
            draft.add("invoice paid", moment, 25, parent=run, step=_issued(payment, voucher))
            moment += EACH
    draft.add("write 820 file", moment, 200, parent=run, attributes=file(f"820-{at:%Y%m%d}.edi", 900 * len(due)))
    draft.add("PUT", moment + timedelta(milliseconds=210), 300, parent=run, kind="client",
              attributes=http_client("PUT", "sftp.bank.example", "/inbound/{file}"))  # fmt: skip
    draft.done(delay=sim.late_arrival(sim.chance(f"pay {at}"), at))
    bank = sim.tape.trace("bank-gateway")
    bank.add(
        "820 received", moment + timedelta(seconds=2), 400, attributes=file(f"820-{at:%Y%m%d}.edi", 900 * len(due))
    )
    bank.done()
    return payments


def _per_payee(due: list[Voucher]) -> Iterable[list[Voucher]]:
    payees: dict[tuple[str, str], list[Voucher]] = defaultdict(list)
    for voucher in due:
        payees[voucher.invoice.company.code, voucher.invoice.vendor.code].append(voucher)
    return (payees[payee] for payee in sorted(payees))


def _payment(sim: Simulation, at: datetime, vouchers: list[Voucher]) -> Payment:
    check = ""
    if vouchers[0].invoice.vendor.pays_by == "check":
        again = sim.numbers.recycled("check", at, CHECK_REST)
        if again:
            sim.tape.fault("recycled_check_number", at)
        check = again or f"CHK{sim.numbers.next('check')}"
        sim.numbers.used("check", at, check)
    return Payment(f"PMT-{sim.numbers.next('payment')}", check, tuple(vouchers), at)


def _issued(payment: Payment, voucher: Voucher) -> BusinessStep:
    invoice = voucher.invoice
    by = {"check": payment.check} if payment.check else {"ach_trace": f"ACH{payment.number.removeprefix('PMT-')}"}
    return BusinessStep(
        code="p2p.payment.issued", keys={"payment": payment.number, "invoice": invoice.number, **by},
        scopes={"invoice": invoice.vendor.code}, context={"company": invoice.company.code, "vendor": invoice.vendor.code},
        amount=invoice.total, currency=CURRENCY, style="file", interface="payment-run", anchors=voucher.invoice.anchors,
        about={"payment": payment.number, "invoice": invoice.number},
    )  # fmt: skip


# the bank


def _clear(sim: Simulation, payments: list[Payment]) -> None:
    """Write down the bank's morning statements."""
    mornings: dict[datetime, list[tuple[Payment, datetime]]] = defaultdict(list)
    for payment in payments:
        chance = sim.chance(f"clear {payment.number}")
        if chance.happens(sim.rates.missing_clearing):
            sim.tape.fault("missing_clearing", business_days_after(payment.at, 3))
            continue
        valued = _value_date(sim, chance, payment)
        mornings[local(next_workday(day_of(valued)), STATEMENT_AT)].append((payment, valued))
    for morning in sorted(mornings):
        _statement(sim, morning, mornings[morning])


def _value_date(sim: Simulation, chance: Chance, payment: Payment) -> datetime:
    if chance.happens(sim.rates.late_clearing):
        due = business_days_after(payment.at, 3)
        sim.tape.fault("late_clearing", due)
        return opening(due + chance.days(0.5, 4))
    return opening(payment.at + chance.days(0.7, 2))


def _statement(sim: Simulation, morning: datetime, cleared: list[tuple[Payment, datetime]]) -> None:
    draft = sim.tape.trace("bank-gateway")
    root = draft.add("bank statement", morning, 100, attributes=file(f"bai2-{morning:%Y%m%d}.txt", 200 * len(cleared)))
    for index, (payment, valued) in enumerate(cleared):
        keys: dict[str, Values] = {"bank_ref": f"BNK{sim.numbers.next('bank_ref')}"}
        keys |= {"check": payment.check} if payment.check else {"payment": payment.number}
        draft.add(
            "payment cleared", morning + timedelta(milliseconds=20) + EACH * index, 20, parent=root,
            step=BusinessStep(
                code="p2p.payment.cleared", keys=keys, amount=payment.total, currency=CURRENCY, business_time=valued,
                style="file", interface="bank-statement", about={"payment": payment.number},
                anchors=tuple(dict.fromkeys(anchor for voucher in payment.vouchers for anchor in voucher.invoice.anchors)),
            ),
        )  # fmt: skip
    draft.done(delay=sim.late_arrival(sim.chance(f"statement {morning}"), morning))
