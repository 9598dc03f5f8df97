"""From a need to an order: requisitions, approvals, and the ERP's job that makes orders of them every half hour."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.hops import database, http_server, message_of, process, publish
from controltower.cli.demo.model import Anchor, BusinessStep, SpanRef
from controltower.cli.demo.simulation import Chance, Order, OrderLine, Requisition, Simulation, document_line
from controltower.cli.demo.workdays import business_days_after, working_time_after
from controltower.cli.demo.world import CURRENCY, Company, Facility, Vendor

TICK: Final = timedelta(minutes=30)
PLACEHOLDER: Final = "0000"
OVERLAP: Final = 0.9  # the second company's numbers begin where 90 % of the first one's have been given out
REQUISITIONS_QUEUE: Final = "requisitions.approved"
ORDERS_QUEUE: Final = "orders.created"


@dataclass(frozen=True, slots=True)
class Need:
    """What becomes an order: who wants it, from whom, and when it was asked for and approved."""

    company: Company
    facility: Facility
    cost_centre: str
    vendor: Vendor
    requisitions: tuple[Requisition, ...]
    due_at: datetime  # when the ERP's job will find it


def plan_orders(sim: Simulation, wanted: int) -> tuple[list[Order], dict[Anchor, SpanRef]]:
    """Return the orders in order of creation, and the message that announces each."""
    needs = sorted(_needs(sim, wanted), key=lambda need: (need.due_at, need.requisitions[0].created_at))
    orders = _numbered(sim, needs)
    by_requisition: dict[Requisition, list[Order]] = {}
    for order in orders:
        for requisition in order.requisitions:
            by_requisition.setdefault(requisition, []).append(order)
    announced = {requisition: _request(sim, requisition, made) for requisition, made in by_requisition.items()}
    return orders, {
        order.anchor: _create(sim, order, [announced[each] for each in order.requisitions]) for order in orders
    }


def _needs(sim: Simulation, wanted: int) -> Iterator[Need]:
    """Yield as many needs as orders are wanted, at times when people work."""
    chance = sim.chance("needs")
    made = 0
    for at in sim.times("times", wanted):
        if made >= wanted:
            return
        for need in _demand(sim, chance, at, wanted - made):
            made += 1
            yield need


def _demand(sim: Simulation, chance: Chance, at: datetime, room: int) -> list[Need]:
    company = sim.world.company(chance.random)
    facility = chance.random.choice(company.facilities)
    centre = chance.random.choice(sim.world.cost_centres)
    vendors = chance.random.choices(sim.world.vendors, [each.weight for each in sim.world.vendors], k=2)
    requisitions = _requisitions(sim, chance, at)
    split = room > 1 and vendors[0] != vendors[1] and chance.happens(sim.rates.split_requisition)
    if split:
        sim.tape.fault("split_requisition", at)
    ready = max(each.approved_at for each in requisitions)
    if chance.happens(sim.rates.slow_creation):
        sim.tape.fault("slow_creation", ready)
        ready += chance.hours(4.5, 9)
    return [Need(company, facility, centre, vendor, requisitions, ready) for vendor in vendors[: 2 if split else 1]]


def _requisitions(sim: Simulation, chance: Chance, at: datetime) -> tuple[Requisition, ...]:
    """Return one requisition, or some that one buyer approves together and puts into one order."""
    count = 1
    if chance.happens(sim.rates.consolidated_requisitions):
        sim.tape.fault("consolidated_requisitions", at)
        count = chance.random.choice((2, 2, 3))
    approved = _approved(sim, chance, at + timedelta(minutes=10 * count))
    placeholder = count == 1 and chance.happens(sim.rates.placeholder_requisition)
    if placeholder:
        sim.tape.fault("placeholder_requisition", at)
    return tuple(
        Requisition(
            number=PLACEHOLDER if placeholder else f"REQ-{sim.numbers.next('requisition')}",
            created_at=at + timedelta(minutes=10 * index),
            approved_at=approved + timedelta(minutes=index),
        )
        for index in range(count)
    )


def _approved(sim: Simulation, chance: Chance, at: datetime) -> datetime:
    if chance.happens(sim.rates.slow_approval):
        sim.tape.fault("slow_approval", business_days_after(at, 1))
        return working_time_after(business_days_after(at, 1), chance.hours(1, 20))
    if chance.happens(0.35):  # below the limit: the workflow approves by itself
        return at + chance.minutes(1, 5)
    return working_time_after(at, chance.usually(1.2, 7))


def _numbered(sim: Simulation, needs: list[Need]) -> list[Order]:
    chance = sim.chance("orders")
    ranges = _ranges(sim, needs)
    given: dict[str, int] = {}
    orders = []
    for need in needs:
        at = _tick_after(need.due_at) + timedelta(seconds=chance.random.randrange(1, 90))
        position = given.get(need.company.code, 0)
        given[need.company.code] = position + 1
        number = ranges[need.company.code][position]
        shared = sum(number in numbers for numbers in ranges.values()) > 1
        if shared:
            sim.tape.fault("same_order_number_in_two_companies", at)
        orders.append(
            Order(
                number=f"PO-{number}",
                company=need.company,
                facility=need.facility,
                cost_centre=need.cost_centre,
                vendor=need.vendor,
                lines=_lines(chance, need.vendor),
                requisitions=need.requisitions,
                created_at=at,
                shared_number=shared,
            )
        )
    return sorted(orders, key=lambda order: (order.created_at, order.number))


def _ranges(sim: Simulation, needs: list[Need]) -> dict[str, range]:
    """Return each company's numbers; the ranges overlap a little, as those of two ERPs do."""
    first = sim.numbers.block("purchase_order", len(needs))
    ranges = {}
    for company in sim.world.companies:
        count = sum(need.company == company for need in needs)
        ranges[company.code] = range(first, first + count)
        first += int(count * OVERLAP)
    return ranges


