"""From a record to a step: which rule fits, what it takes from the record, and what becomes of patients' numbers."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controltower.collector.redaction.linear import Groups as Expression
from controltower.collector.redaction.policy import Policy
from controltower.collector.scrapers.definition import (
    AnySource,
    End,
    Facts,
    LineSpec,
    Rule,
    RunSpec,
    TimeSpec,
    ValueSpec,
)
from controltower.collector.scrapers.errors import KeyMissingError, Rejection
from controltower.collector.scrapers.getting import (
    Get,
    GetTime,
    business_time_getter,
    getter,
    items_getter,
    time_getter,
    value_getter,
    within_epoch,
)
from controltower.collector.scrapers.observation import NOTHING, AttributeValue, Fields, Step
from controltower.collector.scrapers.times import Clock
from controltower.tracer import attributes, values
from controltower.tracer.tokens import Tokeniser

SYNTHETIC: Final = attributes.CONTEXT + "synthetic"
MOST_COUNT_DIGITS: Final = 15

_PLAIN_DECIMAL: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,12})?")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]*")

Take = Callable[[Fields, Mapping[str, str]], Any]


@dataclass(frozen=True, slots=True)
class Policies:
    """What becomes of numbers that tell of patients: the redaction policy, and the key for tokens."""

    policy: Policy
    tokeniser: Tokeniser


@dataclass(slots=True)
class Found:
    """What one side of a rule, its beginning or its end, takes from a record."""

    at_ns: int | None
    attributes: dict[str, AttributeValue]
    lines: list[dict[str, AttributeValue]]
    missing: list[str]


class Side:
    """One record of a rule: whether it fits, and what it tells."""

    def __init__(self, facts: Rule | End, source: AnySource, times: list[GetTime], policies: Policies, clock: Clock):
        zone = source.time_zone
        self._when = [(getter(name), wanted) for name, wanted in facts.when.items()]
        self._match = [(getter(name), Expression(text)) for name, text in facts.match.items()]
        self._times = [time_getter(facts.time, zone, clock)] if facts.time else times
        self._take = list(_attributes(facts, zone, policies, clock))
        self._business_time = business_time_getter(facts.business_time, zone, clock) if facts.business_time else None
        self._lines = [Lines(lines, zone, policies, clock) for lines in facts.lines]

    def fits(self, fields: Fields) -> Mapping[str, str] | None:
        """Return what was found in the record when it is of this kind, else None."""
        for get, wanted in self._when:
            if get(fields, NOTHING) != wanted:
                return None
        if not self._match:
            return NOTHING
        found: dict[str, str] = {}
        for get, expression in self._match:
            text = get(fields, NOTHING)
            groups = expression.named(text) if type(text) is str else None
            if groups is None:
                return None
            found = found | groups if found else groups
        return found

    def take(self, fields: Fields, groups: Mapping[str, str]) -> Found:
        """Return what the record tells; Rejection when something of it cannot be."""
        taken: dict[str, AttributeValue] = {}
        missing: list[str] = []
        for name, take, optional in self._take:
            try:
                value = take(fields, groups)
            except Rejection as exc:
                raise Rejection(exc.reason, exc.detail or name) from None
            if value is not None and value != "":
                taken[name] = value
            elif not optional:
                missing.append(name)
        if self._business_time is not None and (business_time := self._business_time(fields, groups)) is not None:
            taken[attributes.BUSINESS_TIME] = business_time
        lines = [line for each in self._lines for line in each(fields)]
        return Found(self._at(fields, groups), taken, lines, missing)

    def _at(self, fields: Fields, groups: Mapping[str, str]) -> int | None:
        for get in self._times:
            if (at_ns := get(fields, groups)) is not None:
                return within_epoch(at_ns)
        return None


class Lines:
    """The lines of a document that a record holds."""

    def __init__(self, spec: LineSpec, zone: str, policies: Policies, clock: Clock) -> None:
        self._items = items_getter(spec.each)
        self._take: list[tuple[str, Take]] = []
        for name, key in (("line", attributes.LINE), ("item", attributes.ITEM), ("uom", attributes.LINE_UOM)):
            if (value := getattr(spec, name)) is not None:
                self._take.append((key, _text(value_getter(value, zone, clock))))
        for name in (attributes.LINE_QUANTITY, attributes.UNIT_PRICE, attributes.LINE_AMOUNT):
            if (value := getattr(spec, name)) is not None:
                self._take.append((name, _decimal(value_getter(value, zone, clock))))
        if spec.outcome is not None:
            self._take.append((attributes.OUTCOME, _outcome(value_getter(spec.outcome, zone, clock))))
        if spec.reason is not None:
            self._take.append((attributes.REASON, _text(value_getter(spec.reason, zone, clock))))
        for type_, value in spec.keys.items():
            key_of = _key(
                type_, value_getter(value, zone, clock), None, policies, token=type_ in policies.policy.keys.token
            )
            self._take.append((attributes.KEY + type_, key_of))

    def __call__(self, fields: Fields) -> list[dict[str, AttributeValue]]:
        """Return the lines of a record."""
        return [
            {name: value for name, take in self._take if (value := take(item, NOTHING)) not in (None, "")}
            for item in self._items(fields)
        ]


class CompiledRule:
    """One rule, ready to be applied."""

    def __init__(
        self, rule: Rule, source: AnySource, name: str, times: list[GetTime], policies: Policies, clock: Clock
    ):
        self.rule = rule
        self.begin = Side(rule, source, times, policies, clock)
        self.end = Side(rule.end, source, times, policies, clock) if rule.end else None
        self.by = getter(rule.by) if rule.by else None
        self.passes_alone = rule.end is not None and rule.end.alone == "pass"
        self.within_ns = int(rule.end.within.span.total_seconds()) * 10**9 if rule.end else 0
        self._trace = getter(rule.trace.trace_id) if rule.trace else None
        self._parent = getter(rule.trace.span_id) if rule.trace and rule.trace.span_id else None
        fixed = {
            attributes.STEP: rule.step,
            attributes.INTERFACE: source.interface or name,
            attributes.STYLE: rule.style,
            attributes.ACTOR: rule.actor,
            attributes.LAYER: rule.layer,
            SYNTHETIC: "true",
        }
        said = {attributes.CONTEXT + type_ for facts in (rule, rule.end) if facts for type_ in facts.context}
        self.fixed: dict[str, AttributeValue] = {
            key: value for key, value in fixed.items() if value and key not in said
        }

    def fails(self, taken: Mapping[str, AttributeValue]) -> bool:
        """Return whether a step of these attributes is a failed attempt."""
        failed = self.rule.failed
        return failed if isinstance(failed, bool) else taken.get(attributes.OUTCOME) in failed

    def step(self, found: Found, ids: bytes, parent: bytes, now_ns: int) -> Step:
        """Return the step of a record alone; Rejection when a key is missing."""
        if found.missing:
            raise Rejection("missing", found.missing[0])
        at_ns = now_ns if found.at_ns is None else found.at_ns
        name = self.rule.name or self.rule.step
        return Step(
            self.rule.step,
            name,
            at_ns,
            at_ns,
            ids,
            self.fixed | found.attributes,
            found.lines,
            parent,
            self.fails(found.attributes),
            self.fixed,
        )

    def trace(self, fields: Fields, groups: Mapping[str, str], ids: bytes) -> tuple[bytes, bytes]:
        """Return ids, and the id of the parent, in the trace that the record names when it names one."""
        if self._trace is None or not (trace := self._trace(fields, groups)):
            return ids, b""
        parent = self._parent(fields, groups) if self._parent else None
        return _id(trace, 16) + ids[16:], _id(parent, 8) if parent else b""


def compiled_rules(
    source: AnySource, name: str, default_times: list[TimeSpec], policies: Policies, clock: Clock
) -> list[CompiledRule]:
    """Return the rules of *source*, called *name*. KeyMissingError when it maps patients' numbers and there is no key."""
    check_key(source, name, policies)
    given = [source.time] if source.time else default_times
    times = [time_getter(spec, source.time_zone, clock) for spec in given]
    return [CompiledRule(rule, source, name, times, policies, clock) for rule in source.rules]


