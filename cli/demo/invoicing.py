"""Invoices: by EDI, portal or paper; for one order or several, with wrong prices or quantities, twice, or without an order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.delivering import Part, Shipment
from controltower.cli.demo.hops import DEAD_LETTERS, file, http_client, http_server
from controltower.cli.demo.model import INVOICE, Anchor, BusinessStep, PlannedLine, Values
from controltower.cli.demo.simulation import Chance, OrderLine, Simulation, cents, dlq_reference, document_line
from controltower.cli.demo.workdays import opening
from controltower.cli.demo.world import CURRENCY, FOUR_PLACES, Company, Facility, Vendor

NO_ORDER: Final = "TBD"
# What the price may be off and still be within tolerance: 5 % and 10.00 per unit, and 100.00 per line.
SAFE_PER_UNIT: Final = Decimal("8.00")
SAFE_PER_LINE: Final = Decimal("80.00")


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a vendor wants to be paid. ``variance`` is the reason that accounts payable will hold it for, if any."""

    number: str
    vendor: Vendor
    company: Company
    facility: Facility
    cost_centre: str
    at: datetime
    lines: tuple[PlannedLine, ...]
    anchors: tuple[Anchor, ...]
    total: Decimal
    variance: str = ""
    copies_at: tuple[datetime, ...] = ()  # when it came again as if new: the load refuses these

    @property
    def ordered(self) -> bool:
        """Whether it is for a purchase order."""
        return self.anchors[0].type != INVOICE

    @property
    def context(self) -> dict[str, str]:
        """What describes every step about it."""
        return {"company": self.company.code, "vendor": self.vendor.code, "facility": self.facility.code}


def plan_invoices(sim: Simulation, shipments: Sequence[Shipment], without_order: int) -> list[Invoice]:
    """Write down the invoices as they come in; return them in order of time."""
    drafts = [draft for shipment in shipments for draft in _billed(sim, shipment)]
    drafts.extend(_bills(sim, without_order))
    drafts.sort(key=lambda draft: (draft.at, draft.vendor.code, draft.anchors))
    invoices = [_numbered(sim, draft) for draft in drafts]
    issuers: dict[str, str] = {}
    for invoice in invoices:
        if issuers.setdefault(invoice.number, invoice.vendor.code) != invoice.vendor.code:
            sim.tape.fault("same_invoice_number_from_two_vendors", invoice.at)
    return [_arrive(sim, invoice) for invoice in invoices]


def _numbered(sim: Simulation, draft: Invoice) -> Invoice:
    number = f"{draft.vendor.invoice_prefix}{sim.numbers.next('invoice ' + draft.vendor.code)}"
    anchors = draft.anchors or (Anchor(INVOICE, draft.vendor.code, number),)
    return replace(draft, number=number, anchors=anchors)


def _billed(sim: Simulation, shipment: Shipment) -> Iterator[Invoice]:
    """Yield the invoices for a shipment: one, or one per order."""
    chance = sim.chance(f"bill {shipment.number} {shipment.vendor.code}")
    groups: list[tuple[Part, ...]] = [(part,) for part in shipment.parts]
    at = shipment.at + chance.hours(20, 80)
    if len(groups) > 1 and chance.happens(sim.rates.invoice_for_several_orders):
        sim.tape.fault("invoice_for_several_orders", at)
        groups = [shipment.parts]
    for parts in groups:
        if chance.happens(sim.rates.missing_invoice):
            sim.tape.fault("missing_invoice", at + timedelta(days=30))
            continue
        yield _invoice(sim, chance, parts, at)
        at += chance.minutes(1, 50)


def _invoice(sim: Simulation, chance: Chance, parts: tuple[Part, ...], at: datetime) -> Invoice:
    order = parts[0].order
    goods = [(part, line, quantity) for part in parts for line, quantity in part.lines()]
    chosen = chance.random.randrange(len(goods))
    variance = ""
    lines = []
    for index, (part, line, quantity) in enumerate(goods):
        price = line.price
        if index == chosen:
            price, quantity, variance = _varied(sim, chance, line, quantity, at)
        lines.append(document_line(part.order, line, quantity, price, named=len(parts) > 1))
    return Invoice(
        number="",
        vendor=order.vendor,
        company=order.company,
        facility=order.facility,
        cost_centre=order.cost_centre,
        at=at,
        lines=tuple(lines),
        anchors=tuple(part.order.anchor for part in parts),
        total=cents(sum((line.value for line in lines), Decimal(0))),
        variance=variance,
    )


def _varied(
    sim: Simulation, chance: Chance, line: OrderLine, quantity: Decimal, at: datetime
) -> tuple[Decimal, Decimal, str]:
    """Return price, quantity and the reason accounts payable will see, for the line that may be wrong."""
    if chance.happens(sim.rates.price_variance):
        sim.tape.fault("price_variance", at)
        return _price(line.price, Decimal(chance.random.randint(8, 25)) / 100), quantity, "price_variance"
    if chance.happens(sim.rates.price_within_tolerance):
        limit = min(SAFE_PER_UNIT, SAFE_PER_LINE / quantity, line.price * Decimal("0.03"))
        if limit >= FOUR_PLACES:
            sim.tape.fault("price_within_tolerance", at)
            return line.price + (limit / 2).quantize(FOUR_PLACES), quantity, ""
    if chance.happens(sim.rates.over_invoiced):
        sim.tape.fault("over_invoiced", at)
        more = max(Decimal(1), (quantity * Decimal("0.2")).to_integral_value())
        return line.price, quantity + more, "qty_variance"
    return line.price, quantity, ""


