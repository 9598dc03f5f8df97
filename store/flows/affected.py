"""Which stored steps new ones may move, and where all of them belong: reads around, resolves, changes nothing."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from controltower.store.flows.beside import HOPS, StepId
from controltower.store.flows.corrections import Corrections, of_flow
from controltower.store.flows.definition import Flow
from controltower.store.flows.graph import KeyGraph, Value
from controltower.store.flows.neighbourhood import Neighbourhood, ScopedKey
from controltower.store.flows.news import News
from controltower.store.flows.resolve import Resolution, Resolver
from controltower.store.rows import Correction, Key, KeyLink, Step

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Affected:
    """The steps to be placed, new and stored, with their resolutions; *stored* are those that the store has, as they are
    or as they were when they were sent before."""

    steps: Mapping[StepId, Step]
    resolutions: Mapping[StepId, Resolution]
    stored: AbstractSet[StepId]


def affected_by(
    around: Neighbourhood,
    flow: Flow,
    new: Mapping[StepId, Step],
    links: Sequence[KeyLink],
    news: News,
    *,
    completed: int,
) -> Affected:
    """Resolve the *new* steps, which say *links*, and every stored step whose place they may change.

    What is looked up is what new steps name: their keys, what hangs below those that moved, and the traces of all these.

    What is stored with a version above *completed* comes from a cycle that was cut off and counts as unknown.
    """
    corrections = of_flow(flow, news.said)
    known = _Keys(around, flow, (*links, *corrections.links))
    fresh = [one for one in news.fresh if one.flow == flow.flow and not one.of_deadline]
    corrected = {(one.trace_id, one.span_id) for one in fresh if one.of_step}
    known.read({_value(key) for step in new.values() for key in step.keys if key.type in flow.keys})
    stored = {_id(step): step for step in around.steps(flow, corrected - new.keys())}
    changed = _changed_values(known, new, links, corrections, completed)
    changed |= _corrected_values(flow, fresh, stored | dict(new))
    moved = known.with_everything_below(changed)
    carrying = around.steps_of_keys(flow, moved) | _confirmed_for(corrections, moved) if moved else set()
    stored |= {_id(step): step for step in around.steps(flow, carrying - new.keys() - stored.keys())}
    traces = news.linked | {trace_id for trace_id, _ in (*new, *stored)}
    beside = around.steps_beside(flow, _with_linking(around, traces) if news.any_links else traces)
    hanging = around.trace_dependents(flow, beside - new.keys() - stored.keys())
    stored |= {_id(step): step for step in around.steps(flow, hanging)}
    steps = {**stored, **new}
    resolutions = _resolved(known, corrections, steps, new, any_links=news.any_links)
    return Affected(steps, resolutions, stored=steps.keys() & beside)


class _Keys:
    """What is known of keys: scopes and links that are stored, and the links that new steps say, which come to the store
    with them. What is stored of a value is read once."""

    def __init__(self, around: Neighbourhood, flow: Flow, new: Sequence[KeyLink]) -> None:
        self.flow = flow
        self.around = around
        self._new = {_name(link) for link in new}
        self._up: dict[Value, list[KeyLink]] = defaultdict(list)
        self._down: dict[Value, list[KeyLink]] = defaultdict(list)
        self._stored_up: dict[Value, list[KeyLink]] = {}
        self._scopes: dict[Value, list[ScopedKey]] = {}  # of the same values
        for link in new:
            self._up[_value(link.child)].append(link)
            self._down[_value(link.parent)].append(link)

    def stored_up(self, values: Iterable[Value]) -> list[KeyLink]:
        """Return the stored links from keys of these values to their parents."""
        asked = set(values)
        self.read(asked)
        return [link for value in asked for link in self._stored_up[value]]

    def scopes(self, values: Iterable[Value]) -> list[ScopedKey]:
        """Return the scoped keys that these values are stored as."""
        asked = set(values)
        self.read(asked)
        return [row for value in asked for row in self._scopes[value]]

    def read(self, values: AbstractSet[Value]) -> None:
        """Read what is stored of these values, as far as it was not read."""
        unread = values - self._scopes.keys()
        self._stored_up |= {value: [] for value in unread}
        self._scopes |= {value: [] for value in unread}
        scopes, links = self.around.upward(self.flow, unread)
        for row in scopes:
            self._scopes[_value(row.key)].append(row)
        for link in links:
            self._stored_up[_value(link.child)].append(link)

    def up(self, values: set[Value]) -> list[KeyLink]:
        """Return the links from keys of these values to their parents."""
        return self._all(self.stored_up(values), self._up, values)

    def with_everything_below(self, values: set[Value]) -> set[Value]:
        """Return *values* and all that hang below them in the key tree."""
        found, frontier = set(values), set(values)
        while frontier:
            below = self._all(self.around.links_down(self.flow, frontier), self._down, frontier)
            frontier = {_value(link.child) for link in below} - found
            found |= frontier
        return found

    def _all(
        self, stored: Iterable[KeyLink], new: Mapping[Value, list[KeyLink]], values: Iterable[Value]
    ) -> list[KeyLink]:
        """Return the new ones, and the stored ones that no new one replaces."""
        found = [link for value in values if value in new for link in new[value]]
        found.extend(link for link in stored if _name(link) not in self._new)
        return found


def _confirmed_for(corrections: Corrections, values: AbstractSet[Value]) -> set[StepId]:
    """Return the steps that people placed by a key of these values, which the steps need not carry."""
    return {
        step_id
        for step_id, said in corrections.confirmed_steps.items()
        if any(_value(key) in values for key, _ in said)
    }


def _changed_values(
    known: _Keys, new: Mapping[StepId, Step], links: Sequence[KeyLink], corrections: Corrections, completed: int
) -> set[Value]:
    """Return the values whose way up is different now: a link or a scope that was not known, or a link seen earlier.

    The explanation of a step names the first link of each hop. What a person took from a step is no earlier link.
    Links of fenced keys count as different each time: they are true only around their own time.
    """
    flow = known.flow
    first: dict[tuple[Key, Key], tuple[datetime, str, str]] = {}
    for link in known.stored_up(_value(link.child) for link in links):
        if link.version <= completed and not corrections.lost(link):
            pair = link.child, link.parent
            first[pair] = min(first.get(pair, _seen(link)), _seen(link))
    moved = {
        _value(link.child)
        for link in links
        if flow.keys[link.child.type].fence is not None
        or _seen(link) < first.get((link.child, link.parent), (_NEVER, "", ""))
    }
    scoped = {key for step in new.values() for key in step.keys if key.scope and key.type in flow.keys}
    scopes = known.scopes(map(_value, scoped))
    return moved | {_value(key) for key in scoped - {row.key for row in scopes if row.version <= completed}}


def _corrected_values(flow: Flow, fresh: Iterable[Correction], steps: Mapping[StepId, Step]) -> set[Value]:
    """Return the values whose way up is different now by corrections: of two keys, or of a step that says links."""
    found: set[Value] = set()
    for one in fresh:
        if not one.of_step:
            found |= {_value(one.key), _value(one.other)}
        elif (step := steps.get((one.trace_id, one.span_id))) is not None:
            below = (key for key in step.keys if one.other.type in flow.ancestors.get(key.type, ()))
            found |= {_value(one.other), *map(_value, below)}
    return {value for value in found if value[0] in flow.keys}


def _resolved(
    known: _Keys,
    corrections: Corrections,
    steps: Mapping[StepId, Step],
    new: Mapping[StepId, Step],
    *,
    any_links: bool,
) -> dict[StepId, Resolution]:
    flow = known.flow
    graph = KeyGraph(flow, corrections=corrections)
    for step in new.values():
        for key in step.keys:
            if key.type in flow.keys:
                graph.add_scope(key)
    _learn_upward(known, graph, steps.values())
    resolver = Resolver(flow, graph)
    found = {step_id: resolver.resolve(step) for step_id, step in steps.items()}
    waiting = [step_id for step_id, resolution in found.items() if resolution.parked is not None]
    if waiting:
        traces = {trace_id for trace_id, _ in waiting}
        if any_links:
            traces = _with_linked(known.around, graph, traces)
        together = [step for step in known.around.steps_of_traces(flow, traces) if _id(step) not in new]
        together += [step for step in new.values() if step.trace_id in traces]
        for step in together:
            graph.add_trace(step)
        _learn_upward(known, graph, together)
        resolver = Resolver(flow, graph)
        found |= {step_id: resolver.resolve(steps[step_id]) for step_id in waiting}
    return found


def _with_linking(around: Neighbourhood, traces: AbstractSet[str]) -> set[str]:
    """Return *traces* and those that lead to them over links."""
    found, frontier = set(traces), set(traces)
    for _ in range(HOPS):
        frontier = around.linking_traces(frontier) - found
        found |= frontier
    return found


def _with_linked(around: Neighbourhood, graph: KeyGraph, traces: AbstractSet[str]) -> set[str]:
    """Return *traces* and those that they lead to over links, which *graph* learns."""
    found, frontier = set(traces), set(traces)
    for _ in range(HOPS):
        links = around.span_links(frontier)
        for link in links:
            graph.beside.add_link(link)
        frontier = {link.linked_trace_id for link in links} - found
        found |= frontier
    return found


def _learn_upward(known: _Keys, graph: KeyGraph, steps: Iterable[Step]) -> None:
    """Teach *graph* every link and scope on the way up from *steps*, as far as it has not learnt them."""
    flow = graph.flow
    frontier = {_value(key) for step in steps for key in _said_of(graph, step) if key.type in flow.keys} - graph.learnt
    while frontier:
        graph.learnt |= frontier
        for row in known.scopes(frontier):
            graph.add_scope(row.key)
        parents = set()
        for link in known.up(frontier):
            graph.add_link(link)
            parents.add(_value(link.parent))
        frontier = parents - graph.learnt


def _said_of(graph: KeyGraph, step: Step) -> Iterable[Key]:
    """Return the keys that a step carries, and those that it was confirmed for."""
    return (*step.keys, *(key for key, _ in graph.corrections.confirmed_for(step)))


def _seen(link: KeyLink) -> tuple[datetime, str, str]:
    return link.at, link.trace_id, link.span_id


def _name(link: KeyLink) -> tuple[Key, Key, str, str]:
    return link.child, link.parent, link.trace_id, link.span_id


def _value(key: tuple[str, str, str]) -> Value:
    return key[0], key[2]


def _id(step: Step) -> StepId:
    return step.trace_id, step.span_id
