"""What really happened to one transaction: its steps, the limits it met or missed, and what its documents say by line.

Worked out from the plan alone. The product's engine is never asked: this is what it is compared with.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import Final, NamedTuple

from controltower.cli.demo.model import ORDER, Anchor, BusinessStep, Plan, PlannedLine, PlannedSpan
from controltower.cli.demo.published import due_at, flow_of, packs, stage_of
from controltower.store.flows.definition import SlaRule

CREATED: Final = "p2p.purchase_order.created"
RECEIVED: Final = "p2p.goods.received"
INVOICED: Final = "p2p.invoice.received"


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

    flow: str
    anchor: Anchor
    members: tuple[Member, ...]
    deadlines: tuple[DeadlineFact, ...]
    lines: tuple[LineFact, ...]
    final: bool  # it reached a stage that nothing has to follow
    cancelled_at: datetime | None
    unhealed: tuple[str, ...]  # steps that failed or were rejected, and never succeeded afterwards


class Seen(NamedTuple):
    """A business step with its span."""

    span: PlannedSpan
    step: BusinessStep

    @property
    def counts(self) -> bool:
        """Whether it is the milestone that its code stands for."""
        stage = stage_of(self.step.code)
        return stage is not None and not self.span.error and self.step.outcome in stage.outcomes


def facts_of(plan: Plan) -> list[Facts]:
    """Return the facts of every transaction of the plan's flows, in the order of flows and anchors."""
    by_anchor: dict[tuple[str, Anchor], list[Seen]] = defaultdict(list)
    for _, span, step in plan.all_steps():
        flow = flow_of(step.code)
        for anchor in step.anchors if flow in plan.flows else ():
            by_anchor[flow, anchor].append(Seen(span, step))
    return [_facts(*key, by_anchor[key]) for key in sorted(by_anchor)]


def _facts(flow: str, anchor: Anchor, seen: list[Seen]) -> Facts:
    seen.sort(key=lambda each: (each.span.at, each.span.ref))
    milestones = [each for each in seen if each.counts]
    reached: dict[str, list[Seen]] = defaultdict(list)  # by stage
    for each in milestones:
        reached[_stage_name(each.step.code)].append(each)
    known = packs()[flow].stage_by_name
    cancelled = [each.span.at for name, found in reached.items() if known[name].cancels for each in found]
    return Facts(
        flow=flow,
        anchor=anchor,
        members=tuple(Member(*each.span.ref, each.step.code, _stage_name(each.step.code)) for each in seen),
        deadlines=tuple(fact for rule in packs()[flow].sla for fact in _deadlines(rule, reached)),
        lines=_lines(anchor, milestones) if anchor.type == ORDER and not cancelled else (),
        final=any(known[name].final for name in reached),
        cancelled_at=min(cancelled, default=None),
        unhealed=() if cancelled else tuple(sorted(_unhealed(seen))),
    )


def _stage_name(code: str) -> str:
    stage = stage_of(code)
    return stage.name if stage else ""


def _deadlines(rule: SlaRule, reached: Mapping[str, Sequence[Seen]]) -> Iterable[DeadlineFact]:
    started, ended = (_first(rule, reached.get(stage, ())) for stage in (rule.from_, rule.to))
    for subject, start in sorted(started.items(), key=itemgetter(0)):
        due = due_at(rule, start.span.at, start.step.context)
        if due is not None:
            met = ended.get(subject)
            yield DeadlineFact(rule.name, subject, start.span.at, due, met.span.at if met else None)


def _first(rule: SlaRule, reached: Sequence[Seen]) -> dict[str, Seen]:
    """Return the first step for each document that the rule runs for, or for the transaction."""
    found: dict[str, Seen] = {}
    for each in reached:
        subject = each.step.about.get(rule.per) if rule.per else ""
        if subject is not None:
            found.setdefault(subject, each)
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
