"""What really happened to one transaction: its steps, the limits it met or missed, and what its documents say by line.

Worked out from the plan alone. The product's engine is never asked: this is what it is compared with.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from controltower.cli.demo.model import ORDER, Anchor, BusinessStep, Plan, PlannedLine, PlannedSpan
from controltower.cli.demo.workdays import business_days_after

REQUESTED: Final = "p2p.requisition.created"
APPROVED: Final = "p2p.requisition.approved"
CREATED: Final = "p2p.purchase_order.created"
DISPATCHED: Final = "p2p.purchase_order.dispatched"
CONFIRMED: Final = "p2p.purchase_order.functional_acknowledged"
ACKNOWLEDGED: Final = "p2p.purchase_order.acknowledged"
RECEIVED: Final = "p2p.goods.received"
INVOICED: Final = "p2p.invoice.received"
REGISTERED: Final = "p2p.invoice.registered"
MATCHED: Final = "p2p.invoice.matched"
PAID: Final = "p2p.payment.issued"
CLEARED: Final = "p2p.payment.cleared"
CANCELLED: Final = "p2p.purchase_order.cancelled"

STAGES: Final = {
    REQUESTED: "requested",
    APPROVED: "approved",
    CREATED: "created",
    DISPATCHED: "dispatched",
    CONFIRMED: "functional_acknowledged",
    ACKNOWLEDGED: "acknowledged",
    "p2p.shipment.notified": "shipped",
    RECEIVED: "received",
    INVOICED: "invoiced",
    REGISTERED: "registered",
    MATCHED: "matched",
    "p2p.invoice.posted": "posted",
    PAID: "paid",
    CLEARED: "cleared",
    CANCELLED: "cancelled",
}
ONLY_OK: Final = frozenset({APPROVED, MATCHED})  # any other outcome there is not the milestone


class Rule(NamedTuple):
    """A service level: how long after one step another one is due."""

    name: str
    start: str
    to: str
    hours: float = 0
    business_days: int = 0
    per: str = ""  # "invoice", "payment": once for each

    def due_at(self, at: datetime) -> datetime:
        """Return when it falls due."""
        if self.business_days:
            return business_days_after(at, self.business_days)
        return at + timedelta(hours=self.hours)


RULES: Final = (
    Rule("requisition approved", REQUESTED, APPROVED, business_days=1),
    Rule("order created", APPROVED, CREATED, hours=4),
    Rule("order dispatched", CREATED, DISPATCHED, hours=0.25),
    Rule("functional acknowledgement", DISPATCHED, CONFIRMED, hours=4),
    Rule("supplier acknowledges", DISPATCHED, ACKNOWLEDGED, business_days=1),
    Rule("invoice registered", INVOICED, REGISTERED, business_days=1, per="invoice"),
    Rule("invoice matched", REGISTERED, MATCHED, business_days=2, per="invoice"),
    Rule("invoice paid", INVOICED, PAID, hours=45 * 24, per="invoice"),
    Rule("payment cleared", PAID, CLEARED, business_days=3, per="payment"),
    Rule("order to pay", CREATED, PAID, hours=60 * 24),
)


@dataclass(frozen=True, slots=True)
class Member:
    """A step that belongs to the transaction."""

    trace_id: str
    span_id: str
    step: str
    stage: str


@dataclass(frozen=True, slots=True)
class DeadlineFact:
    """A limit that one step set, and when the other step came, if it did."""

    rule: str
    subject: str
    from_at: datetime
    due_at: datetime
    met_at: datetime | None


@dataclass(frozen=True, slots=True)
class LineFact:
    """What the documents say of one order line."""

    line: str
    price: Decimal
    ordered: Decimal
    received: Decimal
    received_at: datetime | None  # the last receipt
    invoiced: Decimal | None  # None when no invoice mentions the line
    invoiced_value: Decimal
    invoiced_at: datetime | None  # the last invoice


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the verdicts on one transaction follow from."""

    anchor: Anchor
    members: tuple[Member, ...]
    deadlines: tuple[DeadlineFact, ...]
    lines: tuple[LineFact, ...]
    paid: bool
    cancelled_at: datetime | None
    unhealed: tuple[str, ...]  # steps that failed or were rejected, and never succeeded afterwards


