"""Accounts payable, the ledger and the bank: nightly loads, matching, posting, weekly payment runs, statements."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.hops import database, file, http_client, http_server
from controltower.cli.demo.invoicing import Invoice
from controltower.cli.demo.model import BusinessStep, Outcome, Values
from controltower.cli.demo.simulation import CHECK_REST, Chance, Simulation
from controltower.cli.demo.workdays import (
    DAY,
    business_days_after,
    day_of,
    is_workday,
    local,
    next_workday,
    opening,
    working_time_after,
)
from controltower.cli.demo.world import CURRENCY

LOAD_AT: Final = time(1, 0)
POST_AT: Final = time(2, 30)
PAY_AT: Final = time(15, 0)
STATEMENT_AT: Final = time(6, 0)
PAYDAY: Final = 2  # Wednesday
PAY_AHEAD: Final = timedelta(days=6)  # what falls due before the next run is paid in this one
STUCK_EVERY_DAYS: Final = 25  # one nightly load in so many does not run
EACH: Final = timedelta(milliseconds=35)  # one record of a batch
GIVE_UP: Final = timedelta(days=4)  # goods that are missing so long after the load are an exception for people

Received = dict[tuple[str, int], list[tuple[datetime, Decimal]]]


@dataclass(frozen=True, slots=True)
class Voucher:
    """An invoice in accounts payable."""

    number: str
    invoice: Invoice
    at: datetime


def plan_payables(sim: Simulation, invoices: Sequence[Invoice], received: Received) -> None:
    """Write down everything from the load of the invoices to the bank's statement."""
    vouchers = _loads(sim, invoices)
    approved = [(at, voucher) for voucher in vouchers for at in _match(sim, voucher, received)]
    posted = _postings(sim, sorted(approved, key=_by_time))
    _clear(sim, _payment_runs(sim, posted))


def _by_time(entry: tuple[datetime, Voucher]) -> tuple[datetime, str]:
    return entry[0], entry[1].number


# the nightly load


def _loads(sim: Simulation, invoices: Sequence[Invoice]) -> list[Voucher]:
    """Write down the nightly loads; a stuck one leaves its invoices to the next night."""
    waiting = sorted([(invoice.at, index, invoice, False) for index, invoice in enumerate(invoices)] + [
        (at, index, invoice, True) for index, invoice in enumerate(invoices) for at in invoice.copies_at
    ], key=lambda entry: entry[:2])  # fmt: skip
    stuck = stuck_nights(sim)
    vouchers: list[Voucher] = []
    day = day_of(sim.start)
    while waiting and local(day, LOAD_AT) <= sim.tape.horizon:
        night = local(day, LOAD_AT)
        due = [entry for entry in waiting if entry[0] < night - timedelta(minutes=5)]
        if day in stuck:
            sim.tape.fault("stuck_batch", night)
            sim.tape.fault("invoices_behind_stuck_batch", night, len(due))
        elif due:
            waiting = waiting[len(due) :]
            vouchers.extend(_load(sim, night, [(invoice, copy) for _, _, invoice, copy in due]))
        day += DAY
    return vouchers


def stuck_nights(sim: Simulation) -> frozenset[date]:
    """Return the nights whose load does not run: after a working day, one in ``STUCK_EVERY_DAYS`` days."""
    chance = sim.chance("stuck")
    found = set()
    day = day_of(sim.start) + timedelta(days=chance.random.randint(3, 12))
    while day <= day_of(sim.tape.horizon):
        night = day
        while not (is_workday(night - DAY) and is_workday(night)):
            night += DAY
        found.add(night)
        day += timedelta(days=STUCK_EVERY_DAYS)
    return frozenset(found)


def _load(sim: Simulation, night: datetime, due: list[tuple[Invoice, bool]]) -> Iterator[Voucher]:
    draft = sim.tape.trace("accounts-payable")
    run = draft.run("invoice-load", f"AP-LOAD-{night:%Y%m%d}", night, CURRENCY)
    draft.add("read ap-interface file", night + timedelta(milliseconds=20), 200, parent=run,
              attributes=file(f"ap-interface-{night:%Y%m%d}.dat", 512 * len(due)))  # fmt: skip
    vouchers = []
    for index, (invoice, copy) in enumerate(due):
        at = night + timedelta(seconds=1) + EACH * index
        keys: dict[str, Values] = {"invoice": invoice.number}
        if not copy:
            vouchers.append(Voucher(f"VCH-{sim.numbers.next('voucher')}", invoice, at))
            keys["voucher"] = vouchers[-1].number
        draft.add(
            "invoice registered", at, 28, parent=run,
            step=BusinessStep(
                code="p2p.invoice.registered", keys=keys, scopes={"invoice": invoice.vendor.code}, context=invoice.context,
                amount=invoice.total, currency=CURRENCY, style="batch", interface="invoice-load",
                outcome="duplicate" if copy else "ok", reason="duplicate" if copy else None,
                anchors=invoice.anchors, invoice=invoice.number,
            ),
        )  # fmt: skip
    draft.done(delay=sim.late_arrival(sim.chance(f"load {night}"), night))
    yield from vouchers


