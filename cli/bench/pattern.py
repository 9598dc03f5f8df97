"""The pattern of ``bench resolve``: the business steps of the demo's network, as the store holds their spans."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from controltower.cli.demo.model import BusinessStep, PlannedLine, PlannedSpan, PlannedTrace, Values
from controltower.cli.demo.plan import history
from controltower.store.bench_writes import PARTS, Part, PatternSpan
from controltower.tracer import attributes as names

SEED: Final = 20
DAYS: Final = 60  # the store makes a part per day and insert, at most 100
STEPS_PER_TRANSACTION: Final = 9  # fewer than the demo has, so that its plan is long enough


def pattern(steps: int, end: datetime) -> list[PatternSpan]:
    """Return the first *steps* steps of a plan that ends at *end*, in the order of sending: half early, half late."""
    plan = history(SEED, steps // STEPS_PER_TRANSACTION + 1, DAYS, end)
    return [_span(PARTS[2 * number >= steps], *each) for number, each in enumerate(plan.steps()[:steps])]


def _span(part: Part, trace: PlannedTrace, span: PlannedSpan, step: BusinessStep) -> PatternSpan:
    return PatternSpan(
        part=part,
        at=span.start,
        trace_id=span.ref.trace_id,
        span_id=span.ref.span_id,
        name=span.name,
        service=trace.system,
        attributes=step_attributes(step),
        duration_ns=round((span.end - span.start).total_seconds() * 1e9),
        failed=bool(span.error),
        lines=[line_attributes(line) for line in step.lines],
    )


def step_attributes(step: BusinessStep) -> dict[str, str]:
    """Return what the SDK puts on the span of this step; see ``tracer.step``."""
    stated = {
        names.STEP: step.code,
        names.AMOUNT: step.amount,
        names.CURRENCY: step.currency,
        names.OUTCOME: step.outcome,
        names.REASON: step.reason,
        names.BUSINESS_TIME: step.business_time.isoformat() if step.business_time else None,
        names.ACTOR: step.actor,
        names.STYLE: step.style,
        names.INTERFACE: step.interface,
        names.REPLAY_OF: step.replay_of,
    }
    prefixed: tuple[tuple[str, Mapping[str, Values]], ...] = (
        (names.KEY, step.keys),
        (names.SCOPE, step.scopes),
        (names.CONTEXT, step.context),
    )
    named = {prefix + name: _text(value) for prefix, values in prefixed for name, value in values.items()}
    return {name: str(value) for name, value in stated.items() if value is not None} | named


def _text(value: Values) -> str:
    return value if isinstance(value, str) else json.dumps(list(value), separators=(",", ":"))


def line_attributes(line: PlannedLine) -> dict[str, str]:
    """Return what the SDK puts on the event of this line."""
    stated = {
        names.LINE: line.number,
        names.ITEM: line.item,
        names.LINE_QUANTITY: line.quantity,
        names.LINE_UOM: line.uom,
        names.UNIT_PRICE: line.unit_price,
        names.LINE_AMOUNT: line.amount,
    }
    named = {names.KEY + line.order.type: line.order.value} if line.named else {}
    return {name: str(value) for name, value in stated.items() if value is not None} | named
