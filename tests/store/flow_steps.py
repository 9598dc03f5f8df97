"""Steps of small flows, written as people speak of them; for tests of the engine's pure middle."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from controltower.store.flows.corrections import of_flow
from controltower.store.flows.definition import Flow
from controltower.store.flows.files import load_packs, parse_flow
from controltower.store.flows.graph import KeyGraph, links_of
from controltower.store.flows.resolve import Resolution, Resolver
from controltower.store.rows import Correction, CorrectionAction, Key, SpanLink, Step
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


def seen(
    number: int, *keys: str, trace: int | None = None, day: float = 0, flow: Flow = FLOW, declares: bool = False
) -> Step:
    """Return a step with these keys, by default in a trace of its own."""
    return step(
        flow=flow.flow,
        trace_id=f"{trace if trace is not None else 1000 + number:032x}",
        span_id=f"{number:016x}",
        at=START + timedelta(days=day),
        keys=tuple(key(text) for text in keys),
        stage="",
        step=f"{flow.prefix}.{'link.declared' if declares else f'thing_{number % 4}.happened'}",
    )


def linked(number: int, trace: int, to: int, to_trace: int) -> SpanLink:
    """Return a link from a span of one trace to one of another, by their numbers."""
    return SpanLink(f"{trace:032x}", f"{number:016x}", f"{to_trace:032x}", f"{to:016x}")


def corrected(
    number: int, action: str, one: str | Step, other: str, *, undoes: int = 0, flow: Flow = FLOW
) -> Correction:
    """Return a correction about two keys, or a step and a key, said at the time of its number."""
    step = one if isinstance(one, Step) else None
    return Correction(
        id=f"c{number:03}",
        flow=flow.flow,
        action=CorrectionAction(action),
        key=Key("", "", "") if isinstance(one, Step) else key(one),
        trace_id=step.trace_id if step else "",
        span_id=step.span_id if step else "",
        other=key(other),
        undoes=f"c{undoes:03}" if undoes else "",
        user="ana",
        reason="they told us",
        at=START + timedelta(days=100, minutes=number),
    )


def resolve_all(
    steps: Iterable[Step],
    links: Iterable[SpanLink] = (),
    corrections: Iterable[Correction] = (),
    flow: Flow = FLOW,
) -> dict[int, Resolution]:
    """Resolve every step over all that steps, span links and people say; by the step's number."""
    steps = list(steps)
    graph = KeyGraph(flow, corrections=of_flow(flow, corrections))
    for confirmed in graph.corrections.links:
        graph.add_link(confirmed)
    for span_link in links:
        graph.beside.add_link(span_link)
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