def check_key(source: AnySource, name: str, policies: Policies) -> None:
    """Refuse a source whose numbers should become tokens, when there is no key for them."""
    if not policies.tokeniser.can and (types := sorted(patient_types(source, policies.policy))):
        raise KeyMissingError(name, types)


def patient_types(source: AnySource, policy: Policy) -> set[str]:
    """Return the types of keys and contexts of *source* that become tokens."""
    found: set[str] = set()
    for rule in source.rules:
        for facts in (rule, rule.end):
            if facts is not None:
                keys: Collection[str] = {*facts.keys, *(type_ for lines in facts.lines for type_ in lines.keys)}
                found |= set(keys) & set(policy.keys.token) | set(facts.context) & set(policy.contexts.token)
    return found


def _attributes(facts: Facts, zone: str, policies: Policies, clock: Clock) -> Iterator[tuple[str, Take, bool]]:
    """Yield (attribute, what takes it, whether it may be missing)."""

    def get(spec: ValueSpec) -> Get:
        return value_getter(spec, zone, clock)

    for type_, spec in facts.keys.items():
        scope = get(facts.scopes[type_]) if type_ in facts.scopes else None
        token = type_ in policies.policy.keys.token
        yield attributes.KEY + type_, _key(type_, get(spec), scope, policies, token=token), spec.optional
    for type_, spec in facts.scopes.items():
        yield attributes.SCOPE + type_, _text(get(spec)), spec.optional
    for type_, spec in facts.context.items():
        token = type_ in policies.policy.contexts.token
        take = _key(type_, get(spec), None, policies, token=True) if token else _text(get(spec))
        yield attributes.CONTEXT + type_, take, True
    for name, text in ((attributes.CURRENCY, facts.currency), (attributes.UOM, facts.uom)):
        if text is not None:
            yield name, _text(get(text)), True
    for name, number in ((attributes.AMOUNT, facts.amount), (attributes.QUANTITY, facts.quantity)):
        if number is not None:
            yield name, _decimal(get(number)), True
    if facts.outcome is not None:
        yield attributes.OUTCOME, _outcome(get(facts.outcome)), True
    if facts.run is not None:
        yield from _run(facts.run, get)
    if facts.reason is not None:
        yield attributes.REASON, _text(get(facts.reason)), True