def _tick_after(at: datetime) -> datetime:
    past = timedelta(minutes=at.minute % 30, seconds=at.second, microseconds=at.microsecond)
    return at - past + TICK


def _lines(chance: Chance, vendor: Vendor) -> tuple[OrderLine, ...]:
    count = (
        min(1 + int(chance.random.expovariate(0.6)), 9) if vendor.line == "commodity" else chance.random.randint(1, 4)
    )
    items = chance.random.sample(vendor.catalogue, count)
    return tuple(
        OrderLine(number, item, Decimal(chance.random.randint(1, 3) if item.kind == "implant" else chance.random.choice((2, 5, 10, 12, 20, 24, 50, 100))))
        for number, item in enumerate(items, start=1)
    )  # fmt: skip


def _request(sim: Simulation, requisition: Requisition, orders: list[Order]) -> SpanRef:
    """Write down a requisition and its approval; return the message that says so."""
    order = orders[0]
    joins = requisition.number != PLACEHOLDER
    context = {name: value for name, value in order.context.items() if name != "vendor"}
    anchors = tuple(each.anchor for each in orders) if joins else ()
    total = sum((each.amount for each in orders), Decimal(0)) / len(order.requisitions)
    draft = sim.tape.trace("requisition-saas")
    served = draft.add(
        "POST /requisitions", requisition.created_at, 120, kind="server",
        attributes=http_server("POST", "/requisitions", 201),
    )  # fmt: skip
    draft.add(
        "requisition created", requisition.created_at + timedelta(milliseconds=20), 60, parent=served,
        step=BusinessStep(
            code="p2p.requisition.created", keys={"requisition": requisition.number}, amount=total.quantize(Decimal("0.01")),
            currency=CURRENCY, actor="human", interface="requisition-form", context=context, anchors=anchors,
        ),
    )  # fmt: skip
    chance = sim.chance(f"requisition {requisition.created_at} {order.number}")
    draft.done(delay=sim.late_arrival(chance, requisition.created_at))
    draft = sim.tape.trace("requisition-saas")
    root = draft.add("approve requisition", requisition.approved_at, 80)
    draft.add(
        "requisition approved", requisition.approved_at + timedelta(milliseconds=5), 30, parent=root,
        step=BusinessStep(
            code="p2p.requisition.approved", style="event", interface="approval-workflow",
            keys={"requisition": requisition.number, "approval": f"APR-{sim.numbers.next('approval')}"},
            actor="human" if requisition.approved_at - requisition.created_at > timedelta(minutes=35) else "system", context=context, anchors=anchors,
        ),
    )  # fmt: skip
    sent = draft.add(
        f"publish {REQUISITIONS_QUEUE}", requisition.approved_at + timedelta(milliseconds=40), 8, parent=root,
        kind="producer", attributes=publish(REQUISITIONS_QUEUE, f"msg-{requisition.number}"),
    )  # fmt: skip
    draft.done(delay=sim.late_arrival(chance, requisition.approved_at))
    return sent


def _create(sim: Simulation, order: Order, announced: list[SpanRef]) -> SpanRef:
    """Write down the order's creation in the ERP; return the message that announces it."""
    at = order.created_at
    draft = sim.tape.trace("erp")
    root = draft.add(
        f"process {REQUISITIONS_QUEUE}", at - timedelta(milliseconds=40), 200, kind="consumer", links=announced,
        attributes=process(REQUISITIONS_QUEUE, message_of(announced[0])),
    )  # fmt: skip
    draft.add("INSERT po_headers", at - timedelta(milliseconds=20), 12, parent=root, kind="client",
              attributes=database("INSERT", "po_headers"))  # fmt: skip
    draft.add(
        "purchase order created", at, 35, parent=root,
        step=BusinessStep(
            code="p2p.purchase_order.created",
            keys={"purchase_order": order.number, "requisition": tuple(each.number for each in order.requisitions)},
            context={**order.context, "vendor_name": order.vendor.name},
            amount=order.amount, currency=CURRENCY, style="event", interface="requisition-import",
            lines=tuple(document_line(order, line, line.quantity, line.price, named=False) for line in order.lines),
            anchors=(order.anchor,), document=order.number,
        ),
    )  # fmt: skip
    sent = draft.add(
        f"publish {ORDERS_QUEUE}", at + timedelta(milliseconds=50), 8, parent=root, kind="producer",
        attributes=publish(ORDERS_QUEUE, f"msg-{order.company.code}-{order.number}"),
    )  # fmt: skip
    draft.done(delay=sim.late_arrival(sim.chance(f"creation {order.anchor}"), at))
    return sent
