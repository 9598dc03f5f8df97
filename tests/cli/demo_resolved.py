"""A plan of the simulation resolved and judged in memory, by the pure parts of the engine: no store, no process."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from controltower.cli.bench.pattern import line_attributes, step_attributes
from controltower.cli.demo.model import Plan
from controltower.cli.demo.published import packs
from controltower.cli.demo.scoring import Found
from controltower.store.flows.classify import Classified, Classifier, SpanRow
from controltower.store.flows.deadlines import Member
from controltower.store.flows.membership import memberships
from controltower.store.flows.transaction import Verdict, judge
from controltower.store.rows import Key, SpanLink, Step
from controltower.store.truth_reads import FoundDeadline, FoundMatch, FoundMembership, FoundTransaction
from controltower.tracer.attributes import RUN_ID
from tests.store.flow_steps import resolve_all

Verdicts = dict[Key, Verdict]


def steps_of(plan: Plan) -> list[Classified]:
    """Return the steps that are reported, as the engine reads them."""
    rows = [
        SpanRow(
            *span.ref,
            trace.system,
            span.name,
            span.start,
            0,
            bool(span.error),
            step_attributes(step) | ({RUN_ID: trace.run.run_id} if trace.run else {}),
            tuple(line_attributes(line) for line in step.lines),
            span.start,
        )
        for trace, span, step in plan.all_steps()
    ]
    classifier = Classifier(packs().values())
    return [found for row in rows for found in classifier.classify(row, 1)]


def found_in(plan: Plan, now: datetime) -> dict[str, Found]:
    """Return what the product finds of each flow of the plan."""
    return {flow: _found(found) for flow, found in judged(plan, now).items()}


def judged(plan: Plan, now: datetime) -> dict[str, tuple[list[FoundMembership], Verdicts]]:
    """Return the places of the steps and the verdicts, of each flow."""
    links = [SpanLink(*span.ref, *link) for trace in plan.traces for span in trace.spans for link in span.links]
    by_flow: dict[str, dict[int, Classified]] = {flow: {} for flow in plan.flows}
    for found in steps_of(plan):
        if found.step.flow in by_flow:
            by_flow[found.step.flow][int(found.step.span_id, 16)] = found
    return {flow: _judged(flow, steps, links, now) for flow, steps in by_flow.items()}


def _judged(
    flow: str, found: Mapping[int, Classified], links: list[SpanLink], now: datetime
) -> tuple[list[FoundMembership], Verdicts]:
    steps: dict[int, Step] = {number: each.step for number, each in found.items()}
    lines = {(each.step.trace_id, each.step.span_id): each.lines for each in found.values()}
    members: dict[Key, list[Member]] = defaultdict(list)
    for number, resolution in resolve_all(steps.values(), links, flow=packs()[flow]).items():
        for row in memberships(steps[number], resolution, now, 1):
            members[row.anchor].append(Member(steps[number], row))
    places = [
        FoundMembership(anchor, each.step.trace_id, each.step.span_id)
        for anchor, own in members.items()
        for each in own
    ]
    return places, {anchor: judge(packs()[flow], anchor, own, lines, now, 1) for anchor, own in members.items()}


def _found(found: tuple[list[FoundMembership], Verdicts]) -> Found:
    places, verdicts = found
    return Found(
        places,
        [FoundTransaction(anchor, verdict.transaction.state) for anchor, verdict in verdicts.items()],
        [
            FoundDeadline(anchor, each.rule, each.subject, each.from_at, each.due_at, each.met_at, each.state)
            for anchor, verdict in verdicts.items()
            for each in verdict.deadlines
        ],
        [
            FoundMatch(anchor, each.line, each.status, each.reason)
            for anchor, verdict in verdicts.items()
            for each in verdict.reconciliations
        ],
    )
