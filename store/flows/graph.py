"""What is known of the keys around some steps: links upward, aliases, scopes, and what stands beside. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import permutations
from typing import Final

from controltower.store.flows.beside import Beside, StepId
from controltower.store.flows.corrections import CONFIRM, Corrections
from controltower.store.flows.definition import Flow
from controltower.store.rows import Key, KeyLink, Step, Via

Value = tuple[str, str]  # key type, value: a key whatever its scope

# One document has two numbers, or three; more than this is a value that many documents have.
ALIASES: Final = 25
DECLARED: Final = ".link.declared"
TOKEN: Final = re.compile(r"t(\d+):[a-z2-7]{26}", re.IGNORECASE)  # a patient-linked number, by a key of this version


@dataclass(slots=True)
class KeyGraph:
    """What is known of the keys around some steps: links upward, scopes, and the keys of their traces.

    Built once per cycle; adding the same fact twice changes nothing.
    """

    flow: Flow
    links: dict[Value, list[KeyLink]] = field(default_factory=lambda: defaultdict(list))
    aliases: dict[Value, list[KeyLink]] = field(default_factory=lambda: defaultdict(list))  # each in both directions
    scopes: dict[Value, set[str]] = field(default_factory=lambda: defaultdict(set))
    beside: Beside = field(default_factory=Beside)
    corrections: Corrections = field(default_factory=Corrections)
    learnt: set[Value] = field(default_factory=set)  # values whose links and scopes are all here

    def add_link(self, link: KeyLink) -> None:
        """Learn that child and parent were seen on one step; keys of one type are numbers of one document."""
        if not self.corrections.lost(link):
            known = self.aliases if link.child.type == link.parent.type else self.links
            known[link.child.type, link.child.value].append(link)
        if link.trace_id:  # what people confirm says nothing of scopes
            self.add_scope(link.child)
            self.add_scope(link.parent)

    def add_scope(self, key: Key) -> None:
        """Learn a scope that a value is known with."""
        if key.scope:
            self.scopes[key.type, key.value].add(key.scope)

    def add_trace(self, step: Step) -> None:
        """Learn the keys that a trace holds."""
        self.beside.add_step(step, self.corrections.carried(step))

    def canonical(self, key: Key) -> Key | None:
        """Return *key* with its scope inferred and as the first of its aliases, or None when two scopes fit."""
        if not self.aliases:
            return self.clear(key)
        clear = self.clear(key)
        return clear if clear is None else self.renamed(clear)[0]

    def clear(self, key: Key) -> Key | None:
        """Return *key* with its scope inferred, or None when two scopes fit."""
        if key.scope:
            return key
        known = self.scopes.get((key.type, key.value))
        if not known:
            return key
        return Key(key.type, next(iter(known)), key.value) if len(known) == 1 else None

    def renamed(self, key: Key) -> tuple[Key, tuple[Via, ...]]:
        """Return the first alias of *key*, and the hops to it; the key itself where more are one than ever can be."""
        ways = self._aliases_of(key)
        first = min(ways)
        return (first, ways[first]) if len(ways) <= ALIASES else (key, ())

    def _aliases_of(self, key: Key) -> dict[Key, tuple[Via, ...]]:
        """Return all aliases of *key*, itself included, each with the fewest and earliest hops to it."""
        ways: dict[Key, tuple[Via, ...]] = {key: ()}
        frontier = [key]
        while frontier and len(ways) <= ALIASES:
            reached = []
            for name in frontier:
                for link in sorted(self.aliases.get((name.type, name.value), ()), key=_seen):
                    other = self.clear(link.parent)
                    if other is None or other in ways or self.clear(link.child) != name:
                        continue
                    if not self.corrections.is_cut(name, other):
                        evidence = "alias" if link.trace_id else CONFIRM
                        ways[other] = (*ways[name], Via(*other, evidence, link.trace_id, link.span_id))
                        reached.append(other)
            frontier = reached
        return ways

    def scoped(self, key: Key) -> tuple[Key, ...]:
        """Return every scoped key that an unscoped one could stand for."""
        return tuple(Key(key.type, scope, key.value) for scope in sorted(self.scopes[key.type, key.value]))

    def parents(self, key: Key, at: datetime) -> dict[Key, KeyLink]:
        """Return parent -> the first link to it, within the key's fence around *at*.

        What was confirmed is in use at any time, and alone where the key may have one parent or has too many.
        """
        spec, above, fence = self.flow.keys[key.type], self.flow.ancestors[key.type], self.flow.fences.get(key.type)
        found: dict[Key, KeyLink] = {}
        for link in self._links_of(key):
            if link.parent.type not in above:
                continue  # a link of another version of the flow
            if fence is not None and link.trace_id and abs(link.at - at) > fence:
                continue
            if self.canonical(link.child) != key or (parent := self.canonical(link.parent)) is None:
                continue
            if self.corrections.cuts and self.is_cut(key, parent):
                continue
            if parent not in found or _seen(link) < _seen(found[parent]):
                found[parent] = link
        if not self.corrections.links:
            return found
        confirmed_only = {parent: replace(link, at=at) for parent, link in found.items() if not link.trace_id}
        if confirmed_only and (not spec.shared or len(found) > spec.fanout):
            return confirmed_only
        return found | confirmed_only

    def _links_of(self, key: Key) -> Iterable[KeyLink]:
        if not self.aliases:
            return self.links.get((key.type, key.value), ())
        values = {(name.type, name.value) for name in self._names(key)}
        return (link for value in values for link in self.links.get(value, ()))

    def _names(self, key: Key) -> Iterable[Key]:
        names = self._aliases_of(key) if self.aliases else (key,)
        return names if len(names) <= ALIASES else (key,)

    def is_cut(self, key: Key, other: Key) -> bool:
        """Whether the two documents were cut, under any of their numbers."""
        return bool(self.corrections.cuts) and any(
            self.corrections.is_cut(one, two) for one in self._names(key) for two in self._names(other)
        )

    def depends_on_time(self, key: Key) -> bool:
        """Whether what is above *key* depends on when it was in use: its number is used again, or a link has no time."""
        return key.type in self.flow.fences or (
            bool(self.corrections.links) and any(not link.trace_id for link in self._links_of(key))
        )

    def hops(self, said: Key, evidence: str, span: StepId) -> tuple[Via, ...]:
        """Return the explanation that *span* says a key: the key as it says it, and the hops to its first alias."""
        clear = self.clear(said) or said
        first = Via(*clear, evidence, *span)
        return (first, *self.renamed(clear)[1]) if self.aliases else (first,)


def _seen(link: KeyLink) -> tuple[bool, datetime, str, str]:
    return bool(link.trace_id), link.at, link.trace_id, link.span_id  # what was confirmed explains best


def links_of(flow: Flow, step: Step, version: int) -> list[KeyLink]:
    """Return the links that one step is evidence for: each key with those of the nearest type above it on the step.

    Aliases are links, too, of each to each: keys of one type on a step that declares links, or tokens of one number by keys
    of several versions.
    """
    if len(step.keys) < 2:
        return []
    by_type: dict[str, list[Key]] = {}
    for key in step.keys:
        if key.type in flow.keys:
            by_type.setdefault(key.type, []).append(key)
    return [
        KeyLink(flow.flow, child, parent, step.trace_id, step.span_id, step.at, version)
        for child_type, children in by_type.items()
        for child in children
        for parent in _together(child, by_type.get(_nearest(flow, child_type, by_type), ()))
    ] + [
        KeyLink(flow.flow, one, other, step.trace_id, step.span_id, step.at, version)
        for names in by_type.values()
        if len(names) > 1 and (step.step.endswith(DECLARED) or _one_number(names))
        for one, other in permutations(names, 2)
    ]


def _together(child: Key, parents: Sequence[Key]) -> Sequence[Key]:
    """Return the *parents* that stand for the same document's as *child*: of tokens those that the same key made."""
    if not parents or (token := TOKEN.fullmatch(child.value)) is None:
        return parents
    same = [parent for parent in parents if (other := TOKEN.fullmatch(parent.value)) and other[1] == token[1]]
    return same or parents


def _one_number(names: list[Key]) -> bool:
    """Whether these are tokens of one number: each by another version of the key, as senders give them while it changes."""
    tokens = [TOKEN.fullmatch(name.value) for name in names]
    versions = {token[1] for token in tokens if token}
    return len(versions) == len(names) and len({name.scope for name in names}) == 1


def _nearest(flow: Flow, key_type: str, present: Mapping[str, object]) -> str:
    """Return the nearest type above *key_type* among *present*, or an empty text."""
    above = flow.keys[key_type].parent
    for _ in flow.keys:
        if above is None or above in present:
            break
        above = flow.keys[above].parent
    return above if above is not None and above in present else ""
