"""From steps and links to transactions: which anchors a step belongs to, and why. Pure and independent of order.

What people cut or confirmed (``corrections``) comes before the rules, which are, per step:

1. A step that carries the first anchor's key belongs to that anchor.
2. Any other step walks from its keys up the flow's key tree, over links: two keys seen on one step. A key whose
   ancestor stands on the same step is not walked, the ancestor says it better. Where keys of several types find
   anchors, the step belongs to those that all of them agree on.
3. A branch that finds no first anchor stops at the next anchor type it meets (an invoice without an order).
4. A step that finds nothing by its own keys looks at what stands beside it: its trace, if that holds a single value of a
   key above it, which is not only what steps of the same code say of themselves: those are other documents of one file;
   else what its span links lead to, likewise; else, when its trace says nothing, the links of that. A record of a run looks
   at its own links only: its trace is that of all records.
5. A key without scope stands for the one scope its value is known with; with two, for none.
6. Keys of one type that a step declares to be one document are one, under the first of them.
7. Two ways where one may be true: neither. Too many ways, or a number used again later: not a way. So it is with several
   anchors of a step of a ``single`` stage that names none itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from controltower.store.flows.beside import Seen, merged
from controltower.store.flows.corrections import CONFIRM, fits
from controltower.store.flows.definition import Flow
from controltower.store.flows.graph import KeyGraph
from controltower.store.rows import Key, KeyLink, Step, Via


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
    """Resolves the steps of one flow over one graph, which nobody may teach meanwhile: what each key stands for, and the
    climb from it, is worked out once."""

    def __init__(self, flow: Flow, graph: KeyGraph) -> None:
        self._flow = flow
        self._graph = graph
        self._any_cut = bool(graph.corrections.cut_steps)
        self._joined: dict[str, frozenset[str]] = {}  # stage -> types of keys that say where its steps belong
        self._canonicals: dict[Key, Key | None] = {}
        self._climbs: dict[Key | tuple[Key, datetime], Climb] = {}

    def resolve(self, step: Step) -> Resolution:
        """Return where *step* belongs."""
        keys, unclear = self._own_keys(step)
        first = self._flow.anchors[0]
        direct = [key for key in keys if key.type == first]
        if direct:
            return self._carried(step, direct, keys)
        if clash := [parked for parked in unclear if parked.candidates and parked.candidates[0].type == first]:
            return Resolution(parked=clash[0])
        found, blocked = self._climb_all(step, keys)
        if found:
            return self._alone(step, self._agreed(step, found))
        if blocked := [*unclear, *blocked]:
            return Resolution(parked=min(blocked))
        return self._alone(step, self._beside(step, keys))

    def _own_keys(self, step: Step) -> tuple[list[Key], list[Parked]]:
        """Return the step's joinable keys with their scopes inferred, and what was unclear about the others."""
        keys: dict[Key, None] = {}
        unclear = []
        for key in self._joining(step):
            if (clear := self._canonical(key)) is None:
                reason = f"{key.type} {key.value} is known in several scopes and this step names none"
                unclear.append(Parked("ambiguous", reason, self._graph.scoped(key)))
            elif not self._is_cut(step, clear):
                keys[clear] = None
        return list(keys), unclear

    def _joining(self, step: Step) -> Iterable[Key]:
        """Return the keys that say where *step* belongs, as they are said."""
        joined = self._joined.get(step.stage)
        if joined is None:
            types = (name for name in self._flow.keys if self._flow.joins(name, step.stage))
            joined = self._joined[step.stage] = frozenset(types)
        corrections = self._graph.corrections
        found = [key for key in corrections.carried(step) if key.type in joined]
        found.extend(key for key, _ in corrections.confirmed_for(step))
        return found

    def _canonical(self, key: Key) -> Key | None:
        """Return what *key* stands for: see ``KeyGraph.canonical``."""
        try:
            return self._canonicals[key]
        except KeyError:
            found = self._canonicals[key] = self._graph.canonical(key)
            return found

    def _carried(self, step: Step, direct: list[Key], keys: list[Key]) -> Resolution:
        found, _ = self._climb_all(step, [key for key in keys if key.type != direct[0].type], prune=False)
        above = _leading_to(found.values(), keys)
        return Resolution(
            tuple(_member(anchor, self._said(step, anchor), above.get(anchor, ())) for anchor in sorted(set(direct)))
        )

    def _climb_all(self, step: Step, keys: list[Key], *, prune: bool = True) -> tuple[dict[Key, Climb], list[Parked]]:
        types = {key.type for key in keys}
        found: dict[Key, Climb] = {}
        blocked: list[Parked] = []
        for key in keys:
            if prune and not self._flow.ancestors[key.type].isdisjoint(types):
                continue
            climb = self._climbed(step, key)
            if climb.ways:
                found[key] = climb
            blocked.extend(climb.blocked)
        return found, blocked

    def _agreed(self, step: Step, found: dict[Key, Climb]) -> Resolution:
        """Join the anchors that keys of every type agree on."""
        if len(found) == 1:
            ((only, climb),) = found.items()
            above = _leading_to((climb,), found)
            return Resolution(
                tuple(
                    _member(anchor, (*self._said(step, only), *self._hops(climb.ways[anchor])), above.get(anchor, ()))
                    for anchor in sorted(climb.ways)
                )
            )
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
            via = (*self._said(step, key), *self._hops(way))
            memberships.append(_member(anchor, via, above.get(anchor, ())))
        return Resolution(tuple(memberships))

    def _alone(self, step: Step, found: Resolution) -> Resolution:
        """Return what was *found*, unless it is several transactions for a step that is of one."""
        stage = self._flow.stage_by_name.get(step.stage)
        several = len(found.memberships)
        if several < 2 or stage is None or not stage.single:
            return found
        reason = f"its keys lead to {several} transactions, and a step of {stage.title or stage.name} is of one"
        return Resolution(parked=Parked("ambiguous", reason, tuple(each.anchor for each in found.memberships[:20])))

    def _said(self, step: Step, key: Key) -> tuple[Via, ...]:
        """Return the explanation that *step* says *key*, which may be under another of its numbers."""
        corrections = self._graph.corrections
        said = [own for own in corrections.carried(step) if self._is(own, key)]
        if said:
            return self._graph.hops(min(said), "key", (step.trace_id, step.span_id))
        confirmed, correction = min(pair for pair in corrections.confirmed_for(step) if self._is(pair[0], key))
        return self._graph.hops(confirmed, CONFIRM, ("", correction))

    def _is(self, said: Key, key: Key) -> bool:
        return said.type == key.type and self._canonical(said) == key

    def _hops(self, way: Way) -> list[Via]:
        return [
            hop
            for _, link in way.links
            for hop in self._graph.hops(link.parent, "key" if link.trace_id else CONFIRM, (link.trace_id, link.span_id))
        ]

    def _beside(self, step: Step, keys: list[Key]) -> Resolution:
        """Use what stands beside the step when it leaves no choice."""
        above, beside = self._above(step, keys), self._graph.beside
        trace = {} if step.run_id else beside.of_trace(step)
        behind = beside.behind_span(step, above)
        own = ({key.type: {key: (step.trace_id, step.span_id)}} for key in keys)
        found = self._lifted(step, keys, trace, "trace") or self._lifted(step, keys, merged((behind, *own)), "link")
        if not (found or behind or step.run_id or any(trace.get(name) for name in above)):
            behind = beside.behind_trace(step, above)
            found = self._lifted(step, keys, merged((behind, trace)), "link")
        return found or Resolution(parked=self._waiting(step, keys))

    def _lifted(self, step: Step, keys: list[Key], seen: Seen, evidence: str) -> Resolution | None:
        """Return the place of a step beside which keys were *seen*: one value of a key above, and one of each of its own."""
        if any(len({self._canonical(own) for own in seen.get(key.type, ())}) > 1 for key in keys):
            return None
        for parent in self._above(step, keys):
            values = {self._canonical(key) for key in seen.get(parent, ())}
            if len(values) != 1 or (above := values.pop()) is None:
                continue
            if self._is_cut(step, above) or any(self._graph.is_cut(key, above) for key in keys):
                continue
            if evidence == "trace" and not any(self._graph.beside.says_itself(step, key) for key in seen[parent]):
                continue
            climb = self._climbed(step, above)
            if climb.ways:
                said, span = min(seen[parent].items(), key=lambda pair: (pair[1], pair[0]))
                start = self._graph.hops(said, evidence, span)
                return Resolution(tuple(self._lifted_by(start, above, climb)))
        return None

    def _lifted_by(self, start: tuple[Via, ...], above: Key, climb: Climb) -> Iterable[Membership]:
        higher = _leading_to([climb], [])
        for anchor in sorted(climb.ways):
            through = higher.get(anchor, ()) + ((above,) if above != anchor else ())
            yield _member(anchor, (*start, *self._hops(climb.ways[anchor])), through)

    def _above(self, step: Step, keys: list[Key]) -> list[str]:
        """Return the key types that could lift the step, nearest to the anchor first."""
        anchors = {name for name in self._flow.anchors if self._flow.joins(name, step.stage)}
        types = {up for key in keys for up in self._flow.ancestors[key.type]} if keys else anchors
        return sorted(types, key=lambda name: (len(self._flow.ancestors[name]), name))

    def _waiting(self, step: Step, keys: list[Key]) -> Parked:
        if cut := self._graph.corrections.cut_from(step):
            named = ", ".join(f"{key.type} {key.value}" for key in sorted(cut))
            return Parked("parked", f"it was cut from {named}, and nothing else places it", tuple(sorted(cut)))
        if not keys and any(key.type in self._flow.keys for key in step.keys):
            wanted = ", ".join(self._flow.stage_by_name[step.stage].joined_by)
            return Parked("parked", f"it carries none of the keys that its stage is joined by: {wanted}", ())
        if not keys:
            return Parked("parked", "it carries no key of the flow", ())
        named = ", ".join(f"{key.type} {key.value}" for key in sorted(keys)[:3])
        return Parked("parked", f"no link from {named} to {' or '.join(self._flow.anchors)} was seen yet", ())

    def _climbed(self, step: Step, key: Key) -> Climb:
        """Return what the walk up from *key* finds for *step*: nothing that it was cut from."""
        climb = self.climb(key, step.at)
        if not (self._any_cut and self._graph.corrections.cut_from(step)):
            return climb
        return climb._replace(ways={to: way for to, way in climb.ways.items() if not self._is_cut(step, to)})

    def _is_cut(self, step: Step, key: Key) -> bool:
        return self._any_cut and any(fits(named, key) for named in self._graph.corrections.cut_from(step))

    def climb(self, key: Key, at: datetime) -> Climb:
        """Walk up from *key*; *at* is when the number was in use, for keys whose numbers are used again."""
        remembered = (key, at) if self._graph.depends_on_time(key) else key
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


def _member(anchor: Key, via: tuple[Via, ...], through: tuple[Key, ...]) -> Membership:
    return Membership(anchor, via[0].evidence, via, through)


def _leading_to(found: Iterable[Climb], own: Iterable[Key]) -> dict[Key, tuple[Key, ...]]:
    """Return anchor -> the keys above the step's own that lead to it, without the anchor itself."""
    above: dict[Key, set[Key]] = defaultdict(set)
    carried = own if isinstance(own, Mapping) else set(own)
    for climb in found:  # few of them lead over a key that the step does not carry itself
        for key, anchors in climb.above.items():
            if key not in carried:
                for anchor in anchors:
                    above[anchor].add(key)
    return {anchor: tuple(sorted(keys - {anchor})) for anchor, keys in above.items()}
