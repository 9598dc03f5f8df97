"""Goods on their way: ship notices over several orders, back-orders, receipts in full, in part, blind or late."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.answering import Going
from controltower.cli.demo.hops import http_client, http_server, message_of, process, publish
from controltower.cli.demo.model import BusinessStep, Values
from controltower.cli.demo.simulation import Chance, Order, OrderLine, Simulation, document_line
from controltower.cli.demo.workdays import OPENS, day_of, local, next_workday, opening
from controltower.cli.demo.world import CURRENCY, Vendor

RECEIPTS_QUEUE: Final = "goods.received"
NO_SLIP: Final = "N/A"
MOST_ORDERS: Final = 3  # in one shipment

Quantities = dict[int, Decimal]  # order line number -> quantity


@dataclass(frozen=True, slots=True)
class Part:
    """What of one order travels together."""

    order: Order
    quantities: Quantities

    def lines(self) -> Iterator[tuple[OrderLine, Decimal]]:
        """Yield the order lines with the quantity that is here."""
        for line in self.order.lines:
            if self.quantities.get(line.number):
                yield line, self.quantities[line.number]


@dataclass(frozen=True, slots=True)
class Shipment:
    """What leaves a vendor at one time."""

    number: str
    slip: str
    vendor: Vendor
    parts: tuple[Part, ...]
    at: datetime


def plan_shipments(sim: Simulation, going: Sequence[Going]) -> list[Shipment]:
    """Write down the ship notices and return the shipments in order of time."""
    leaving: dict[tuple[str, str, str, object], list[tuple[datetime, Part]]] = defaultdict(list)
    for each in going:
        for at, part in _parts(sim, each):
            order = part.order
            leaving[order.company.code, order.vendor.code, order.facility.code, day_of(at)].append((at, part))
    loads = [load for together in leaving.values() for load in _loads(sim, together)]
    loads.sort(key=lambda load: (load[0], load[1][0].order.anchor))
    return [_ship(sim, at, parts) for at, parts in loads]


def _parts(sim: Simulation, going: Going) -> Iterator[tuple[datetime, Part]]:
    """Yield what leaves when: everything at once, or the back-ordered rest later, or never."""
    order = going.order
    chance = sim.chance(f"parts {order.anchor}")
    leaves = opening(going.ready_at + chance.hours(4, 30)) + chance.minutes(0, 300)
    first = {line.number: line.quantity for line in order.lines}
    rest: Quantities = {}
    for number in going.backordered:
        now = (first[number] * Decimal(chance.random.choice(("0.3", "0.5", "0.7")))).to_integral_value()
        rest[number] = first[number] - max(now, Decimal(1))
        first[number] = max(now, Decimal(1))
    yield leaves, Part(order, first)
    if any(rest.values()):
        if chance.happens(sim.rates.backorder_never_shipped):
            sim.tape.fault("backorder_never_shipped", leaves)
            return
        yield opening(leaves + chance.days(2, 8)) + chance.minutes(0, 300), Part(order, rest)


def _loads(sim: Simulation, together: list[tuple[datetime, Part]]) -> Iterator[tuple[datetime, tuple[Part, ...]]]:
    """Put orders that leave on one day for one place into one shipment, sometimes."""
    together.sort(key=lambda entry: (entry[0], entry[1].order.anchor))
    while together:
        chance = sim.chance(f"load {together[0][1].order.anchor} {together[0][0]}")
        load: list[tuple[datetime, Part]] = [together.pop(0)]
        while together and len(load) < MOST_ORDERS and chance.happens(sim.rates.several_orders_per_shipment):
            if all(together[0][1].order is not part.order for _, part in load):
                load.append(together.pop(0))
            else:
                break
        yield max(at for at, _ in load), tuple(part for _, part in load)


def _ship(sim: Simulation, at: datetime, parts: tuple[Part, ...]) -> Shipment:
    order = parts[0].order
    chance = sim.chance(f"ship {order.anchor} {at}")
    number = sim.numbers.next(f"shipment {order.vendor.code}")
    slip = f"PS{order.vendor.code.removeprefix('V-')}-{number}"
    if chance.happens(sim.rates.placeholder_packing_slip):
        sim.tape.fault("placeholder_packing_slip", at)
        slip = NO_SLIP
    if len(parts) > 1:
        sim.tape.fault("several_orders_per_shipment", at)
    shipment = Shipment(f"SH{order.vendor.code.removeprefix('V-')}-{number}", slip, order.vendor, parts, at)
    _notify(sim, chance, shipment)
    return shipment


def _notify(sim: Simulation, chance: Chance, shipment: Shipment) -> None:
    """Write down the ship notice (856): from the vendor's system through the gateway, or in the portal."""
    orders = [part.order for part in shipment.parts]
    several = len(orders) > 1
    edi = shipment.vendor.channel == "edi"
    context = {name: value for name, value in orders[0].context.items() if not several or name != "cost_centre"}
    step = BusinessStep(
        code="p2p.shipment.notified",
        keys={
            "shipment": shipment.number, "packing_slip": shipment.slip,
            "purchase_order": tuple(order.number for order in orders),
        },
        context={**context, **({"edi_transaction_set": "856"} if edi else {})},
        style="edi" if edi else "api", interface="856-inbound",
        lines=tuple(
            document_line(part.order, line, quantity, line.price, named=several)
            for part in shipment.parts for line, quantity in part.lines()
        ),
        anchors=tuple(order.anchor for order in orders), document=shipment.number,
    )  # fmt: skip
    if edi:
        draft = sim.tape.trace("supplier-portal")
        root = draft.add("create 856", shipment.at - timedelta(seconds=40), 200)
        draft.add("POST", shipment.at - timedelta(seconds=39), 150, parent=root, kind="client",
                  attributes=http_client("POST", "as2.hospital.example", "/as2"))  # fmt: skip
        draft.done()
    draft = sim.tape.trace("edi-gateway" if edi else "supplier-portal")
    route = "/as2" if edi else "/orders/{id}/shipments"
    root = draft.add(f"POST {route}", shipment.at, 70, kind="server", attributes=http_server("POST", route))
    draft.add("ship notice", shipment.at + timedelta(milliseconds=10), 30, parent=root, step=step)
    draft.done(delay=sim.late_arrival(chance, shipment.at))