# matching


def _match(sim: Simulation, voucher: Voucher, received: Received) -> Iterator[datetime]:
    """Write down what the matching engine and people do with a voucher; yield when it is approved, if ever."""
    chance = sim.chance(f"match {voucher.number}")
    invoice = voucher.invoice
    at = voucher.at + chance.hours(4, 13)
    if not invoice.ordered:
        yield _decide(sim, voucher, working_time_after(at, chance.hours(0.5, 7)), "ok", "skipped", human=True)
        return
    complete_at = _complete_at(invoice, received)
    reason = invoice.variance
    if not reason and (complete_at is None or complete_at > at):
        _decide(sim, voucher, at, "pending", "partial")
        if complete_at is None or complete_at > voucher.at + GIVE_UP:
            at, reason = voucher.at + GIVE_UP, "qty_variance"
        else:
            at = complete_at + chance.hours(0.2, 4)
    if not reason:
        yield _decide(sim, voucher, at, "ok", None)
        return
    _decide(sim, voucher, at, "exception", reason)
    resolved: datetime | None = working_time_after(at, chance.hours(4, 36))
    if chance.happens(sim.rates.variance_never_resolved):
        sim.tape.fault("variance_never_resolved", at)
        resolved = None
    _exception(sim, voucher, at + timedelta(seconds=30), resolved, reason)
    if resolved is not None:
        yield _decide(sim, voucher, resolved + timedelta(minutes=2), "ok", None, human=True)


def _complete_at(invoice: Invoice, received: Received) -> datetime | None:
    """Return when all the goods of the invoice had come in, or None when they never did."""
    times = []
    for line in invoice.lines:
        open_quantity = line.quantity
        for at, quantity in sorted(received.get((f"{line.order.scope}/{line.order.value}", int(line.number)), [])):
            open_quantity -= quantity
            if open_quantity <= 0:
                times.append(at)
                break
        else:
            return None
    return max(times)


def _decide(
    sim: Simulation, voucher: Voucher, at: datetime, outcome: Outcome, reason: str | None, *, human: bool = False
) -> datetime:
    draft = sim.tape.trace("accounts-payable")
    root = draft.add("match voucher", at - timedelta(milliseconds=300), 350)
    draft.add("GET", at - timedelta(milliseconds=280), 90, parent=root, kind="client",
              attributes=http_client("GET", "erp.hospital.example", "/orders/{id}/lines"))  # fmt: skip
    draft.add(
        "voucher matched", at, 25, parent=root,
        step=BusinessStep(
            code="p2p.invoice.matched", keys={"voucher": voucher.number},
            context={**voucher.invoice.context, "match_level": "3" if voucher.invoice.ordered else "0"},
            outcome=outcome, reason=reason, actor="human" if human else "system", interface="matching-engine", anchors=voucher.invoice.anchors, invoice=voucher.invoice.number,
        ),
    )  # fmt: skip
    draft.done(delay=sim.late_arrival(sim.chance(f"decide {voucher.number} {at}"), at))
    asked = sim.tape.trace("erp")
    asked.add("GET /orders/{id}/lines", at - timedelta(milliseconds=260), 60, kind="server",
              attributes=http_server("GET", "/orders/{id}/lines"))  # fmt: skip
    asked.done()
    return at


def _exception(sim: Simulation, voucher: Voucher, opened: datetime, resolved: datetime | None, reason: str) -> None:
    """Write down the case that people work on. Its end names the case only, no voucher."""
    number = f"EXC-{sim.numbers.next('exception')}"
    for at, code, keys in (
        (opened, "p2p.exception.opened", {"exception": number, "voucher": voucher.number}),
        (resolved, "p2p.exception.resolved", {"exception": number}),
    ):
        if at is None:
            continue
        draft = sim.tape.trace("accounts-payable")
        draft.add(
            code.removeprefix("p2p."), at, 40,
            step=BusinessStep(
                code=code, keys=keys, reason=reason, actor="human" if at is resolved else "system",
                context={"owner": "ap-team"}, style="event", interface="exception-workflow", anchors=voucher.invoice.anchors, invoice=voucher.invoice.number,
            ),
        )  # fmt: skip
        draft.done()


# the ledger


def _postings(sim: Simulation, approved: list[tuple[datetime, Voucher]]) -> list[tuple[datetime, Voucher]]:
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
                amount=invoice.total, currency=CURRENCY, style="batch", interface="gl-posting", anchors=voucher.invoice.anchors, invoice=voucher.invoice.number,
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
        amount=invoice.total, currency=CURRENCY, style="file", interface="payment-run", payment=payment.number, anchors=voucher.invoice.anchors, invoice=voucher.invoice.number,
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
                style="file", interface="bank-statement", payment=payment.number,
                anchors=tuple(dict.fromkeys(anchor for voucher in payment.vouchers for anchor in voucher.invoice.anchors)),
            ),
        )  # fmt: skip
    draft.done(delay=sim.late_arrival(sim.chance(f"statement {morning}"), morning))
