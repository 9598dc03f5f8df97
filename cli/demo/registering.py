"""Accounts payable: invoices become vouchers in nightly loads, are matched, held and released."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.hops import file, http_client, http_server
from controltower.cli.demo.invoicing import Invoice
from controltower.cli.demo.model import BusinessStep, Outcome, Values
from controltower.cli.demo.simulation import Simulation
from controltower.cli.demo.workdays import (
    DAY,
    day_of,
    is_workday,
    local,
    working_time_after,
)
from controltower.cli.demo.world import CURRENCY

LOAD_AT: Final = time(1, 0)
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


def plan_vouchers(sim: Simulation, invoices: Sequence[Invoice], received: Received) -> list[tuple[datetime, Voucher]]:
    """Write down loads and matching; return the vouchers that were approved, in order of time."""
    vouchers = _loads(sim, invoices)
    approved = [(at, voucher) for voucher in vouchers for at in _match(sim, voucher, received)]
    return sorted(approved, key=lambda entry: (entry[0], entry[1].number))


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
                anchors=invoice.anchors, about={"invoice": invoice.number},
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
            outcome=outcome, reason=reason, actor="human" if human else "system", interface="matching-engine", anchors=voucher.invoice.anchors, about={"invoice": voucher.invoice.number},
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
                context={"owner": "ap-team"}, style="event", interface="exception-workflow", anchors=voucher.invoice.anchors, about={"invoice": voucher.invoice.number},
            ),
        )  # fmt: skip
        draft.done()
