"""Which stored steps new ones may move, and where all of them belong: reads around, resolves, changes nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from controltower.store.flows.definition import Flow
from controltower.store.flows.neighbourhood import Neighbourhood
from controltower.store.flows.resolve import KeyGraph, Resolution, Resolver, StepId, Value
from controltower.store.rows import KeyLink, Step


@dataclass(frozen=True, slots=True)
class Affected:
    """The steps to be placed, new and stored, with their resolutions."""

    steps: Mapping[StepId, Step]
    resolutions: Mapping[StepId, Resolution]


def affected_by(
    around: Neighbourhood,
    flow: Flow,
    new: Mapping[StepId, Step],
    links: Sequence[KeyLink],
    *,
    completed: int,
    save_links: Callable[[], None],
) -> Affected:
    """Resolve the *new* steps and every stored step whose place they may change.

    What is stored with a version above *completed* comes from a cycle that was cut off and counts as unknown.
    *save_links* writes *links*; it is called after the stored links were compared and before they are read again.
    """
    moved = _changed_values(around, flow, new, links, completed)
    save_links()
    moved = _with_everything_below(around, flow, moved)
    carrying = around.steps_of_keys(flow, moved) if moved else set()
    stored = {_id(step): step for step in around.steps(flow, carrying - set(new))}
    traces = {trace_id for trace_id, _ in (*new, *stored)}
    hanging = around.trace_dependents(flow, traces) - set(new) - set(stored)
    stored |= {_id(step): step for step in around.steps(flow, hanging)}
    steps = {**stored, **new}
    return Affected(steps, _resolved(around, flow, steps, new))


def _changed_values(
    around: Neighbourhood, flow: Flow, new: Mapping[StepId, Step], links: Sequence[KeyLink], completed: int
) -> set[Value]:
    """Return the values whose way up is different now: a link or a scope that was not known.

    Links of fenced keys count as different each time: they are true only around their own time.
    """
    stored = around.links_up(flow, {_value(link.child) for link in links})
    known = {(link.child, link.parent) for link in stored if link.version <= completed}
    moved = {
        _value(link.child)
        for link in links
        if (link.child, link.parent) not in known or flow.keys[link.child.type].fence is not None
    }
    scoped = {key for step in new.values() for key in step.keys if key.scope and key.type in flow.keys}
    scopes = around.scopes(flow, {_value(key) for key in scoped})
    return moved | {_value(key) for key in scoped - {row.key for row in scopes if row.version <= completed}}


def _with_everything_below(around: Neighbourhood, flow: Flow, values: set[Value]) -> set[Value]:
    """Return *values* and all that hang below them in the key tree."""
    found, frontier = set(values), set(values)
    while frontier:
        frontier = {_value(link.child) for link in around.links_down(flow, frontier)} - found
        found |= frontier
    return found


def _resolved(
    around: Neighbourhood, flow: Flow, steps: Mapping[StepId, Step], new: Mapping[StepId, Step]
) -> dict[StepId, Resolution]:
    graph = KeyGraph(flow)
    _learn_upward(around, graph, steps.values(), new.values())
    resolver = Resolver(flow, graph)
    found = {step_id: resolver.resolve(step) for step_id, step in steps.items()}
    waiting = [step_id for step_id, resolution in found.items() if resolution.parked is not None]
    if waiting:
        traces = {trace_id for trace_id, _ in waiting}
        together = [step for step in around.steps_of_traces(flow, traces) if _id(step) not in new]
        together += [step for step in new.values() if step.trace_id in traces]
        for step in together:
            graph.add_trace(step)
        _learn_upward(around, graph, together, new.values())
        resolver = Resolver(flow, graph)
        found |= {step_id: resolver.resolve(steps[step_id]) for step_id in waiting}
    return found


def _learn_upward(around: Neighbourhood, graph: KeyGraph, steps: Iterable[Step], new: Iterable[Step]) -> None:
    """Teach *graph* every link and scope on the way up from *steps*; what *new* steps say is not stored yet."""
    flow = graph.flow
    frontier = {_value(key) for step in steps for key in step.keys if key.type in flow.keys}
    seen: set[Value] = set()
    while frontier:
        seen |= frontier
        for row in around.scopes(flow, frontier):
            graph.add_scope(row.key)
        parents = set()
        for link in around.links_up(flow, frontier):
            graph.add_link(link)
            parents.add(_value(link.parent))
        frontier = parents - seen
    for step in new:
        for key in step.keys:
            if key.type in flow.keys:
                graph.add_scope(key)


def _value(key: tuple[str, str, str]) -> Value:
    return key[0], key[2]


def _id(step: Step) -> StepId:
    return step.trace_id, step.span_id
