"""Sending orders out: EDI files with their control numbers, the portal for small vendors, retries and dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from controltower.cli.demo.hops import DEAD_LETTERS, http_client, http_server, message_of, process, publish
from controltower.cli.demo.model import Anchor, BusinessStep, SpanRef
from controltower.cli.demo.ordering import ORDERS_QUEUE
from controltower.cli.demo.simulation import CONTROL_NUMBER_REST, Chance, Order, Simulation, dlq_reference
from controltower.cli.demo.world import CURRENCY

ACKNOWLEDGED_S: Final = "14400"  # an order says that its receipt is to be confirmed, by the default for a VAN
POLL: Final = timedelta(seconds=210)  # the gateway looks for new orders this long after the ERP's job
REPLAYED: Final = timedelta(milliseconds=40)


@dataclass(frozen=True, slots=True)
class File:
    """An EDI file of orders to one vendor, with its group and set control numbers."""

    orders: tuple[Order, ...]
    at: datetime
    interchange: str
    group: str

    def set_of(self, order: Order) -> str:
        """Return the set control number of one order, unique with the group's."""
        return f"{self.group}|{self.orders.index(order) + 1:04d}"


def plan_dispatch(sim: Simulation, orders: Sequence[Order], announced: dict[Anchor, SpanRef]) -> dict[Anchor, datetime]:
    """Write down how the orders reach their vendors; return when each did."""
    sent: dict[Anchor, datetime] = {}
    files: list[tuple[datetime, list[Order], bool]] = []
    for (_, company, vendor), batch in groupby(sorted(orders, key=_file_key), key=_file_key):
        together = list(batch)
        at = max(order.created_at for order in together) + POLL
        if together[0].vendor.channel == "portal":
            sent.update((order.anchor, _by_portal(sim, order, announced[order.anchor])) for order in together)
            continue
        chance = sim.chance(f"file {company} {vendor} {at}")
        lost = [order for order in together if chance.happens(sim.rates.dead_letter_dispatch)]
        if rest := [order for order in together if order not in lost]:
            files.append((at, rest, False))
        files.extend((at, [order], True) for order in lost)
    for at, together, dead in sorted(files, key=lambda entry: (entry[0], entry[1][0].anchor)):
        sent.update(_by_file(sim, at, together, announced, lost=dead))
    return sent


