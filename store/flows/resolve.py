"""From steps and links to transactions: which anchors a step belongs to, and why. Pure and independent of order.

The rules, per step:

1. A step that carries the first anchor's key belongs to that anchor.
2. Any other step walks from its keys up the flow's key tree, over links: two keys seen on one step. A key whose
   ancestor stands on the same step is not walked, the ancestor says it better. Where keys of several types find
   anchors, the step belongs to those that all of them agree on.
3. A branch that finds no first anchor stops at the next anchor type it meets (an invoice without an order).
4. A step that finds nothing by its own keys looks at its trace, if that trace holds a single value of a key above it.
5. A key without scope stands for the one scope its value is known with; with two, for none.
6. Two ways where one may be true: neither. Too many ways, or a number used again later: not a way.
7. While the key for tokens changes, a step carries two tokens of each value. Those of one version belong together: each
   version has all ways of its own, and is not a second value beside the other.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from controltower.store.flows.definition import Flow
from controltower.store.rows import Key, KeyLink, Step, Via

_TOKEN = re.compile("t([0-9]{1,4}):[A-Z2-7]{26}")  # docs/redaction.md

StepId = tuple[str, str]  # trace id, span id
Value = tuple[str, str]  # key type, value: a key whatever its scope


class Parked(NamedTuple):
    """Why a step belongs to no transaction."""

    state: Literal["parked", "ambiguous"]
    reason: str
    candidates: tuple[Key, ...]


class Membership(NamedTuple):
    """One transaction that a step belongs to."""

    anchor: Key
    evidence: str
    via: tuple[Via, ...]
    through: tuple[Key, ...]


class Resolution(NamedTuple):
    """All transactions a step belongs to, or why it belongs to none."""

    memberships: tuple[Membership, ...] = ()
    parked: Parked | None = None


@dataclass(slots=True)
class KeyGraph:
    """What is known of the keys around some steps: links upward, scopes, and the keys of their traces.

    Built once per cycle; adding the same fact twice changes nothing.
    """

    flow: Flow
    links: dict[Value, list[KeyLink]] = field(default_factory=lambda: defaultdict(list))
    scopes: dict[Value, set[str]] = field(default_factory=lambda: defaultdict(set))
    traces: dict[str, dict[str, dict[Key, str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    learnt: set[Value] = field(default_factory=set)  # values whose links and scopes are all here

    def add_link(self, link: KeyLink) -> None:
        """Learn that child and parent were seen on one step."""
        self.links[link.child.type, link.child.value].append(link)
        self.add_scope(link.child)
        self.add_scope(link.parent)

    def add_scope(self, key: Key) -> None:
        """Learn a scope that a value is known with."""
        if key.scope:
            self.scopes[key.type, key.value].add(key.scope)

    def add_trace(self, step: Step) -> None:
        """Learn the keys that a trace holds."""
        for key in step.keys:
            seen = self.traces[step.trace_id][key.type]
            seen[key] = min(seen.get(key, step.span_id), step.span_id)

    def canonical(self, key: Key) -> Key | None:
        """Return *key* with its scope inferred, or None when two scopes fit."""
        if key.scope:
            return key
        known = self.scopes.get((key.type, key.value), ())
        if len(known) > 1:
            return None
        return Key(key.type, next(iter(known), ""), key.value)

    def scoped(self, key: Key) -> tuple[Key, ...]:
        """Return every scoped key that an unscoped one could stand for."""
        return tuple(Key(key.type, scope, key.value) for scope in sorted(self.scopes[key.type, key.value]))

    def parents(self, key: Key, at: datetime) -> dict[Key, KeyLink]:
        """Return parent -> the first link to it, within the key's fence around *at*."""
        above, fence = self.flow.ancestors[key.type], self.flow.fences.get(key.type)
        found: dict[Key, KeyLink] = {}
        for link in self.links.get((key.type, key.value), ()):
            if link.parent.type not in above:
                continue  # a link of another version of the flow
            if fence is not None and abs(link.at - at) > fence:
                continue
            if self.canonical(link.child) != key or (parent := self.canonical(link.parent)) is None:
                continue
            if parent not in found or _earlier(link, found[parent]):
                found[parent] = link
        return found