def _run(run: RunSpec, get: Callable[[ValueSpec], Get]) -> Iterator[tuple[str, Take, bool]]:
    yield attributes.RUN_ID, _text(get(run.id)), False
    for name, count in (
        (attributes.RUN_RECORDS, run.records),
        (attributes.RUN_REJECTED, run.rejected),
        (attributes.RUN_EXPECTED, run.expected_records),
    ):
        if count is not None:
            yield name, _count(get(count)), True
    if run.control_total is not None:
        yield attributes.RUN_CONTROL_TOTAL, _decimal(get(run.control_total)), True


def _count(get: Get) -> Take:
    def count(fields: Fields, groups: Mapping[str, str]) -> int | None:
        value = get(fields, groups)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or not value.isdecimal() or len(value) > MOST_COUNT_DIGITS:
            raise Rejection("bad_count")
        return int(value)

    return count


def _refuse(reason: str, sentence: str) -> None:
    raise Rejection(reason)


def _text(get: Get) -> Take:
    def text(fields: Fields, groups: Mapping[str, str]) -> str | None:
        value = get(fields, groups)
        if type(value) is str and len(value) <= values.MAX_TEXT and value.isascii():  # nearly always
            return value
        if isinstance(value, list):
            raise Rejection("many_values")
        return values.text(value, "a value", _refuse)

    return text


def _decimal(get: Get) -> Take:
    def decimal(fields: Fields, groups: Mapping[str, str]) -> str | None:
        value = get(fields, groups)
        if type(value) is str and _PLAIN_DECIMAL.fullmatch(value):
            return value
        if value is None or value == "":
            return None
        return values.decimal_text(value, "a number", _refuse)

    return decimal


def _outcome(get: Get) -> Take:
    def outcome(fields: Fields, groups: Mapping[str, str]) -> str | None:
        value = get(fields, groups)
        if value is None or value == "":
            return None
        if value not in attributes.OUTCOMES:
            raise Rejection("unknown_outcome")
        return str(value)

    return outcome


def _key(type_: str, get: Get, scope: Get | None, policies: Policies, *, token: bool) -> Take:
    def key(fields: Fields, groups: Mapping[str, str]) -> AttributeValue | None:
        given = get(fields, groups)
        if given is None:
            return None
        if not token and type(given) is str and len(given) <= values.MAX_KEY and given.isascii():  # nearly always
            return given.strip()
        kept = values.key_values(type_, given, _refuse)
        if token:
            issuer = (scope(fields, groups) or "") if scope is not None else ""
            kept = tuple(
                each.decode()
                for value in kept
                for each in policies.tokeniser.tokens(type_, str(issuer).encode(), value.encode())
            )
        if not kept:
            return None
        return kept[0] if len(kept) == 1 else kept

    return key


def _id(text: Any, length: int) -> bytes:
    lower = text.lower() if isinstance(text, str) else ""
    if len(lower) != 2 * length or not _HEXADECIMAL.fullmatch(lower) or not lower.strip("0"):
        raise Rejection("bad_trace")
    return bytes.fromhex(lower)