class Seen(NamedTuple):
    """A business step with its span."""

    span: PlannedSpan
    step: BusinessStep

    @property
    def counts(self) -> bool:
        """Whether it is the milestone that its code stands for."""
        if self.span.error or self.step.outcome == "duplicate":
            return False
        return self.step.outcome == "ok" or self.step.code not in ONLY_OK


def facts_of(plan: Plan) -> list[Facts]:
    """Return the facts of every transaction of the plan, in the order of their anchors."""
    by_anchor: dict[Anchor, list[Seen]] = defaultdict(list)
    for _, span, step in plan.steps():
        for anchor in step.anchors:
            by_anchor[anchor].append(Seen(span, step))
    return [_facts(anchor, by_anchor[anchor]) for anchor in sorted(by_anchor)]


def _facts(anchor: Anchor, seen: list[Seen]) -> Facts:
    seen.sort(key=lambda each: (each.span.at, each.span.ref))
    milestones = [each for each in seen if each.counts]
    cancelled = [each.span.at for each in milestones if each.step.code == CANCELLED]
    return Facts(
        anchor=anchor,
        members=tuple(Member(*each.span.ref, each.step.code, STAGES.get(each.step.code, "")) for each in seen),
        deadlines=tuple(fact for rule in RULES for fact in _deadlines(rule, milestones)),
        lines=_lines(anchor, milestones) if anchor.type == ORDER and not cancelled else (),
        paid=any(each.step.code == PAID for each in milestones),
        cancelled_at=min(cancelled, default=None),
        unhealed=() if cancelled else tuple(sorted(_unhealed(seen))),
    )


def _deadlines(rule: Rule, milestones: Sequence[Seen]) -> Iterable[DeadlineFact]:
    started = _first(rule, rule.start, milestones)
    reached = _first(rule, rule.to, milestones)
    for subject in sorted(started):
        yield DeadlineFact(rule.name, subject, started[subject], rule.due_at(started[subject]), reached.get(subject))


def _first(rule: Rule, code: str, milestones: Sequence[Seen]) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    for each in milestones:
        if each.step.code == code:
            found.setdefault(getattr(each.step, rule.per) if rule.per else "", each.span.at)
    return found


def _unhealed(seen: Sequence[Seen]) -> Iterable[str]:
    """Yield the step codes that failed or were rejected once and did not succeed at that time or later."""
    for kind in ("failed", "rejected"):
        first: dict[str, datetime] = {}
        for each in seen:
            hit = bool(each.span.error) if kind == "failed" else not each.span.error and each.step.outcome == "rejected"
            if hit:
                first.setdefault(each.step.code, each.span.at)
        for code, at in first.items():
            if not any(_succeeds(each, code) and each.span.at >= at for each in seen):
                yield f"{kind} {code}"


def _succeeds(each: Seen, code: str) -> bool:
    return each.step.code == code and not each.span.error and each.step.outcome not in ("rejected", "duplicate")


def _lines(anchor: Anchor, milestones: Sequence[Seen]) -> tuple[LineFact, ...]:
    """Put together what order, receipts and invoices say by line; a document that came twice is one document."""
    sides: dict[str, dict[str, list[tuple[datetime, PlannedLine]]]] = defaultdict(lambda: defaultdict(list))
    known: set[tuple[str, str]] = set()
    for each in milestones:
        if each.step.code not in (CREATED, RECEIVED, INVOICED) or (each.step.code, each.step.document) in known:
            continue
        known.add((each.step.code, each.step.document))
        for line in each.step.lines:
            if line.order == anchor:
                sides[line.number][each.step.code].append((each.span.at, line))
    return tuple(_line(number, sides[number]) for number in sorted(sides, key=int))


def _line(number: str, sides: dict[str, list[tuple[datetime, PlannedLine]]]) -> LineFact:
    ordered = [line for _, line in sides[CREATED]]
    received, invoiced = sides[RECEIVED], sides[INVOICED]
    return LineFact(
        line=number,
        price=ordered[0].unit_price,
        ordered=sum((line.quantity for line in ordered), Decimal(0)),
        received=sum((line.quantity for _, line in received), Decimal(0)),
        received_at=max((at for at, _ in received), default=None),
        invoiced=sum((line.quantity for _, line in invoiced), Decimal(0)) if invoiced else None,
        invoiced_value=sum((line.value for _, line in invoiced), Decimal(0)),
        invoiced_at=max((at for at, _ in invoiced), default=None),
    )