def _earlier(link: KeyLink, other: KeyLink) -> bool:
    return (link.at, link.trace_id, link.span_id) < (other.at, other.trace_id, other.span_id)


class Way(NamedTuple):
    """A way from a key up to an anchor: the links taken, lowest first."""

    anchor: Key
    links: tuple[tuple[Key, KeyLink], ...] = ()  # (parent reached, link over which)


class Climb(NamedTuple):
    """What the walk up from one key found."""

    ways: dict[Key, Way]  # anchor -> the shortest, earliest way
    above: dict[Key, frozenset[Key]]  # key reached -> the anchors it leads to
    blocked: tuple[Parked, ...] = ()


class Resolver:
    """Resolves the steps of one flow over one graph; remembers the climb of each key, never mutates the graph."""

    def __init__(self, flow: Flow, graph: KeyGraph) -> None:
        self._flow = flow
        self._graph = graph
        self._climbs: dict[tuple[Key, datetime | None], Climb] = {}

    def resolve(self, step: Step) -> Resolution:
        """Return where *step* belongs."""
        keys, unclear = self._own_keys(step)
        first = self._flow.anchors[0]
        direct = [key for key in keys if key.type == first]
        if direct:
            return self._carried(step, direct, keys)
        if clash := [parked for parked in unclear if parked.candidates and parked.candidates[0].type == first]:
            return Resolution(parked=clash[0])
        found, blocked = self._climb_all(keys, step.at)
        if found:
            return self._agreed(step, found)
        if blocked := [*unclear, *blocked]:
            return Resolution(parked=min(blocked))
        return self._by_trace(step, keys)

    def _own_keys(self, step: Step) -> tuple[list[Key], list[Parked]]:
        """Return the step's joinable keys with their scopes inferred, and what was unclear about the others."""
        keys: dict[Key, None] = {}
        unclear = []
        for key in step.keys:
            if not self._flow.joins(key.type, step.stage):
                continue
            if (clear := self._graph.canonical(key)) is None:
                reason = f"{key.type} {key.value} is known in several scopes and this step names none"
                unclear.append(Parked("ambiguous", reason, self._graph.scoped(key)))
            else:
                keys[clear] = None
        return list(keys), unclear

    def _carried(self, step: Step, direct: list[Key], keys: list[Key]) -> Resolution:
        found, _ = self._climb_all([key for key in keys if key.type != direct[0].type], step.at, prune=False)
        above = _leading_to(found.values(), keys)
        memberships = [
            Membership(
                anchor=anchor,
                evidence="key",
                via=(Via(*anchor, "key", step.trace_id, step.span_id),),
                through=above.get(anchor, ()),
            )
            for anchor in sorted(set(direct))
        ]
        return Resolution(tuple(memberships))

    def _climb_all(self, keys: list[Key], at: datetime, *, prune: bool = True) -> tuple[dict[Key, Climb], list[Parked]]:
        types = {key.type for key in keys}
        found: dict[Key, Climb] = {}
        blocked: list[Parked] = []
        for key in keys:
            if prune and not self._flow.ancestors[key.type].isdisjoint(types):
                continue
            climb = self.climb(key, at)
            if climb.ways:
                found[key] = climb
            blocked.extend(climb.blocked)
        return found, blocked

    def _agreed(self, step: Step, found: dict[Key, Climb]) -> Resolution:
        """Join the anchors that keys of every type agree on."""
        by_type: dict[str, dict[Key, tuple[Key, Way]]] = defaultdict(dict)
        for key in sorted(found):
            for anchor, way in found[key].ways.items():
                by_type[key.type].setdefault(anchor, (key, way))
        first, *others = by_type.values()
        agreed = [anchor for anchor in first if all(anchor in ways for ways in others)]
        if not agreed:
            candidates = tuple(sorted({anchor for ways in by_type.values() for anchor in ways}))
            reason = f"its keys lead to different transactions ({', '.join(sorted(by_type))})"
            return Resolution(parked=Parked("ambiguous", reason, candidates))
        above = _leading_to(found.values(), found)
        memberships = []
        for anchor in sorted(agreed):
            key, way = min((ways[anchor] for ways in by_type.values()), key=_nearest_way)
            memberships.append(Membership(anchor, "key", _via(step, key, way), above.get(anchor, ())))
        return Resolution(tuple(memberships))

    def _by_trace(self, step: Step, keys: list[Key]) -> Resolution:
        """Use the trace when it leaves no choice: one value of the key above, and one of the step's own."""
        trace = self._graph.traces.get(step.trace_id, {})
        own = [list(trace.get(key.type, ())) for key in keys]
        for parent in self._above(keys):
            clear = {self._graph.canonical(key) for key in trace.get(parent, ())}
            values = sorted(key for key in clear if key is not None)
            if len(values) < len(clear) or not all(map(_one_of_each_version, (values, *own))):
                continue
            found = {
                member.anchor: member
                for above in reversed(values)
                for member in self._traced(step, above, trace[parent], self.climb(above, step.at))
            }
            if found:
                return Resolution(tuple(found[anchor] for anchor in sorted(found)))
        return Resolution(parked=self._waiting(step, keys))

    def _above(self, keys: list[Key]) -> list[str]:
        """Return the key types that could lift the step, nearest to the anchor first."""
        types = {up for key in keys for up in self._flow.ancestors[key.type]} if keys else set(self._flow.anchors)
        return sorted(types, key=lambda name: (len(self._flow.ancestors[name]), name))

    def _traced(self, step: Step, above: Key, seen: Mapping[Key, str], climb: Climb) -> Iterable[Membership]:
        span_id = min(seen.values())
        higher = _leading_to([climb], [])
        for anchor in sorted(climb.ways):
            start = Via(*above, "trace", step.trace_id, span_id)
            yield Membership(
                anchor=anchor,
                evidence="trace",
                via=(start, *_hops(climb.ways[anchor])),
                through=higher.get(anchor, ()) + ((above,) if above != anchor else ()),
            )

    def _waiting(self, step: Step, keys: list[Key]) -> Parked:
        if not keys and any(key.type in self._flow.keys for key in step.keys):
            wanted = ", ".join(self._flow.stage_by_name[step.stage].joined_by)
            return Parked("parked", f"it carries none of the keys that its stage is joined by: {wanted}", ())
        if not keys:
            return Parked("parked", "it carries no key of the flow", ())
        named = ", ".join(f"{key.type} {key.value}" for key in sorted(keys)[:3])
        return Parked("parked", f"no link from {named} to {' or '.join(self._flow.anchors)} was seen yet", ())

    def climb(self, key: Key, at: datetime) -> Climb:
        """Walk up from *key*; *at* is when the number was in use, for keys whose numbers are used again."""
        remembered = (key, at if key.type in self._flow.fences else None)
        climb = self._climbs.get(remembered)
        if climb is None:
            climb = self._climbs[remembered] = self._climb(key, at)
        return climb

    def _climb(self, key: Key, at: datetime) -> Climb:
        if key.type == self._flow.anchors[0]:
            return Climb({key: Way(key)}, {})
        spec = self._flow.keys[key.type]
        parents = self._graph.parents(key, at)
        if len(parents) > spec.fanout:
            reason = f"{key.type} {key.value} leads to {len(parents)} {spec.parent} keys, more than its fan-out limit {spec.fanout}"
            return Climb({}, {}, (Parked("ambiguous", reason, tuple(sorted(parents)[:20])),))
        nearest = sorted(parent for parent in parents if parent.type == spec.parent)
        if len(nearest) > 1 and not spec.shared:
            reason = f"{key.type} {key.value} leads to {len(nearest)} {spec.parent} keys and may have one"
            return Climb({}, {}, (Parked("ambiguous", reason, tuple(nearest[:20])),))
        found = self._over(parents)
        if not found.ways and key.type in self._flow.anchors:
            return Climb({key: Way(key)}, {}, ())
        return found

    def _over(self, parents: dict[Key, KeyLink]) -> Climb:
        """Climb on from every parent and put what they found together."""
        if len(parents) == 1:
            return self._over_one(*next(iter(parents.items())))
        ways: dict[Key, Way] = {}
        above: dict[Key, set[Key]] = defaultdict(set)
        blocked: list[Parked] = []
        for parent in sorted(parents):
            link = parents[parent]
            climb = self.climb(parent, link.at)
            blocked.extend(climb.blocked)
            above[parent] |= set(climb.ways)
            for reached, anchors in climb.above.items():
                above[reached] |= anchors
            for anchor, way in climb.ways.items():
                longer = Way(anchor, ((parent, link), *way.links))
                if anchor not in ways or len(longer.links) < len(ways[anchor].links):
                    ways[anchor] = longer
        return Climb(ways, {key: frozenset(anchors) for key, anchors in above.items()}, tuple(blocked))

    def _over_one(self, parent: Key, link: KeyLink) -> Climb:
        climb = self.climb(parent, link.at)
        ways = {anchor: Way(anchor, ((parent, link), *way.links)) for anchor, way in climb.ways.items()}
        own = frozenset(climb.ways) | climb.above.get(parent, frozenset())
        return Climb(ways, {**climb.above, parent: own}, climb.blocked)


