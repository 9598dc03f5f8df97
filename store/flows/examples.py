"""Examples inside a flow file: a few steps, and the transactions that must come of them. Run without a store. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from controltower.store.flows.beside import StepId
from controltower.store.flows.classify import Classified, Classifier, SpanRow
from controltower.store.flows.counts import Counts
from controltower.store.flows.deadlines import Circumstances, Member, reaches
from controltower.store.flows.example import Example, ExampleStep, Expected
from controltower.store.flows.graph import KeyGraph, links_of
from controltower.store.flows.missed import Came, Looked, answers, as_stored, changes, most, whose
from controltower.store.flows.resolve import Resolution, Resolver
from controltower.store.flows.transaction import Verdict, judge
from controltower.store.rows import Key, SpanLink, Step, TransactionStep
from controltower.store.yaml_lines import Problem
from controltower.tracer import attributes as names

if TYPE_CHECKING:
    from controltower.store.flows.definition import Flow, SlaRule


def failures(flow: "Flow") -> Iterator[Problem]:
    """Yield (place, problem) for every example that comes out differently."""
    for position, example in enumerate(flow.examples):
        place = "examples", position
        found = {_name(verdict.transaction.anchor): verdict for verdict in _verdicts(flow, example)}
        for number, expected in enumerate(example.expect):
            verdict = found.pop(expected.transaction, None)
            if verdict is None:
                others = ", ".join(found) or "none"
                yield (*place, "expect", number), f"there is no transaction {expected.transaction}; there is {others}"
                continue
            for field, wanted, is_ in _differences(expected, verdict):
                yield (*place, "expect", number, field), f"is {is_}, not {wanted}"
        for name in found:
            yield (*place, "expect"), f"nothing is said of the transaction {name}"
        parked = sum(resolution.parked is not None for resolution in _resolved(flow, example)[1].values())
        if parked != example.parked:
            yield (*place, "parked"), f"{parked} steps belong to no transaction, not {example.parked}"
        yield from (((*place, "missed"), problem) for problem in _missed_otherwise(flow, example))


def _name(anchor: Key) -> str:
    return f"{anchor.type}:{anchor.value}" + (f"@{anchor.scope}" if anchor.scope else "")


def _differences(expected: Expected, verdict: Verdict) -> Iterator[tuple[str, object, object]]:
    transaction = verdict.transaction
    due = {f"{row.rule} {row.subject}".strip(): str(row.state) for row in verdict.deadlines}
    matches = {row.line: f"{row.status} {row.reason}".strip() for row in verdict.reconciliations}
    plain: Iterable[tuple[str, object, object]] = (
        ("state", expected.state, str(transaction.state)),
        ("stages", expected.stages, transaction.stages),
        ("steps", expected.steps, transaction.steps),
        ("at_stake", expected.at_stake, transaction.at_stake),
    )
    yield from ((field, wanted, is_) for field, wanted, is_ in plain if wanted is not None and wanted != is_)
    for field, asked, known in (("deadlines", expected.deadlines, due), ("matches", expected.matches, matches)):
        yield from (
            (field, f"{name}: {say}", f"{name}: {known.get(name)}")
            for name, say in asked.items()
            if known.get(name) != say
        )


def _missed_otherwise(flow: "Flow", example: Example) -> Iterator[str]:
    """Yield what was missed and is not expected to be, and what is expected and was not."""
    steps = [found.step for found in _resolved(flow, example)[0].values()]
    now, around = _as_of(flow, example, steps)
    since = example.since or min(step.at for step in steps)
    looked = {rule.name: _looked(flow, rule, steps, since, now) for rule in flow.sla if rule.every is not None}
    missed = {
        (f"{row.rule} {row.subject}".strip(), slot.at)
        for row in changes(flow, looked, around, {}, now)
        for slot in looked[row.rule].slots
        if row.resolved_at is None and slot.due == row.opened_at
    }
    expected = {(name, at.astimezone(UTC)) for name, times in example.missed.items() for at in times}
    yield from (f"{name}: {at:%Y-%m-%d %H:%M} UTC was missed" for name, at in sorted(missed - expected))
    yield from (f"{name}: {at:%Y-%m-%d %H:%M} UTC was not missed" for name, at in sorted(expected - missed))


def _looked(flow: "Flow", rule: "SlaRule", steps: Iterable[Step], since: datetime, now: datetime) -> Looked:
    names = as_stored(flow, rule)
    slots, end = flow.schedules[rule.name].slots(since, now, most(rule))
    reached = (step for step in steps if step.stage == rule.to and reaches(flow, step))
    came = (Came(names[name], step.at) for step in reached for name in whose(rule, step) if name in names)
    return Looked(slots, dict.fromkeys(rule.subjects, since), answers(slots, end, came, {}))


def _as_of(flow: "Flow", example: Example, steps: Iterable[Step]) -> tuple[datetime, Circumstances]:
    """Return the time of an example, and what besides its steps decides."""
    all_steps = list(steps)
    now = example.now or max(step.at for step in all_steps)
    counts = Counts(flow)
    counts.see(all_steps)
    return now, Circumstances({**dict.fromkeys(flow.sources, now), **example.heard}, {flow.flow: counts.missing(now)})


def _verdicts(flow: "Flow", example: Example) -> Iterator[Verdict]:
    steps, resolutions = _resolved(flow, example)
    members: dict[Key, list[Member]] = {}
    for step_id, resolution in resolutions.items():
        for found in resolution.memberships:
            step = steps[step_id].step
            row = TransactionStep(
                flow=flow.flow,
                anchor=found.anchor,
                trace_id=step.trace_id,
                span_id=step.span_id,
                stage=step.stage,
                evidence=found.evidence,
                via=found.via,
                through=found.through,
                anchors=len(resolution.memberships),
            )
            members.setdefault(found.anchor, []).append(Member(step, row))
    lines = {step_id: classified.lines for step_id, classified in steps.items()}
    now, around = _as_of(flow, example, (classified.step for classified in steps.values()))
    return (judge(flow, anchor, own, lines, now, 0, around) for anchor, own in sorted(members.items()))


def _resolved(flow: "Flow", example: Example) -> tuple[Mapping[StepId, Classified], Mapping[StepId, Resolution]]:
    classifier = Classifier([flow])
    classified = [
        found
        for number, step in enumerate(example.steps, 1)
        for found in classifier.classify(_span(flow, step, number), 0)
    ]
    graph = KeyGraph(flow)
    for number, step in enumerate(example.steps, 1):
        for linked in step.links:
            there = example.steps[linked - 1]
            graph.beside.add_link(SpanLink(*_ids(step, number), *_ids(there, linked)))
    for found in classified:
        for key in found.step.keys:
            graph.add_scope(key)
        for link in links_of(flow, found.step, 0):
            graph.add_link(link)
        graph.add_trace(found.step)
    resolver = Resolver(flow, graph)
    steps = {(found.step.trace_id, found.step.span_id): found for found in classified}
    return steps, {step_id: resolver.resolve(found.step) for step_id, found in steps.items()}


def _ids(step: ExampleStep, number: int) -> StepId:
    return step.trace or f"trace {number:04}", f"span {number:04}"


def _span(flow: "Flow", step: ExampleStep, number: int) -> SpanRow:
    trace_id, span_id = _ids(step, number)
    return SpanRow(
        trace_id=trace_id,
        span_id=span_id,
        service=step.system,
        name=step.step,
        started_at=step.at,
        duration_ns=0,
        failed=step.failed,
        attributes=_attributes(step),
        lines=tuple(dict(line) for line in step.lines),
        loaded_at=step.at,
    )


def _attributes(step: ExampleStep) -> Mapping[str, str]:
    said: dict[str, str] = {names.STEP: step.step, names.OUTCOME: step.outcome, names.REASON: step.reason}
    said |= {names.KEY + kind: value for kind, value in step.keys.items()}
    said |= {names.SCOPE + kind: value for kind, value in step.scopes.items()}
    said |= {names.CONTEXT + kind: value for kind, value in step.context.items()}
    said |= {names.AMOUNT: step.amount, names.CURRENCY: step.currency}
    return {name: value for name, value in said.items() if value}