def _price(price: Decimal, more: Decimal) -> Decimal:
    """Return a price that is *more* too high; at least so much that it shows."""
    return price + max(FOUR_PLACES * 20, (price * more).quantize(FOUR_PLACES))


def _bills(sim: Simulation, count: int) -> Iterator[Invoice]:
    """Yield invoices that no order stands behind: utilities, lawyers."""
    chance = sim.chance("bills")
    for _ in range(count):
        vendor = chance.random.choices(sim.world.billers, [each.weight for each in sim.world.billers])[0]
        company = chance.random.choice(sim.world.companies)
        total = cents(chance.random.choice(vendor.catalogue).price)
        yield Invoice(
            number="",
            vendor=vendor,
            company=company,
            facility=chance.random.choice(company.facilities),
            cost_centre=chance.random.choice(sim.world.cost_centres),
            at=opening(sim.start + (sim.orders_until - sim.start) * chance.random.random()) + chance.minutes(1, 300),
            lines=(),
            anchors=(),
            total=total,
        )


def _arrive(sim: Simulation, invoice: Invoice) -> Invoice:
    """Write down how an invoice comes in, and comes in again; return it with the copies that nobody noticed."""
    chance = sim.chance(f"invoice {invoice.vendor.code} {invoice.number}")
    step = _received(sim, chance, invoice)
    paper = invoice.vendor.channel == "paper" or chance.happens(sim.rates.scanned_invoice)
    if paper:
        sim.tape.fault("scanned_invoice", invoice.at)
        step = replace(step, style="file", interface="invoice-scanner")
    at = invoice.at
    if not paper and invoice.vendor.channel == "edi" and chance.happens(sim.rates.dead_letter_invoice):
        sim.tape.fault("dead_letter_invoice", at)
        failed = replace(step, reason="mapping_error", context={**step.context, "dlq": DEAD_LETTERS}, lines=())
        reference = _take_in(sim, chance, failed, invoice, at, paper=paper, error="MappingError")
        at += chance.hours(0.5, 10)
        step = replace(step, replay_of=reference)
    _take_in(sim, chance, step, invoice, at, paper=paper)
    if not chance.happens(sim.rates.duplicate_invoice):
        return replace(invoice, at=at)
    again = opening(at + chance.days(1, 5)) + chance.minutes(1, 60)
    sim.tape.fault("duplicate_invoice", again)
    unnoticed = chance.happens(sim.rates.duplicate_unnoticed)
    if unnoticed:
        sim.tape.fault("duplicate_unnoticed", again)
    copy = (
        replace(step, replay_of=None)
        if unnoticed
        else replace(step, replay_of=None, outcome="duplicate", reason="duplicate")
    )
    _take_in(sim, chance, copy, invoice, again, paper=paper)
    return replace(invoice, at=at, copies_at=(again,) if unnoticed else ())


def _received(sim: Simulation, chance: Chance, invoice: Invoice) -> BusinessStep:
    keys: dict[str, Values] = {"invoice": invoice.number}
    if invoice.ordered:
        keys["purchase_order"] = tuple(anchor.value for anchor in invoice.anchors)
    else:
        sim.tape.fault("invoice_without_order", invoice.at)
        if chance.happens(sim.rates.placeholder_order):
            sim.tape.fault("placeholder_order", invoice.at)
            keys["purchase_order"] = NO_ORDER
    edi = invoice.vendor.channel == "edi"
    # Some interfaces name the issuer of the number, others only the vendor that the flow takes it from.
    scopes = {"invoice": invoice.vendor.code} if chance.happens(0.5) else {}
    return BusinessStep(
        code="p2p.invoice.received", keys=keys, scopes=scopes, amount=invoice.total, currency=CURRENCY,
        context={**invoice.context, "terms_days": str(invoice.vendor.terms_days)},
        style="edi" if edi else "api", interface="810-inbound" if edi else "portal-invoices",
        lines=invoice.lines, anchors=invoice.anchors, about={"invoice": invoice.number}, document=invoice.number,
    )  # fmt: skip


def _take_in(
    sim: Simulation, chance: Chance, step: BusinessStep, invoice: Invoice, at: datetime, *, paper: bool, error: str = ""
) -> str:
    """Write down one arrival of an invoice in the system of its channel; return a reference to the step."""
    if paper:
        draft = sim.tape.trace("accounts-payable")
        name = f"scan-{at:%Y%m%d}-{chance.random.randrange(10_000):04d}.pdf"
        root = draft.add("scan invoice", at, 900, attributes=file(name, chance.random.randrange(40_000, 900_000)))
    elif invoice.vendor.channel == "edi":
        sender = sim.tape.trace("supplier-portal")
        created = sender.add("create 810", at - timedelta(seconds=30), 150)
        sender.add("POST", at - timedelta(seconds=29), 120, parent=created, kind="client",
                   attributes=http_client("POST", "as2.hospital.example", "/as2"))  # fmt: skip
        sender.done()
        draft = sim.tape.trace("edi-gateway")
        root = draft.add("810 inbound", at, 80, kind="server", attributes=http_server("POST", "/as2"), error=error)
    else:
        draft = sim.tape.trace("supplier-portal")
        root = draft.add("POST /invoices", at, 80, kind="server", attributes=http_server("POST", "/invoices", 201))
    ref = draft.add("invoice received", at + timedelta(milliseconds=12), 40, parent=root, step=step, error=error)
    if not error:
        draft.add("write interface record", at + timedelta(milliseconds=60), 8, parent=root,
                  attributes=file(f"ap-interface-{at:%Y%m%d}.dat", 512))  # fmt: skip
    draft.done(delay=sim.late_arrival(chance, at))
    return dlq_reference(ref)