def _nearest_way(found: tuple[Key, Way]) -> tuple[int, Key]:
    key, way = found
    return len(way.links), key


def _hops(way: Way) -> tuple[Via, ...]:
    return tuple(Via(*parent, "key", link.trace_id, link.span_id) for parent, link in way.links)


def _via(step: Step, key: Key, way: Way) -> tuple[Via, ...]:
    return (Via(*key, "key", step.trace_id, step.span_id), *_hops(way))


def _leading_to(found: Iterable[Climb], own: Iterable[Key]) -> dict[Key, tuple[Key, ...]]:
    """Return anchor -> the keys above the step's own that lead to it, without the anchor itself."""
    above: dict[Key, set[Key]] = defaultdict(set)
    carried = set(own)
    for climb in found:  # few of them lead over a key that the step does not carry itself
        for key, anchors in climb.above.items():
            if key not in carried:
                for anchor in anchors:
                    above[anchor].add(key)
    return {anchor: tuple(sorted(keys - {anchor})) for anchor, keys in above.items()}


def links_of(flow: Flow, step: Step, version: int) -> list[KeyLink]:
    """Return the links that one step is evidence for: each key with those of the nearest type above it on the step."""
    by_type: dict[str, list[Key]] = defaultdict(list)
    for key in step.keys:
        if key.type in flow.keys:
            by_type[key.type].append(key)
    return [
        KeyLink(flow.flow, child, parent, step.trace_id, step.span_id, step.at, version)
        for child_type, children in by_type.items()
        for child in children
        for parent in _together(child, by_type.get(_nearest(flow, child_type, by_type), ()))
    ]


def _together(child: Key, parents: Sequence[Key]) -> Sequence[Key]:
    """Return the *parents* that stand for the same document's as *child*: of tokens those that the same key made."""
    version = _version(child)
    same = [parent for parent in parents if _version(parent) == version] if version else ()
    return same or parents


def _one_of_each_version(keys: Collection[Key]) -> bool:
    """Return whether *keys* are one value: one key, or its tokens by different keys for tokens."""
    versions = {_version(key) for key in keys}
    return len(keys) <= 1 or (len(versions) == len(keys) and "" not in versions)


def _version(key: Key) -> str:
    """Return which key for tokens made a token; nothing for what is none."""
    token = _TOKEN.fullmatch(key.value)
    return token[1] if token else ""


def _nearest(flow: Flow, key_type: str, present: Mapping[str, object]) -> str:
    """Return the nearest type above *key_type* among *present*, or an empty text."""
    above = flow.keys[key_type].parent
    for _ in flow.keys:
        if above is None or above in present:
            break
        above = flow.keys[above].parent
    return above if above is not None and above in present else ""
