"""Steps that one record begins and another ends: what is open, bounded, and saved with the position."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from controltower.collector.scrapers.definition import MOST_PAIRS
from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.mapping import CompiledRule, Found
from controltower.collector.scrapers.observation import AttributeValue, Step
from controltower.tracer import attributes

TOO_MANY: Final = "too_many_open"

Json = dict[str, Any]


@dataclass(slots=True)
class Open:
    """A step that began and did not end yet."""

    rule: int
    at_ns: int
    due_ns: int
    ids: bytes
    parent: bytes
    attributes: dict[str, AttributeValue]
    lines: list[dict[str, AttributeValue]]
    missing: list[str]


class Pairs:
    """What is open of one source, oldest first."""

    def __init__(self, rules: list[CompiledRule], most: int = MOST_PAIRS) -> None:
        self._rules = rules
        self._most = most
        self._open: dict[str, Open] = {}
        self.changes = 0  # so that nothing is saved again that did not change

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, rule: int, by: object, found: Found, ids: bytes, parent: bytes, now_ns: int) -> Iterator[Step]:
        """Open a step; yield those that are given up for it: an earlier one of the same name, or the oldest of too many."""
        key = self._key(rule, by)
        at_ns = now_ns if found.at_ns is None else found.at_ns
        if (before := self._open.pop(key, None)) is not None:
            yield from self._given_up(before)
        if len(self._open) >= self._most:
            yield from self._given_up(self._open.pop(next(iter(self._open))), TOO_MANY)
        due_ns = at_ns + self._rules[rule].within_ns
        self._open[key] = Open(rule, at_ns, due_ns, ids, parent, found.attributes, found.lines, found.missing)
        self.changes += 1

    def end(self, rule: int, by: object, found: Found, now_ns: int) -> Step:
        """Return the step that ends; Rejection when none of that name is open, or a key is missing."""
        begun = self._open.pop(self._key(rule, by), None)
        if begun is None:
            raise Rejection("no_beginning")
        self.changes += 1
        taken = begun.attributes | found.attributes
        for name in (*begun.missing, *found.missing):
            if name not in taken:
                raise Rejection("missing", name)
        end_ns = now_ns if found.at_ns is None else found.at_ns
        step = self._step(begun, max(end_ns, begun.at_ns), taken)
        step.lines = [*begun.lines, *found.lines]
        return step

    def is_open(self, rule: int, by: object) -> bool:
        """Return whether a step of that name began and did not end; Rejection when it is none."""
        return self._key(rule, by) in self._open

    def due(self, until_ns: int) -> Iterator[Step]:
        """Yield the steps whose end had to come before *until_ns*."""
        late = [key for key, begun in self._open.items() if begun.due_ns < until_ns]
        for key in late:
            yield from self._given_up(self._open.pop(key))

    def state(self) -> list[Json]:
        """Return what is open, to be saved: no value that was read from a record as it is, only what is sent of it."""
        return [
            {
                "key": key,
                "rule": self._rules[begun.rule].rule.step,
                "at_ns": begun.at_ns,
                "due_ns": begun.due_ns,
                "ids": begun.ids.hex(),
                "parent": begun.parent.hex(),
                "attributes": begun.attributes,
                "lines": begun.lines,
                "missing": begun.missing,
            }
            for key, begun in self._open.items()
        ]

    def restore(self, saved: list[Json]) -> None:
        """Open what was saved; what belongs to a rule that is gone is left out."""
        numbers = {rule.rule.step: number for number, rule in enumerate(self._rules) if rule.end is not None}
        for entry in saved:
            if (number := numbers.get(entry["rule"])) is not None:
                self._open[entry["key"]] = Open(
                    number,
                    entry["at_ns"],
                    entry["due_ns"],
                    bytes.fromhex(entry["ids"]),
                    bytes.fromhex(entry["parent"]),
                    {
                        name: tuple(value) if isinstance(value, list) else value
                        for name, value in entry["attributes"].items()
                    },
                    entry["lines"],
                    entry["missing"],
                )

    def _given_up(self, begun: Open, reason: str = "") -> Iterator[Step]:
        """Yield the step without its end, when it has its keys."""
        self.changes += 1
        if begun.missing:
            return
        missing = self._rules[begun.rule].rule.end
        assert missing is not None
        how: dict[str, AttributeValue] = {
            attributes.OUTCOME: missing.missing.outcome,
            attributes.REASON: reason or missing.missing.reason,
        }
        yield self._step(begun, begun.due_ns, how)

    def _step(self, begun: Open, end_ns: int, ended: dict[str, AttributeValue]) -> Step:
        rule = self._rules[begun.rule]
        name = rule.rule.name or rule.rule.step
        taken = rule.fixed | begun.attributes | ended
        failed = rule.fails(taken)
        return Step(rule.rule.step, name, begun.at_ns, end_ns, begun.ids, taken, begun.lines, begun.parent, failed)

    def _key(self, rule: int, by: object) -> str:
        """Return what an open step is found by: not the value itself, which may be a patient's and is saved."""
        if not isinstance(by, str) or not by:
            raise Rejection("missing", self._rules[rule].rule.by or "by")
        return hashlib.sha256(f"{self._rules[rule].rule.step}\0{by}".encode()).hexdigest()[:32]
