"""From a span to a business step: pure, and the same whichever way the span came in."""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NamedTuple

from controltower.store.flows.definition import Flow, KeySpec, is_placeholder
from controltower.store.rows import DocumentLine, Key, Step
from controltower.tracer import attributes as names

# Decimal(38, 6) of the store: 32 digits before the point. A larger number is no amount of money.
_LARGEST = Decimal(10) ** 32
_SIX_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class SpanRow:
    """What the engine reads of a span: identity, time, our attributes and our line events."""

    trace_id: str
    span_id: str
    service: str
    name: str
    started_at: datetime
    duration_ns: int
    failed: bool
    attributes: Mapping[str, str]  # controltower.* only; arrays are JSON text
    lines: tuple[Mapping[str, str], ...]  # attributes of each controltower.line event, in order
    loaded_at: datetime


@dataclass(frozen=True, slots=True)
class Classified:
    """A step and the lines of the document it carries."""

    step: Step
    lines: tuple[DocumentLine, ...]


def classify(flows: Iterable[Flow], span: SpanRow, version: int) -> Iterator[Classified]:
    """Yield the step that *span* is in each of *flows*; most spans are a step of one flow or of none.

    Of flows with the same prefix a step is of those that have a stage for it; of all of them when none has.
    """
    stated = span.attributes.get(names.STEP)
    named = []
    for flow in flows:
        code = stated or flow.matches.get((span.service, span.name), "")
        if code.startswith(flow.prefix) and code[len(flow.prefix) : len(flow.prefix) + 1] == ".":
            named.append((flow, code))
    if len(named) > 1:
        named = [(flow, code) for flow, code in named if code in flow.stage_by_step] or named
    for flow, code in named:
        yield _classified(flow, code, span, version)


class _Parts(NamedTuple):
    """The attributes whose names end in a name of the sender's choice, by that name."""

    keys: dict[str, str]
    scopes: dict[str, str]
    context: dict[str, str]


_PREFIXES = (names.KEY, names.SCOPE, names.CONTEXT)  # in the order of _Parts
# The attributes that spans have together, and texts of numbers, come again and again; what is not remembered is worked out
# again.
_SHAPES = 4_096
_NUMBERS = 65_536


@lru_cache(_SHAPES)
def _shape(attributes: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return, part by part, the attributes that are in it, each with its name there."""
    return tuple(
        tuple((name, name.removeprefix(prefix)) for name in attributes if name.startswith(prefix))
        for prefix in _PREFIXES
    )


def _parts(attributes: Mapping[str, str]) -> _Parts:
    keys, scopes, context = _shape(tuple(attributes))
    return _Parts(
        {own: attributes[name] for name, own in keys},
        {own: attributes[name] for name, own in scopes},
        {own: attributes[name] for name, own in context},
    )


def _classified(flow: Flow, code: str, span: SpanRow, version: int) -> Classified:
    attributes = span.attributes
    parts = _parts(attributes)
    lines = tuple(_line(flow, span, position, event, parts, version) for position, event in enumerate(span.lines))
    keys = dict.fromkeys(_keys(flow, parts.keys, parts.scopes, parts.context))
    for line in lines:
        keys.update(dict.fromkeys(line.keys))
    ignored = tuple(key for key in keys if is_placeholder(key.value))
    for key in ignored:
        del keys[key]
    stage = flow.stage_by_step.get(code)
    step = Step(
        flow=flow.flow,
        stage=stage.name if stage else "",
        step=code,
        trace_id=span.trace_id,
        span_id=span.span_id,
        at=_instant(attributes.get(names.BUSINESS_TIME, "")) or span.started_at,
        observed_at=span.started_at,
        duration_ns=span.duration_ns,
        system=span.service,
        span_name=span.name,
        failed=span.failed,
        outcome=attributes.get(names.OUTCOME) or "ok",
        reason=attributes.get(names.REASON, ""),
        actor=attributes.get(names.ACTOR, ""),
        style=attributes.get(names.STYLE, ""),
        interface=attributes.get(names.INTERFACE, ""),
        amount=exact(attributes.get(names.AMOUNT)),
        currency=attributes.get(names.CURRENCY, ""),
        quantity=exact(attributes.get(names.QUANTITY)),
        uom=attributes.get(names.UOM, ""),
        keys=tuple(keys),
        ignored_keys=ignored,
        context=parts.context,
        replay_of=attributes.get(names.REPLAY_OF, ""),
        run_id=attributes.get(names.RUN_ID, ""),
        loaded_at=span.loaded_at,
        version=version,
    )
    return Classified(step, lines)


def _line(
    flow: Flow, span: SpanRow, position: int, event: Mapping[str, str], span_parts: _Parts, version: int
) -> DocumentLine:
    parts = _parts(event)
    keys = _keys(flow, parts.keys, {**span_parts.scopes, **parts.scopes}, span_parts.context) if parts.keys else ()
    return DocumentLine(
        flow=flow.flow,
        trace_id=span.trace_id,
        span_id=span.span_id,
        position=position,
        line=event.get(names.LINE, ""),
        item=event.get(names.ITEM, ""),
        quantity=exact(event.get(names.LINE_QUANTITY)),
        uom=event.get(names.LINE_UOM, ""),
        unit_price=exact(event.get(names.UNIT_PRICE)),
        amount=exact(event.get(names.LINE_AMOUNT)),
        currency=span.attributes.get(names.CURRENCY, ""),
        keys=tuple(key for key in keys if not is_placeholder(key.value)),
        version=version,
    )


def _keys(
    flow: Flow, stated: Mapping[str, str], scopes: Mapping[str, str], context: Mapping[str, str]
) -> Iterator[Key]:
    for key_type, text in stated.items():
        spec = flow.keys.get(key_type)
        scope = (scopes.get(key_type) or _default_scope(spec, context)).strip()
        for value in values(text):
            yield Key(key_type, scope, normalise(value, spec))


def _default_scope(spec: KeySpec | None, context: Mapping[str, str]) -> str:
    return context.get(spec.scope.removeprefix("context."), "") if spec and spec.scope else ""


def normalise(value: str, spec: KeySpec | None) -> str:
    """Return the canonical text of a key value: NFKC, trimmed, upper case where its type says so."""
    text = (value if value.isascii() else unicodedata.normalize("NFKC", value)).strip()
    return text.upper() if spec is not None and spec.normalise == "upper" else text


def values(text: str) -> tuple[str, ...]:
    """Return the values of a key attribute: one, or those of an array, which the store holds as JSON text."""
    if text.startswith("["):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return (text,)
        if isinstance(parsed, list):
            return tuple(str(value) for value in parsed if isinstance(value, str | int))
    return (text,)


@lru_cache(_NUMBERS)
def exact(text: str | None) -> Decimal | None:
    """Return a decimal with six places, or None when *text* is no number that the store can hold."""
    if not text:
        return None
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value) >= _LARGEST:
        return None
    return value.quantize(_SIX_PLACES)


def _instant(text: str) -> datetime | None:
    """Read an RFC 3339 time; a date alone, or a time without a zone, names no instant and is not used."""
    if "T" not in text.upper():
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None
