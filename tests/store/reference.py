"""Resolution once more, slow and plain: the rules of keys and flows over everything that was ever seen, set by set.

Nothing is remembered or updated but the scopes that each value was seen with: each question is answered by looking at all
steps again. Takes the flow, the steps, the span links and the corrections in any order; gives the place of each step: the
anchors it belongs to and by which evidence, or why to none.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from controltower.store.flows.beside import StepId
from controltower.store.flows.definition import Flow
from controltower.store.rows import Correction, Key, SpanLink, Step

HOPS = 3
ALIASES = 25


class Place(NamedTuple):
    """Where a step belongs. ``how`` is ``key``, ``trace`` or ``link`` with anchors, ``parked`` or ``ambiguous`` without."""

    how: str
    anchors: frozenset[Key] = frozenset()


class Reached(NamedTuple):
    """What lies above a key: anchors, and whether a way was refused because it led to too many."""

    anchors: frozenset[Key]
    refused: bool = False


def same(key: Key, named: Key) -> bool:
    """Whether two keys may be one: of the same type and value, and of no two scopes."""
    return (key.type, key.value) == (named.type, named.value) and (
        not key.scope or not named.scope or key.scope == named.scope
    )


class Reference:
    """All that was seen of one flow."""

    def __init__(
        self,
        flow: Flow,
        steps: Iterable[Step],
        links: Iterable[SpanLink] = (),
        corrections: Iterable[Correction] = (),
    ) -> None:
        self.flow = flow
        self.steps = list(steps)
        self.scopes: dict[tuple[str, str], set[str]] = defaultdict(set)
        for key in (key for step in self.steps for key in step.keys if key.scope):
            self.scopes[key.type, key.value].add(key.scope)
        self.links = list(links)
        self.corrections = [one for one in corrections if self._holds(one, list(corrections))]
        self.pairs: list[tuple[Key, Key, datetime | None]] = []  # without a time: confirmed
        self.aliases: list[tuple[Key, Key]] = []
        for step in self.steps:
            lost = self._of_step(step, "cut")
            self.pairs += [
                pair for pair in self._pairs(step) if not any(same(key, one) for key in pair[:2] for one in lost)
            ]
            self.aliases += [
                pair for pair in self._same(step) if not any(same(key, one) for key in pair for one in lost)
            ]
        for one in self.corrections:
            if one.action == "confirm" and not one.span_id and one.key.type in self.flow.keys:
                if one.key.type == one.other.type:
                    self.aliases += [(one.key, one.other), (one.other, one.key)]
                elif one.other.type in self.flow.ancestors[one.key.type]:
                    self.pairs.append((one.key, one.other, None))

    def places(self) -> dict[StepId, Place]:
        """Return the place of every step."""
        return {(step.trace_id, step.span_id): self.place(step) for step in self.steps}

    def place(self, step: Step) -> Place:
        """Return where one step belongs."""
        first = self.flow.anchors[0]
        own = [key for key in self._carried(step) if self.flow.joins(key.type, step.stage)]
        said = [*own, *(key for key in self._of_step(step, "confirm") if key.type in self.flow.keys)]
        cut = self._of_step(step, "cut")
        clear = {key for one in said if (key := self.clear(one)) is not None}
        keys = {key for key in clear if not any(same(key, named) for named in cut)}
        unclear = {key.type for key in said if self.clear(key) is None}
        if named := frozenset(key for key in keys if key.type == first):
            return Place("key", named)
        if first in unclear:
            return Place("ambiguous")
        types = {key.type for key in keys}
        lowest = {key for key in keys if not self.flow.ancestors[key.type] & types}
        reached = {key: self._without_cut(step, self.reached(key, step.at)) for key in lowest}
        if any(each.anchors for each in reached.values()):
            return self._agreed(reached)
        if unclear or any(each.refused for each in reached.values()):
            return Place("ambiguous")
        return self._beside(step, keys)

    @staticmethod
    def _agreed(reached: dict[Key, Reached]) -> Place:
        """Keys of one type add up; keys of several types must agree."""
        found = {key.type for key, each in reached.items() if each.anchors}
        per_type = [
            frozenset().union(*(each.anchors for key, each in reached.items() if key.type == one)) for one in found
        ]
        common = frozenset.intersection(*per_type)
        return Place("key", common) if common else Place("ambiguous")

    def _beside(self, step: Step, keys: set[Key]) -> Place:
        """Let the trace decide, else the links of the step, else those of its trace when that says nothing."""
        anchors = {name for name in self.flow.anchors if self.flow.joins(name, step.stage)}
        above = {name for key in keys for name in self.flow.ancestors[key.type]} if keys else anchors
        told = [] if step.run_id else [each for each in self.steps if each.trace_id == step.trace_id]
        trace = {key for each in told for key in self._carried(each)}
        own = [link for link in self.links if (link.trace_id, link.span_id) == (step.trace_id, step.span_id)]
        behind = self._behind(own, step.trace_id, above)
        found = self._single(step, keys, above, trace, "trace") or self._single(
            step, keys, above, behind | keys, "link"
        )
        if found is None and not step.run_id and not any(key.type in above for key in trace | behind):
            links = [link for link in self.links if link.trace_id == step.trace_id]
            behind = self._behind(links, step.trace_id, above)
            found = self._single(step, keys, above, behind | trace, "link")
        return found or Place("parked")

    def _behind(self, links: list[SpanLink], came_from: str, above: set[str]) -> set[Key]:
        """Return the keys of the nearest spans behind *links* that say one of the types *above*: of steps, else traces."""
        passed = {came_from}
        for _ in range(HOPS):
            keys: set[Key] = set()
            for link in links:
                said = [each for each in self.steps if each.trace_id == link.linked_trace_id]
                exactly = [each for each in said if each.span_id == link.linked_span_id]
                if any(key.type in above for each in exactly for key in self._carried(each)):
                    said = exactly
                keys |= {key for each in said for key in self._carried(each)}
            if any(key.type in above for key in keys):
                return keys
            reached = {link.linked_trace_id for link in links} - passed
            passed |= reached
            links = [each for each in self.links if each.trace_id in reached and each.linked_trace_id not in passed]
        return set()

    def _single(self, step: Step, keys: set[Key], above: set[str], beside: set[Key], how: str) -> Place | None:
        """Decide by what was said *beside* when it holds one value of a key above, and one of each of the step's types."""
        if any(len({self.clear(key) for key in beside if key.type == own.type}) > 1 for own in keys):
            return None
        for name in sorted(above, key=lambda name: (len(self.flow.ancestors[name]), name)):
            values = {self.clear(key) for key in beside if key.type == name}
            if len(values) == 1 and (value := next(iter(values))) is not None:
                if how == "trace" and not self._says_itself(step, value):
                    continue
                found = self._without_cut(step, self.reached(value, step.at))
                cut = any(same(value, named) for named in self._of_step(step, "cut"))
                if found.anchors and not cut and not any(self._cut(key, value) for key in keys):
                    return Place(how, found.anchors)
        return None

    def _says_itself(self, step: Step, value: Key) -> bool:
        """Whether another kind of step in the trace says *value*, or this one."""
        return any(
            each.trace_id == step.trace_id
            and (each.step != step.step or each.span_id == step.span_id)
            and any(self.clear(key) == value for key in self._carried(each))
            for each in self.steps
        )

    def _without_cut(self, step: Step, found: Reached) -> Reached:
        cut = self._of_step(step, "cut")
        return Reached(
            frozenset(anchor for anchor in found.anchors if not any(same(anchor, named) for named in cut)),
            found.refused,
        )

    def reached(self, key: Key, at: datetime) -> Reached:
        """Return what lies above *key*, whose number was in use at *at*."""
        if key.type == self.flow.anchors[0]:
            return Reached(frozenset({key}))
        spec = self.flow.keys[key.type]
        parents = self._parents(key, at)
        if len(parents) > spec.fanout:
            return Reached(frozenset(), refused=True)
        if not spec.shared and sum(parent.type == spec.parent for parent in parents) > 1:
            return Reached(frozenset(), refused=True)
        above = [self.reached(parent, seen_at) for parent, seen_at in parents.items()]
        anchors = frozenset(anchor for each in above for anchor in each.anchors)
        if not anchors and key.type in self.flow.anchors:
            return Reached(frozenset({key}))
        return Reached(anchors, any(each.refused for each in above))

    def clear(self, key: Key) -> Key | None:
        """Return the key with its scope, as the first of its aliases; None where several scopes fit."""
        scoped = self._scoped(key)
        return min(self._names(scoped)) if scoped else None

    def _names(self, key: Key) -> set[Key]:
        """Return the numbers of the document that *key* is a number of."""
        names = {key}
        pairs = [(self._scoped(one), self._scoped(other)) for one, other in self.aliases]
        whole = {(one, other) for one, other in pairs if one and other and not self._pair_cut(one, other)}
        while more := {other for one, other in whole if one in names} - names:
            names |= more
        return names if len(names) <= ALIASES else {key}

    def _scoped(self, key: Key) -> Key | None:
        """Return the key with its scope: its own, else the only one its value was ever seen with; None for several."""
        if key.scope:
            return key
        scopes = self.scopes[key.type, key.value]
        return None if len(scopes) > 1 else Key(key.type, next(iter(scopes), ""), key.value)

    def _parents(self, key: Key, at: datetime) -> dict[Key, datetime]:
        """Return the keys seen above *key*, each with the first time within the fence of *key* around *at*."""
        spec = self.flow.keys[key.type]
        found: dict[Key, datetime] = {}
        confirmed: dict[Key, datetime] = {}
        for child, parent, seen_at in self.pairs:
            scoped = self.clear(parent)
            if scoped is None or self.clear(child) != key or self._cut(key, scoped):
                continue
            if seen_at is None:
                confirmed[scoped] = at
            elif spec.fence is None or abs(seen_at - at) <= spec.fence.span:
                found[scoped] = min(seen_at, found.get(scoped, seen_at))
        both = found | confirmed
        return confirmed if confirmed and (not spec.shared or len(both) > spec.fanout) else both

    def _holds(self, one: Correction, said: list[Correction]) -> bool:
        """Whether a correction is the last that was said about its pair and not undone."""
        undone = {each.undoes for each in said if each.action == "undo"}
        rivals = [
            each for each in said if each.subject == one.subject and each.action != "undo" and each.id not in undone
        ]
        return one in rivals and all((each.at, each.id) <= (one.at, one.id) for each in rivals)

    def _of_step(self, step: Step, action: str) -> list[Key]:
        ids = step.trace_id, step.span_id
        return [one.other for one in self.corrections if (one.trace_id, one.span_id) == ids and one.action == action]

    def _carried(self, step: Step) -> list[Key]:
        return [key for key in step.keys if not any(same(key, named) for named in self._of_step(step, "cut"))]

    def _cut(self, key: Key, other: Key) -> bool:
        """Whether two documents were cut from each other, under any of their numbers."""
        return any(self._pair_cut(one, two) for one in self._names(key) for two in self._names(other))

    def _pair_cut(self, key: Key, other: Key) -> bool:
        cut = [(one.key, one.other) for one in self.corrections if one.action == "cut" and not one.span_id]
        return any((same(key, a) and same(other, b)) or (same(key, b) and same(other, a)) for a, b in cut)

    def _pairs(self, step: Step) -> Iterable[tuple[Key, Key, datetime]]:
        """Yield each key of a step with those of the nearest type above it."""
        keys = self._joinable(step)
        for child in keys:
            kind = self.flow.keys[child.type].parent
            while kind is not None and all(key.type != kind for key in keys):
                kind = self.flow.keys[kind].parent
            yield from ((child, parent, step.at) for parent in keys if parent.type == kind)

    def _same(self, step: Step) -> Iterable[tuple[Key, Key]]:
        """Yield each two keys of a step that are one document: where it says so, and tokens of several versions."""
        keys = self._joinable(step)
        for key in keys:
            named = [other for other in keys if other.type == key.type]
            versions = {re.sub(r"(?i)^t(\d+):[a-z2-7]{26}$", r"\1", other.value) for other in named}
            tokens = len(versions) == len(named) == sum(len(other.value) > 26 for other in named)
            if step.step.endswith(".link.declared") or (tokens and len({other.scope for other in named}) == 1):
                yield from ((key, other) for other in named if other != key)

    def _joinable(self, step: Step) -> list[Key]:
        return [key for key in step.keys if key.type in self.flow.keys]
