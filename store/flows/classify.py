"""From a span to a business step: pure, and the same whichever way the span came in."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
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


class Classifier:
    """Makes the steps of *flows* of spans. Step codes and the names of attributes that spans have together come again and
    again, so what follows of them is remembered; what is not remembered any more is worked out again."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self._flows = [_OfFlow(flow) for flow in flows]
        self._of_code = lru_cache(_SHAPES)(self._named)

    def classify(self, span: SpanRow, version: int) -> list[Classified]:
        """Return the step that *span* is in each flow; most spans are a step of one flow or of none."""
        stated = span.attributes.get(names.STEP)
        of = self._of_code(stated, "", "") if stated else self._of_code(None, span.service, span.name)
        return [each.classified(code, span, version) for each, code in of]

    def _named(self, stated: str | None, service: str, name: str) -> "Sequence[tuple[_OfFlow, str]]":
        """Return the flows that a span is a step of, each with its code. Of flows with the same prefix a step is of those
        that have a stage for it; of all of them when none has."""
        codes = [(each, stated or each.flow.matches.get((service, name), "")) for each in self._flows]
        named = [(each, code) for each, code in codes if code.startswith(each.flow.prefix + ".")]
        if len(named) > 1:
            named = [(each, code) for each, code in named if code in each.flow.stage_by_step] or named
        return named


class _KeyPlace(NamedTuple):
    """Where the attributes say a key, its scope, and the scope that it has when they do not."""

    type: str
    attribute: str
    scope: str
    default_scope: str  # empty when it has none
    spec: KeySpec | None


class _Shape(NamedTuple):
    """What attributes of these names say by names of the sender's choice."""

    keys: tuple[_KeyPlace, ...]
    context: tuple[tuple[str, str], ...]  # attribute, its name as context


# Shapes and texts of numbers that are remembered: more than a network of services has at one time.
_SHAPES = 4_096
_NUMBERS = 65_536


class _OfFlow:
    """Makes steps of one flow."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._shape = lru_cache(_SHAPES)(self._shape_of)

    def _shape_of(self, *attributes: str) -> _Shape:
        types = [name.removeprefix(names.KEY) for name in attributes if name.startswith(names.KEY)]
        context = (name for name in attributes if name.startswith(names.CONTEXT))
        return _Shape(
            tuple(map(self._place_of, types)), tuple((name, name.removeprefix(names.CONTEXT)) for name in context)
        )

    def _place_of(self, key_type: str) -> _KeyPlace:
        spec = self.flow.keys.get(key_type)
        default = names.CONTEXT + spec.scope.removeprefix("context.") if spec and spec.scope else ""
        return _KeyPlace(key_type, names.KEY + key_type, names.SCOPE + key_type, default, spec)

    def classified(self, code: str, span: SpanRow, version: int) -> Classified:
        """Return the step with this *code* that *span* is."""
        attributes = span.attributes
        said = attributes.get
        shape = self._shape(*attributes)
        lines = tuple(self._line(span, position, event, version) for position, event in enumerate(span.lines))
        keys: dict[Key, None] = {}
        ignored: dict[Key, None] = {}
        for key in _keys(shape, attributes, attributes):
            (ignored if is_placeholder(key.value) else keys)[key] = None
        for line in lines:
            keys.update(dict.fromkeys(line.keys))
        stage = self.flow.stage_by_step.get(code)
        step = Step(
            flow=self.flow.flow,
            stage=stage.name if stage else "",
            step=code,
            trace_id=span.trace_id,
            span_id=span.span_id,
            at=_instant(said(names.BUSINESS_TIME, "")) or span.started_at,
            observed_at=span.started_at,
            duration_ns=span.duration_ns,
            system=span.service,
            span_name=span.name,
            failed=span.failed,
            outcome=said(names.OUTCOME) or "ok",
            reason=said(names.REASON, ""),
            actor=said(names.ACTOR, ""),
            style=said(names.STYLE, ""),
            interface=said(names.INTERFACE, ""),
            amount=exact(said(names.AMOUNT)),
            currency=said(names.CURRENCY, ""),
            quantity=exact(said(names.QUANTITY)),
            uom=said(names.UOM, ""),
            keys=tuple(keys),
            ignored_keys=tuple(ignored),
            context={own: attributes[name] for name, own in shape.context},
            replay_of=said(names.REPLAY_OF, ""),
            run_id=said(names.RUN_ID, ""),
            loaded_at=span.loaded_at,
            version=version,
        )
        return Classified(step, lines)

    def _line(self, span: SpanRow, position: int, event: Mapping[str, str], version: int) -> DocumentLine:
        keys = _keys(self._shape(*event), event, span.attributes)
        said = event.get
        return DocumentLine(
            flow=self.flow.flow,
            trace_id=span.trace_id,
            span_id=span.span_id,
            position=position,
            line=said(names.LINE, ""),
            item=said(names.ITEM, ""),
            quantity=exact(said(names.LINE_QUANTITY)),
            uom=said(names.LINE_UOM, ""),
            unit_price=exact(said(names.UNIT_PRICE)),
            amount=exact(said(names.LINE_AMOUNT)),
            currency=span.attributes.get(names.CURRENCY, ""),
            keys=tuple([key for key in keys if not is_placeholder(key.value)]),
            version=version,
        )


def _keys(shape: _Shape, said: Mapping[str, str], of_span: Mapping[str, str]) -> list[Key]:
    """Return the keys that the attributes *said* name, each with its scope: as said there, or of the span."""
    found = []
    for key_type, attribute, scoped, default, spec in shape.keys:
        text = said[attribute]
        scope = said.get(scoped) if scoped in said else of_span.get(scoped)
        scope = (scope or of_span.get(default, "")).strip()
        for value in values(text) if text.startswith("[") else (text,):
            found.append(Key(key_type, scope, normalise(value, spec)))
    return found


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
