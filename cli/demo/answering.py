"""What vendors answer: acknowledgements in time, late or never, rejections; and orders that are changed or cancelled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.demo.hops import DEAD_LETTERS, http_client, http_server, message_of, process, publish
from controltower.cli.demo.model import Anchor, BusinessStep, Outcome, PlannedLine, Values
from controltower.cli.demo.simulation import Chance, Order, Simulation, dlq_reference, document_line
from controltower.cli.demo.workdays import business_days_after, opening, working_time_after
from controltower.cli.demo.world import CURRENCY

ANSWERS_QUEUE: Final = "orders.acknowledged"
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Going:
    """An order that the vendor will ship: from when on, and which lines it has to order itself first."""

    order: Order
    ready_at: datetime
    backordered: frozenset[int]


def plan_answers(sim: Simulation, orders: Sequence[Order], sent: dict[Anchor, datetime]) -> list[Going]:
    """Write down what the vendors say; return the orders that go on."""
    going = (_answer(sim, order, sent[order.anchor]) for order in orders)
    return [each for each in going if each is not None]


def _answer(sim: Simulation, order: Order, sent_at: datetime) -> Going | None:
    chance = sim.chance(f"answer {order.anchor}")
    fate = _fate(sim, chance)
    at = _when(sim, chance, fate, sent_at)
    cancel_at = working_time_after(sent_at + chance.hours(2, 30), timedelta(0)) if fate == "cancelled_order" else None
    if chance.happens(sim.rates.changed_order) and fate == "":
        _change(sim, chance, order, sent_at)
    if fate == "missing_855":
        sim.tape.fault(fate, business_days_after(sent_at, 1))
        silent = chance.happens(0.4)
        return None if silent else Going(order, business_days_after(sent_at, 1), frozenset())
    backordered = _backordered(sim, chance, order) if fate in ("", "late_855") else frozenset()
    if cancel_at is None or at < cancel_at:
        _acknowledge(sim, chance, order, at, fate, backordered)
    if fate == "rejected_order":
        sim.tape.fault(fate, at)
        cancel_at = working_time_after(at, chance.hours(1, 12)) if chance.happens(0.6) else None
    if cancel_at is not None:
        _cancel(sim, order, cancel_at, "rejected_by_partner" if fate == "rejected_order" else "no_longer_needed")
    return None if fate in ("rejected_order", "cancelled_order") else Going(order, at, backordered)


def _fate(sim: Simulation, chance: Chance) -> str:
    """Return what makes the order special; most are not."""
    for name in ("cancelled_order", "rejected_order", "missing_855", "late_855"):
        if chance.happens(getattr(sim.rates, name)):
            return name
    return ""


def _when(sim: Simulation, chance: Chance, fate: str, sent_at: datetime) -> datetime:
    if fate == "late_855":
        due = business_days_after(sent_at, 1)
        sim.tape.fault(fate, due)
        return working_time_after(due + MINUTE, chance.hours(0.5, 16))
    return opening(sent_at) + min(chance.usually(1.5, 7), timedelta(hours=7)) + MINUTE


def _backordered(sim: Simulation, chance: Chance, order: Order) -> frozenset[int]:
    lines = [line.number for line in order.lines if line.quantity > 1]
    if not lines or not chance.happens(sim.rates.backordered):
        return frozenset()
    return frozenset(chance.random.sample(lines, 1))


def _acknowledge(
    sim: Simulation, chance: Chance, order: Order, at: datetime, fate: str, backordered: frozenset[int]
) -> None:
    if backordered:
        sim.tape.fault("backordered", at)
    step = _acknowledged(sim, chance, order, at, fate, backordered)
    if order.vendor.channel == "portal":
        _portal_answer(sim, chance, at, step)
        return
    draft = sim.tape.trace("supplier-portal")
    root = draft.add("create 855", at - MINUTE, 300)
    draft.add("POST", at - MINUTE + timedelta(milliseconds=80), 150, parent=root, kind="client",
              attributes=http_client("POST", "as2.hospital.example", "/as2"))  # fmt: skip
    draft.done()
    failed = None
    if chance.happens(sim.rates.dead_letter_855):
        sim.tape.fault("dead_letter_855", at)
        failed = _inbound(sim, chance, at, _again(step, reason="mapping_error"), error="MappingError")
        at += chance.hours(0.6, 9)
    _inbound(sim, chance, at, _again(step, replay_of=failed))


def _acknowledged(
    sim: Simulation, chance: Chance, order: Order, at: datetime, fate: str, backordered: frozenset[int]
) -> BusinessStep:
    outcome: Outcome = "ok"
    reason = None
    lines = tuple(document_line(order, line, line.quantity, line.price, named=False) for line in order.lines)
    if fate == "rejected_order":
        outcome, reason = "rejected", chance.random.choice(("rejected_by_partner", "contract_item_unavailable"))
    elif backordered:
        outcome, reason = "pending", "backordered"
    elif chance.happens(sim.rates.price_changed_855):
        sim.tape.fault("price_changed_855", at)
        outcome, reason = "exception", "price_variance"
        lines = _with_other_price(lines)
    keys, context = _partner_view(sim, chance, order, at)
    return BusinessStep(
        code="p2p.purchase_order.acknowledged", keys=keys, context=context, currency=CURRENCY, outcome=outcome,
        reason=reason, style="edi" if order.vendor.channel == "edi" else "api", interface="855-inbound", lines=lines,
        anchors=(order.anchor,),
    )  # fmt: skip


def _with_other_price(lines: tuple[PlannedLine, ...]) -> tuple[PlannedLine, ...]:
    first = lines[0]
    price = (first.unit_price * Decimal("1.04")).quantize(Decimal("0.0001"))
    changed = PlannedLine(
        first.number, first.item, first.quantity, first.uom, price, first.quantity * price, first.order, first.named
    )
    return (changed, *lines[1:])


def _partner_view(
    sim: Simulation, chance: Chance, order: Order, at: datetime
) -> tuple[dict[str, Values], dict[str, str]]:
    """Return keys and context as the partner writes them: small letters, or without the company it is for."""
    number, context = order.number, dict(order.context)
    if chance.happens(sim.rates.lower_case_855):
        sim.tape.fault("lower_case_855", at)
        number = number.lower()
    if not order.shared_number and chance.happens(sim.rates.scopeless_855):
        sim.tape.fault("scopeless_855", at)
        del context["company"]
    keys: dict[str, Values] = {
        "purchase_order": number,
        "vendor_order": f"SO-{sim.numbers.next('SO ' + order.vendor.code)}",
    }
    return keys, context


def _again(step: BusinessStep, *, reason: str | None = None, replay_of: str | None = None) -> BusinessStep:
    if reason:
        return replace(step, reason=reason, context={**step.context, "dlq": DEAD_LETTERS}, outcome="ok", lines=())
    return replace(step, replay_of=replay_of)


def _inbound(sim: Simulation, chance: Chance, at: datetime, step: BusinessStep, error: str = "") -> str:
    """Write down how the gateway takes an 855 in and tells the ERP; return a reference to the step."""
    draft = sim.tape.trace("edi-gateway")
    root = draft.add("855 inbound", at, 90, kind="server", attributes=http_server("POST", "/as2"), error=error)
    ref = draft.add("855 received", at + timedelta(milliseconds=15), 30, parent=root, step=step, error=error)
    queue = DEAD_LETTERS if error else ANSWERS_QUEUE
    sent = draft.add(
        f"publish {queue}", at + timedelta(milliseconds=50), 8, parent=root, kind="producer",
        attributes=publish(queue, f"msg-{ref.span_id}"),
    )  # fmt: skip
    draft.done(delay=sim.late_arrival(chance, at))
    if not error:
        told = sim.tape.trace("erp")
        told.add(
            f"process {ANSWERS_QUEUE}", at + timedelta(milliseconds=chance.between(120, 4000)), 40, kind="consumer",
            links=[sent], attributes=process(ANSWERS_QUEUE, message_of(ref)),
        )  # fmt: skip
        told.done()
    return dlq_reference(ref)


def _portal_answer(sim: Simulation, chance: Chance, at: datetime, step: BusinessStep) -> None:
    draft = sim.tape.trace("supplier-portal")
    root = draft.add("PUT /orders/{id}/acknowledgement", at, 110, kind="server",
                     attributes=http_server("PUT", "/orders/{id}/acknowledgement"))  # fmt: skip
    draft.add("order acknowledged", at + timedelta(milliseconds=10), 40, parent=root, step=step)
    draft.add("POST", at + timedelta(milliseconds=60), 40, parent=root, kind="client",
              attributes=http_client("POST", "erp.hospital.example", "/webhooks/orders"))  # fmt: skip
    draft.done(delay=sim.late_arrival(chance, at))


def _cancel(sim: Simulation, order: Order, at: datetime, reason: str) -> None:
    sim.tape.fault("cancelled_order", at)
    draft = sim.tape.trace("erp")
    root = draft.add(
        "POST /orders/{id}/cancel", at, 90, kind="server", attributes=http_server("POST", "/orders/{id}/cancel")
    )
    draft.add(
        "purchase order cancelled", at + timedelta(milliseconds=10), 40, parent=root,
        step=BusinessStep(
            code="p2p.purchase_order.cancelled", keys={"purchase_order": order.number}, context=order.context,
            reason=reason, actor="human", interface="erp-screen", anchors=(order.anchor,),
        ),
    )  # fmt: skip
    draft.done()


def _change(sim: Simulation, chance: Chance, order: Order, sent_at: datetime) -> None:
    """Write down a changed delivery date (860) and its acknowledgement (865)."""
    at = sent_at + chance.minutes(20, 200)
    sim.tape.fault("changed_order", at)
    for system, code, moment, interface in (
        ("erp", "p2p.purchase_order.changed", at, "860-outbound"),
        ("edi-gateway", "p2p.purchase_order.change_acknowledged", at + chance.hours(1, 20), "865-inbound"),
    ):
        draft = sim.tape.trace(system)
        draft.add(
            interface, moment, 50,
            step=BusinessStep(
                code=code, keys={"purchase_order": order.number}, context={**order.context, "change_sequence": "1"},
                style="edi", interface=interface, anchors=(order.anchor,),
            ),
        )  # fmt: skip
        draft.done()
