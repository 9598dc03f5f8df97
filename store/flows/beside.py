"""What stands beside a step that its own keys do not place: the keys of its trace, and what its span links lead to. Pure.

A message is received in another trace than it was sent in, and a span link is all that joins the two. A link leads to the
keys of the span it names, when that is a step with keys, else to those of the whole trace behind it; a trace without keys
is passed through, over ``HOPS`` links at most.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from controltower.store.rows import Key, SpanLink, Step

StepId = tuple[str, str]  # trace id, span id
Seen = Mapping[str, Mapping[Key, StepId]]  # key type -> key -> the first span that carries it

HOPS: Final = 3  # links from a step to what it was caused by: through a broker and a service that says nothing


@dataclass(slots=True)
class Beside:
    """The keys of some traces, and the links between their spans. Adding the same fact twice changes nothing."""

    traces: dict[str, dict[str, dict[Key, StepId]]] = field(default_factory=dict)
    spans: dict[StepId, dict[str, dict[Key, StepId]]] = field(default_factory=dict)
    links: dict[str, set[StepId]] = field(default_factory=lambda: defaultdict(set))  # trace -> spans it links to
    own: dict[StepId, set[StepId]] = field(default_factory=lambda: defaultdict(set))  # span -> spans it links to
    sayers: dict[tuple[str, Key], set[tuple[str, str]]] = field(
        default_factory=lambda: defaultdict(set)
    )  # in a trace: codes, spans

    def add_step(self, step: Step, keys: Iterable[Key]) -> None:
        """Learn the *keys* that a step says."""
        step_id = step.trace_id, step.span_id
        trace = self.traces.setdefault(step.trace_id, {})
        span = self.spans.setdefault(step_id, {})
        for key in keys:
            seen = trace.setdefault(key.type, {})
            seen[key] = min(seen.get(key, step_id), step_id)
            span.setdefault(key.type, {})[key] = step_id
            self.sayers[step.trace_id, key].add((step.step, step.span_id))

    def add_link(self, link: SpanLink) -> None:
        """Learn that one span links to another one."""
        there = link.linked_trace_id, link.linked_span_id
        self.links[link.trace_id].add(there)
        self.own[link.trace_id, link.span_id].add(there)

    def of_trace(self, step: Step) -> Seen:
        """Return the keys of the step's trace."""
        return self.traces.get(step.trace_id, {})

    def says_itself(self, step: Step, key: Key) -> bool:
        """Whether *key* in the step's trace is more than what other steps of the same code say of themselves."""
        return any(code != step.step or span == step.span_id for code, span in self.sayers[step.trace_id, key])

    def behind_span(self, step: Step, wanted: Iterable[str]) -> Seen:
        """Return the keys behind the links of the step's own span: those of the nearest hop with keys of *wanted* types."""
        return self._behind(self.own.get((step.trace_id, step.span_id), ()), step.trace_id, set(wanted))

    def behind_trace(self, step: Step, wanted: Iterable[str]) -> Seen:
        """Return the keys behind the links of any span of the step's trace, likewise."""
        return self._behind(self.links.get(step.trace_id, ()), step.trace_id, set(wanted))

    def _behind(self, there: Iterable[StepId], came_from: str, wanted: set[str]) -> Seen:
        passed = {came_from}
        frontier = set(there)
        for _ in range(HOPS):
            seen = merged(self._at(span, wanted) for span in frontier)
            if wanted & seen.keys():
                return seen
            traces = {trace_id for trace_id, _ in frontier} - passed
            passed |= traces
            frontier = {span for trace_id in traces for span in self.links.get(trace_id, ()) if span[0] not in passed}
        return {}

    def _at(self, span: StepId, wanted: set[str]) -> Seen:
        """Return the keys of the span, when it says any that are wanted, else those of its trace."""
        own = self.spans.get(span, {})
        return own if wanted & own.keys() else self.traces.get(span[0], {})


def merged(parts: Iterable[Seen]) -> Seen:
    """Return the keys of all *parts*, each with the first span that carries it."""
    found: dict[str, dict[Key, StepId]] = defaultdict(dict)
    for part in parts:
        for kind, keys in part.items():
            for key, span in keys.items():
                found[kind][key] = min(found[kind].get(key, span), span)
    return found
