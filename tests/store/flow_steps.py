"""Steps of small flows, written as people speak of them; for tests of the engine's pure middle."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from controltower.store.flows.definition import Flow, load_packs, parse_flow
from controltower.store.flows.resolve import KeyGraph, Resolution, Resolver, links_of
from controltower.store.rows import Key, Step
from tests.factories import step

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
P2P: Flow = next(flow for flow in load_packs() if flow.flow == "procure_to_pay")

SMALL = """
flow: small
version: 1
title: Small
prefix: s
anchors: [order, bill]
keys:
  order: {scope: context.company, normalise: upper}
  box: {parent: order, shared: true}
  slip: {parent: order}
  bill: {parent: order, shared: true, scope: context.vendor}
  voucher: {parent: bill}
  pay: {parent: bill, shared: true, fanout: 3, fence: 10 days}
stages:
  - {name: opened, step: s.order.opened}
  - {name: billed, step: s.bill.received}
  - {name: paid, step: s.pay.issued, final: true}
"""
FLOW = parse_flow(SMALL, "small.yaml")


def key(text: str) -> Key:
    """Read ``order:7`` or ``order:7@acme``."""
    kind, _, rest = text.partition(":")
    value, _, scope = rest.partition("@")
    return Key(kind, scope, value)


def seen(number: int, *keys: str, trace: int | None = None, day: float = 0, flow: Flow = FLOW) -> Step:
    """Return a step with these keys, by default in a trace of its own."""
    return step(
        flow=flow.flow,
        trace_id=f"{trace if trace is not None else 1000 + number:032x}",
        span_id=f"{number:016x}",
        at=START + timedelta(days=day),
        keys=tuple(key(text) for text in keys),
        stage="",
        step=f"{flow.prefix}.thing.happened",
    )


def resolve_all(steps: Iterable[Step], flow: Flow = FLOW) -> dict[int, Resolution]:
    """Resolve every step over all that the steps say; by the step's number."""
    steps = list(steps)
    graph = KeyGraph(flow)
    for one in steps:
        graph.add_trace(one)
        for own in one.keys:
            graph.add_scope(own)
        for link in links_of(flow, one, 1):
            graph.add_link(link)
    resolver = Resolver(flow, graph)
    return {int(one.span_id, 16): resolver.resolve(one) for one in steps}


def anchors(resolution: Resolution) -> list[str]:
    """Return the anchors a step belongs to, as ``type:value``."""
    return [f"{member.anchor.type}:{member.anchor.value}" for member in resolution.memberships]
