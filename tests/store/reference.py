"""Resolution once more, slow and plain: the rules of keys and flows over everything that was ever seen, set by set.

Nothing is remembered, indexed or updated: each question is answered by looking at all steps again. Takes the flow and the
steps in any order; gives the place of each step: the anchors it belongs to and by which evidence, or why to none.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from controltower.store.flows.definition import Flow
from controltower.store.flows.resolve import StepId
from controltower.store.rows import Key, Step


class Place(NamedTuple):
    """Where a step belongs. ``how`` is ``key`` or ``trace`` with anchors, ``parked`` or ``ambiguous`` without."""

    how: str
    anchors: frozenset[Key] = frozenset()


class Reached(NamedTuple):
    """What lies above a key: anchors, and whether a way was refused because it led to too many."""

    anchors: frozenset[Key]
    refused: bool = False


class Reference:
    """All that was seen of one flow."""

    def __init__(self, flow: Flow, steps: Iterable[Step]) -> None:
        self.flow = flow
        self.steps = list(steps)
        self.pairs = [pair for step in self.steps for pair in self._pairs(step)]

    def places(self) -> dict[StepId, Place]:
        """Return the place of every step."""
        return {(step.trace_id, step.span_id): self.place(step) for step in self.steps}

    def place(self, step: Step) -> Place:
        """Return where one step belongs."""
        first = self.flow.anchors[0]
        placing = [key for key in step.keys if self.flow.joins(key.type, step.stage)]
        known = {self.clear(key) for key in placing} - {None}
        keys = {key for key in known if key is not None}
        unclear = {key.type for key in placing if self.clear(key) is None}
        if named := frozenset(key for key in keys if key.type == first):
            return Place("key", named)
        if first in unclear:
            return Place("ambiguous")
        types = {key.type for key in keys}
        lowest = {key for key in keys if not self.flow.ancestors[key.type] & types}
        reached = {key: self.reached(key, step.at) for key in lowest}
        if any(each.anchors for each in reached.values()):
            return self._agreed(reached)
        if unclear or any(each.refused for each in reached.values()):
            return Place("ambiguous")
        return self._of_trace(step, keys)

    @staticmethod
    def _agreed(reached: dict[Key, Reached]) -> Place:
        """Keys of one type add up; keys of several types must agree."""
        found = {key.type for key, each in reached.items() if each.anchors}
        per_type = [
            frozenset().union(*(each.anchors for key, each in reached.items() if key.type == one)) for one in found
        ]
        common = frozenset.intersection(*per_type)
        return Place("key", common) if common else Place("ambiguous")

    def _of_trace(self, step: Step, keys: set[Key]) -> Place:
        """Let the trace decide when it holds one value of a key above, and one of each of the step's own types."""
        beside = {key for each in self.steps if each.trace_id == step.trace_id for key in each.keys}
        above = {name for key in keys for name in self.flow.ancestors[key.type]} if keys else set(self.flow.anchors)
        if any(sum(key.type == own.type for key in beside) > 1 for own in keys):
            return Place("parked")
        for name in sorted(above, key=lambda name: (len(self.flow.ancestors[name]), name)):
            values = {self.clear(key) for key in beside if key.type == name}
            if len(values) == 1 and (value := next(iter(values))) is not None:
                found = self.reached(value, step.at)
                if found.anchors:
                    return Place("trace", found.anchors)
        return Place("parked")

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
        """Return the key with its scope: its own, else the only one its value was ever seen with; None for several."""
        if key.scope:
            return key
        scopes = {
            other.scope
            for step in self.steps
            for other in step.keys
            if other.scope and (other.type, other.value) == (key.type, key.value)
        }
        return None if len(scopes) > 1 else Key(key.type, next(iter(scopes), ""), key.value)

    def _parents(self, key: Key, at: datetime) -> dict[Key, datetime]:
        """Return the keys seen above *key*, each with the first time within the fence of *key* around *at*."""
        fence = self.flow.keys[key.type].fence
        found: dict[Key, datetime] = {}
        for child, parent, seen_at in self.pairs:
            same = (child.type, child.value) == (key.type, key.value) and self.clear(child) == key
            if same and (fence is None or abs(seen_at - at) <= fence.span):
                scoped = self.clear(parent)
                if scoped is not None:
                    found[scoped] = min(seen_at, found.get(scoped, seen_at))
        return found

    def _pairs(self, step: Step) -> Iterable[tuple[Key, Key, datetime]]:
        """Yield each key of a step with those of the nearest type above it."""
        keys = self._joinable(step)
        for child in keys:
            kind = self.flow.keys[child.type].parent
            while kind is not None and all(key.type != kind for key in keys):
                kind = self.flow.keys[kind].parent
            yield from ((child, parent, step.at) for parent in keys if parent.type == kind)

    def _joinable(self, step: Step) -> list[Key]:
        return [key for key in step.keys if key.type in self.flow.keys]