def plan_receipts(
    sim: Simulation, shipments: Sequence[Shipment]
) -> dict[tuple[str, int], list[tuple[datetime, Decimal]]]:
    """Write down what the docks book in; return what came in of each order line, and when."""
    received: dict[tuple[str, int], list[tuple[datetime, Decimal]]] = defaultdict(list)
    arrivals = [
        (at, shipment, part)
        for shipment in shipments
        for part in shipment.parts
        for at, part in _arrivals(sim, shipment, part)
    ]
    arrivals.sort(key=lambda entry: (entry[0], entry[2].order.anchor))
    for at, shipment, part in arrivals:
        _receive(sim, at, shipment, part)
        for line, quantity in part.lines():
            received[f"{part.order.company.code}/{part.order.number}", line.number].append((at, quantity))
    return received


def _arrivals(sim: Simulation, shipment: Shipment, part: Part) -> Iterator[tuple[datetime, Part]]:
    """Yield when which goods are booked in: all at once, or some later, or some never."""
    chance = sim.chance(f"arrivals {part.order.anchor} {shipment.number}")
    day = next_workday(day_of(shipment.at + chance.days(0, 2)))
    at = local(day, OPENS) + chance.hours(0, 8)
    splittable = [line.number for line, quantity in part.lines() if quantity > 1]
    if not splittable or not chance.happens(sim.rates.partial_receipt):
        yield at, part
        return
    sim.tape.fault("partial_receipt", at)
    short = chance.random.choice(splittable)
    now = max(Decimal(1), (part.quantities[short] * Decimal("0.6")).to_integral_value())
    yield at, Part(part.order, {**part.quantities, short: now})
    if chance.happens(sim.rates.partial_receipt_never_completed):
        sim.tape.fault("partial_receipt_never_completed", at)
    else:
        later = opening(at + chance.days(0.8, 7)) + chance.minutes(5, 200)
        yield later, Part(part.order, {short: part.quantities[short] - now})


def _receive(sim: Simulation, at: datetime, shipment: Shipment, part: Part) -> None:
    """Write down one receipt in the warehouse system, and how the ERP hears of it."""
    order = part.order
    chance = sim.chance(f"receipt {order.anchor} {at}")
    number = f"R{sim.numbers.next('receipt ' + order.company.code)}"  # both companies count from the same number
    entered = at
    if chance.happens(sim.rates.receipt_booked_late):
        sim.tape.fault("receipt_booked_late", at)
        entered += chance.hours(0.5, 5)
    draft = sim.tape.trace("warehouse")
    root = draft.add("POST /receipts", entered, 160, kind="server", attributes=http_server("POST", "/receipts", 201))
    draft.add(
        "goods received", entered + timedelta(milliseconds=15), 70, parent=root,
        step=BusinessStep(
            code="p2p.goods.received", keys=_receipt_keys(sim, chance, at, number, shipment, part), scopes={"receipt": order.company.code},
            context=order.context, currency=CURRENCY, business_time=at, actor="human", style="event",
            interface="dock-scanner", document=number, anchors=(order.anchor,),
            lines=tuple(document_line(order, line, quantity, line.price, named=False) for line, quantity in part.lines()),
        ),
    )  # fmt: skip
    sent = draft.add(
        f"publish {RECEIPTS_QUEUE}", entered + timedelta(milliseconds=110), 8, parent=root, kind="producer",
        attributes=publish(RECEIPTS_QUEUE, f"msg-{order.company.code}-{number}"),
    )  # fmt: skip
    draft.done(delay=sim.late_arrival(chance, entered))
    draft = sim.tape.trace("erp")
    draft.add(
        f"process {RECEIPTS_QUEUE}", entered + timedelta(seconds=chance.between(1, 20)), 45, kind="consumer", links=[sent],
        attributes=process(RECEIPTS_QUEUE, message_of(sent)),
    )  # fmt: skip
    draft.done()


def _receipt_keys(
    sim: Simulation, chance: Chance, at: datetime, number: str, shipment: Shipment, part: Part
) -> dict[str, Values]:
    blind = len(shipment.parts) == 1 and shipment.slip != NO_SLIP and chance.happens(sim.rates.blind_receipt)
    if blind:
        sim.tape.fault("blind_receipt", at)
        return {"receipt": number, "packing_slip": shipment.slip}
    reference = {"shipment": shipment.number} if chance.happens(0.6) else {"packing_slip": shipment.slip}
    return {"receipt": number, "purchase_order": part.order.number, **reference}