def _file_key(order: Order) -> tuple[datetime, str, str]:
    return (
        order.created_at.replace(minute=order.created_at.minute // 30 * 30, second=0),
        order.company.code,
        order.vendor.code,
    )


def _by_file(
    sim: Simulation, at: datetime, orders: list[Order], announced: dict[Anchor, SpanRef], *, lost: bool
) -> dict[Anchor, datetime]:
    chance = sim.chance(f"dispatch {orders[0].anchor}")
    replay_of = None
    if lost:
        sim.tape.fault("dead_letter_dispatch", at)
        replay_of = _dead_letter(sim, orders[0], at, announced[orders[0].anchor])
        at += chance.hours(0.7, 18)
    elif chance.happens(sim.rates.retried_dispatch):
        sim.tape.fault("retried_dispatch", at)
        _transmit(sim, _file(sim, orders, at), announced, error="ConnectionError")
        at += chance.minutes(4, 9)
    file = _file(sim, orders, at, recycle=chance.happens(sim.rates.recycled_control_numbers))
    _transmit(sim, file, announced, replay_of=replay_of, delay=sim.late_arrival(chance, at))
    _functional_acknowledgement(sim, chance, file)
    return {order.anchor: at for order in orders}


def _file(sim: Simulation, orders: list[Order], at: datetime, *, recycle: bool = False) -> File:
    company, vendor = orders[0].company, orders[0].vendor
    line = f"{company.edi_id}|{vendor.edi_id}"
    group = sim.numbers.recycled(line, at, CONTROL_NUMBER_REST) if recycle else None
    if group is not None:
        sim.tape.fault("recycled_control_numbers", at)
    else:
        control = sim.numbers.next(line)
        group = f"{line}|{control:09d}|{control % 10_000}"
    sim.numbers.used(line, at, group)
    return File(tuple(orders), at, group.rpartition("|")[0], group)


def _transmit(
    sim: Simulation,
    file: File,
    announced: dict[Anchor, SpanRef],
    *,
    error: str = "",
    replay_of: str | None = None,
    delay: timedelta = timedelta(0),
) -> None:
    """Write down one transmission of a file, with a set per order."""
    vendor = file.orders[0].vendor
    start = file.at - timedelta(milliseconds=30 * len(file.orders) + 20)
    draft = sim.tape.trace("edi-gateway")
    root = draft.add("850 outbound", start, 60 * len(file.orders) + 300)
    for index, order in enumerate(file.orders):
        at = start + timedelta(milliseconds=10 + 30 * index)
        worker = draft.add(
            f"process {ORDERS_QUEUE}", at, 25, parent=root, kind="consumer", links=[announced[order.anchor]],
            attributes=process(ORDERS_QUEUE, message_of(announced[order.anchor])),
        )  # fmt: skip
        draft.add(
            "850 dispatched", file.at, 20, parent=worker, error=error,
            step=_dispatched(order, replay_of=replay_of, keys={
                "purchase_order": order.number, "group": file.group, "set": file.set_of(order),
                "interchange": file.interchange,
            }),
        )  # fmt: skip
    draft.add(
        "POST", file.at + timedelta(milliseconds=25), 180, parent=root, kind="client", error=error,
        attributes=http_client("POST", f"as2.{vendor.code.lower()}.example", "/as2", 503 if error else 200),
    )  # fmt: skip
    draft.done(delay=delay)


def _dispatched(
    order: Order, keys: dict[str, str | tuple[str, ...]], replay_of: str | None = None, reason: str | None = None
) -> BusinessStep:
    edi = order.vendor.channel == "edi"
    extra = {"edi_transaction_set": "850", "edi_version": "004010"} if edi else {}
    return BusinessStep(
        code="p2p.purchase_order.dispatched",
        keys=keys,
        context={**order.context, **extra, "ack_within_s": ACKNOWLEDGED_S, **({"dlq": DEAD_LETTERS} if reason else {})},
        amount=order.amount,
        currency=CURRENCY,
        style="edi" if edi else "api",
        interface="850-outbound" if edi else "portal-orders",
        reason=reason,
        replay_of=replay_of,
        anchors=(order.anchor,),
    )


def _dead_letter(sim: Simulation, order: Order, at: datetime, announced: SpanRef) -> str:
    """Write down that an order could not be mapped and went to the dead letters; return a reference to the attempt."""
    draft = sim.tape.trace("edi-gateway")
    root = draft.add(
        f"process {ORDERS_QUEUE}", at, 90, kind="consumer", error="MappingError", links=[announced],
        attributes=process(ORDERS_QUEUE, message_of(announced)),
    )  # fmt: skip
    failed = draft.add(
        "850 dispatched", at + timedelta(milliseconds=10), 40, parent=root, error="MappingError",
        step=_dispatched(order, {"purchase_order": order.number}, reason="unmapped_item"),
    )  # fmt: skip
    draft.add(
        f"publish {DEAD_LETTERS}", at + timedelta(milliseconds=60), 8, parent=root, kind="producer",
        attributes=publish(DEAD_LETTERS, message_of(announced)),
    )  # fmt: skip
    draft.done()
    return dlq_reference(failed)


def _functional_acknowledgement(sim: Simulation, chance: Chance, file: File) -> None:
    """Write down how the vendor receives the file, and its 997: it names control numbers only, no order."""
    vendor = file.orders[0].vendor
    received = file.at + chance.minutes(0.5, 3)
    draft = sim.tape.trace("supplier-portal")
    root = draft.add("POST /as2", received, 150, kind="server", attributes=http_server("POST", "/as2"))
    draft.add("translate 850", received + timedelta(milliseconds=20), 60 * len(file.orders), parent=root,
              attributes={"controltower.context.vendor": vendor.code})  # fmt: skip
    draft.done()
    if chance.happens(sim.rates.missing_997):
        sim.tape.fault("missing_997", file.at + timedelta(hours=4))
        return
    at = file.at + chance.minutes(4, 60)
    if chance.happens(sim.rates.late_997):
        at = file.at + chance.hours(4.2, 30)
        sim.tape.fault("late_997", file.at + timedelta(hours=4))
    draft = sim.tape.trace("edi-gateway")
    root = draft.add(
        "997 inbound", at, 40 + 20 * len(file.orders), kind="server", attributes=http_server("POST", "/as2")
    )
    for index, order in enumerate(file.orders):
        draft.add(
            "997 set accepted", at + timedelta(milliseconds=10 + 15 * index), 10, parent=root,
            step=BusinessStep(
                code="p2p.purchase_order.functional_acknowledged",
                keys={"group": file.group, "set": file.set_of(order)},
                context={"vendor": vendor.code, "edi_transaction_set": "997", "edi_sender": vendor.edi_id},
                style="edi", interface="997-inbound", anchors=(order.anchor,),
            ),
        )  # fmt: skip
    draft.done(delay=sim.late_arrival(chance, at))


def _by_portal(sim: Simulation, order: Order, announced: SpanRef) -> datetime:
    """Write down an order that goes to the supplier portal by API, whose answer confirms its receipt."""
    chance = sim.chance(f"portal {order.anchor}")
    at = order.created_at + chance.minutes(1, 6)
    draft = sim.tape.trace("erp")
    root = draft.add(
        f"process {ORDERS_QUEUE}", at - timedelta(milliseconds=20), 400, kind="consumer", links=[announced],
        attributes=process(ORDERS_QUEUE, message_of(announced)),
    )  # fmt: skip
    draft.add(
        "order sent to portal",
        at,
        60,
        parent=root,
        kind="client",
        step=_dispatched(order, {"purchase_order": order.number}),
    )
    draft.add("POST", at + timedelta(milliseconds=10), 300, parent=root, kind="client",
              attributes=http_client("POST", "portal.suppliers.example", "/orders", 202))  # fmt: skip
    draft.done(delay=sim.late_arrival(chance, at))
    taken = at + timedelta(milliseconds=120)
    draft = sim.tape.trace("supplier-portal")
    root = draft.add("POST /orders", taken, 90, kind="server", attributes=http_server("POST", "/orders", 202))
    draft.add(
        "order accepted by portal", taken + timedelta(milliseconds=10), 30, parent=root,
        step=BusinessStep(
            code="p2p.purchase_order.functional_acknowledged", keys={"purchase_order": order.number},
            context=order.context, interface="portal-orders", anchors=(order.anchor,),
        ),
    )  # fmt: skip
    draft.done()
    return at
