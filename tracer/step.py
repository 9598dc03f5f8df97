"""A business step: open it, name its keys, lines, amount and outcome, and end it. One step is one span."""

import time
from collections.abc import Iterable, Mapping
from contextvars import Token
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict, Union, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode

from controltower.tracer import attributes, values
from controltower.tracer.decorating import Decorator
from controltower.tracer.guard import Guard
from controltower.tracer.propagation import NO_KEYS, KeyRing, attribute_value, span_in, with_ring

if TYPE_CHECKING:
    from controltower.tracer.system import System

Amount = Decimal | int | str
KeyValues = str | int | Iterable[str | int] | None
Moment = datetime | int  # aware, or nanoseconds since 1970
Outcome = Literal["ok", "rejected", "exception", "duplicate", "pending"]
Style = Literal["api", "event", "queue", "file", "batch", "edi"]
Kind = Literal["internal", "server", "client", "producer", "consumer"]
Linked = Union[Link, SpanContext, "Step", str]
AttributeValue = str | bool | int | float | tuple[str, ...]

ACTORS: Final = ("human", "system")
ERROR_TYPE: Final = "error.type"
MAX_LINKS: Final = 10_000
KINDS: Final = {kind.name.lower(): kind for kind in SpanKind}


class StepOptions(TypedDict, total=False):
    """What a step can be given when it opens; all of it but times, links and kind also later."""

    keys: Mapping[str, KeyValues]  # key type -> value or values
    scopes: Mapping[str, str]  # key type -> issuer
    context: Mapping[str, object]  # describes and never joins: vendor, facility, period …
    amount: Amount | None
    currency: str | None
    quantity: Amount | None
    uom: str | None
    outcome: Outcome | None
    reason: str | None
    business_time: datetime | str | None
    actor: Literal["human", "system"] | None
    interface: str | None
    style: Style | None
    layer: str | None
    replay_of: Linked | None
    duplicate_of: Linked | None
    name: str | None  # of the span; the step code by default
    kind: Kind | SpanKind | None
    links: Iterable[Linked] | None  # messages or documents that led here
    attributes: Mapping[str, str | bool | int | float] | None  # other OpenTelemetry attributes
    start_time: Moment | None
    end_time: Moment | None


class Step(Decorator):
    """A business step, as ``with`` or ``async with`` block, or as decorator of a function or generator.

    Nothing here raises into the host in production; the host's own exceptions pass through and mark the span.
    """

    __slots__ = (
        "_attributes", "_clock_ns", "_code", "_end_ns", "_guard", "_keys", "_links", "_options", "_pseudonyms", "_raw",
        "_ring", "_scopes", "_span", "_start_ns", "_system", "_token", "failed", "result",
    )  # fmt: skip

    def __init__(self, system: "System", code: str, options: StepOptions) -> None:
        self._system = system
        self._guard: Guard = system.guard
        self._pseudonyms = system.pseudonyms
        self._code = code
        self._options = options
        self._span: Span = trace.INVALID_SPAN
        self._token: Token[Context] | None = None
        self._ring: KeyRing = NO_KEYS
        self._attributes: dict[str, AttributeValue] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        self._scopes: dict[str, str] = {}
        self._raw: dict[str, tuple[str, ...]] = {}  # of patients' types: tokens are made anew when the issuer is told
        self._links: list[Link] = []
        self._start_ns: int | None = None
        self._end_ns: int | None = None
        self._clock_ns = 0
        self.failed = False
        self.result = ""
        with self._guard.around("step"):
            self._prepare(code, options)

    # -- what the host says about the step

    def key(self, type: str, *given: KeyValues, scope: str | None = None) -> Self:
        """Add values to the keys of *type*; they travel to what starts below from now on."""
        with self._guard.around("step.key"):
            if (name := values.type_name(type, "key", self._guard.misuse)) is None:
                return self
            new = [value for each in given for value in values.key_values(name, each, self._guard.misuse)]
            issuer = values.text(scope, f"scope of {name}", self._guard.misuse) or self._scopes.get(name)
            if kept := self._with(name, new, issuer):
                self._keys[name] = kept
                self._set(attributes.KEY + name, attribute_value(kept))
                if issuer:
                    self._scopes[name] = issuer
                    self._set(attributes.SCOPE + name, issuer)
                if self._ring is not NO_KEYS:
                    self._ring.add(name, kept, self._scopes.get(name))
        return self

    def context(self, given: Mapping[str, object] | None = None, /, **more: object) -> Self:
        """Add what describes the step and never joins it: vendor, facility, payer, period …"""
        with self._guard.around("step.context"):
            self._describe(given)
            self._describe(more)
        return self

    def amount(self, amount: Amount | None, currency: str | None = None) -> Self:
        """Set the step's primary amount."""
        return self._put_all({"amount": amount, "currency": currency}, "step.amount")

    def quantity(self, quantity: Amount | None, uom: str | None = None) -> Self:
        """Set the step's primary quantity."""
        return self._put_all({"quantity": quantity, "uom": uom}, "step.quantity")

    def outcome(self, outcome: Outcome, reason: str | None = None) -> Self:
        """Set how the step ended, and why when it is not plain ok."""
        return self._put_all({"outcome": outcome, "reason": reason}, "step.outcome")

    def business_time(self, at: datetime | str) -> Self:
        """Set the document's or the effective time."""
        return self._put_all({"business_time": at}, "step.business_time")

    def replay_of(self, original: Linked) -> Self:
        """Say that this step repeats another one: its span (linked too) or a reference to its message."""
        return self._refer(attributes.REPLAY_OF, original, "replay_of")

    def duplicate_of(self, original: Linked) -> Self:
        """Say that the work was done before, by another step (linked too) or message: the outcome is ``duplicate``."""
        return self._refer(attributes.CONTEXT + "duplicate_of", original, "duplicate_of").outcome("duplicate")

    def link(self, *others: Linked) -> Self:
        """Link spans that led here: the message received, the run that wrote the file."""
        with self._guard.around("step.link"):
            for other in others:
                if (link := self._link(other)) is None:
                    continue
                if self._token is None and self._span is trace.INVALID_SPAN:
                    self._links.append(link)
                else:
                    self._span.add_link(link.context, link.attributes)
        return self

    def line(
        self,
        *,
        line: str | int | None = None,
        item: str | None = None,
        quantity: Amount | None = None,
        uom: str | None = None,
        unit_price: Amount | None = None,
        amount: Amount | None = None,
        keys: Mapping[str, KeyValues] | None = None,
        scopes: Mapping[str, str] | None = None,
    ) -> Self:
        """Add one line of the document that the step carries."""
        with self._guard.around("step.line"):
            misuse = self._guard.misuse
            found: dict[str, AttributeValue] = {}
            for name, value in ((attributes.LINE, line), (attributes.ITEM, item), (attributes.LINE_UOM, uom)):
                if value is not None and (kept := values.text(value, name, misuse)) is not None:
                    found[name] = kept
            for name, number in (
                (attributes.LINE_QUANTITY, quantity),
                (attributes.UNIT_PRICE, unit_price),
                (attributes.LINE_AMOUNT, amount),
            ):
                if number is not None and (kept := values.decimal_text(number, name, misuse)) is not None:
                    found[name] = kept
            issuers = {} if scopes is None else values.texts_of(scopes, "scope", misuse)
            if keys is not None:
                own = self._pseudonyms.keys(values.keys_of(keys, misuse), {**self._scopes, **issuers}, misuse)
                for type_, many in own.items():
                    found[attributes.KEY + type_] = attribute_value(many)
            for type_, issuer in issuers.items():
                found[attributes.SCOPE + type_] = issuer
            self._span.add_event(attributes.LINE_EVENT, found, self._now_ns())
        return self

    # -- its span

    @property
    def span(self) -> Span:
        """The OpenTelemetry span; an invalid one before the step opens."""
        return self._span

    @property
    def span_context(self) -> SpanContext:
        """Ids of the span, to link to it or to store beside a message."""
        return self._span.get_span_context()

    @property
    def code(self) -> str:
        """The step code."""
        return self._code

    # -- opening and ending

    def __enter__(self) -> Self:
        with self._guard.around("opening a step"):
            self.open()
            self._token = otel_context.attach(self._context_below())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> Literal[False]:
        with self._guard.around("ending a step"):
            if self._token is not None:
                otel_context.detach(self._token)
                self._token = None
            self.close(error)
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, trace_back)

    def open(self) -> None:
        """Start the span without making it current; ``with`` does both."""
        if self._span is not trace.INVALID_SPAN:
            self._guard.misuse("reopened_step", "a step is used once; call tracer.step(...) for each")
            return
        above, inherited = self._system.parent()
        self._ring = inherited.below(self._keys, self._scopes, self)
        self._clock_ns = time.perf_counter_ns()
        if self._start_ns is None and self._system.clock is not None:
            self._start_ns = self._system.clock()
        options = self._options
        name = options.get("name")
        self._span = self._system.otel_tracer.start_span(
            self._code if name is None else values.text(name, "name", self._guard.misuse) or self._code,
            context=above,
            kind=self._kind(options.get("kind")),
            attributes={**self._ring.span_attributes(), **self._attributes} if inherited.keys else self._attributes,
            links=self._links,
            start_time=self._start_ns,
        )

    def close(self, error: BaseException | None = None) -> None:
        """End the span; *error* marks it, with the exception's type only: its message may name a patient."""
        if error is not None and not isinstance(error, GeneratorExit):
            self.failed = True
            self._span.set_attribute(ERROR_TYPE, type_name_of(error))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(self._end_time())

    def again(self) -> "Step":
        """Return a fresh step with the same code and options, for the next call of a decorated function."""
        return self._system.current().step(self._code, **self._options)

    def prepared(self) -> dict[str, AttributeValue]:
        """Return a copy of the attributes so far."""
        return dict(self._attributes)

    def current(self) -> otel_context.Context:
        """Return the context in which the step is the current one."""
        return self._context_below()

    def _context_below(self) -> Context:
        return with_ring(self._ring, trace.set_span_in_context(self._span))

    def _end_time(self) -> int | None:
        if self._end_ns is not None:
            return self._end_ns
        return self._now_ns()

    def _now_ns(self) -> int | None:
        """Now, on the step's own time line: a back-dated step keeps its real duration."""
        if self._start_ns is None:
            return None
        clock = self._system.clock
        now = self._start_ns + time.perf_counter_ns() - self._clock_ns if clock is None else clock()
        return now if self._end_ns is None else min(now, self._end_ns)

    # -- from options to attributes

    def _prepare(self, code: str, options: StepOptions) -> None:
        misuse = self._guard.misuse
        self._code = values.step_code(code, misuse)
        found = self._attributes
        found[attributes.STEP] = self._code
        if "scopes" in options:
            self._scopes = values.texts_of(options["scopes"], "scope", misuse)
        if "keys" in options:
            given = values.keys_of(options["keys"], misuse)
            self._raw = {type_: many for type_, many in given.items() if type_ in self._pseudonyms.types}
            self._keys = self._pseudonyms.keys(given, self._scopes, misuse)
            for type_, kept in self._keys.items():
                found[attributes.KEY + type_] = attribute_value(kept)
        for type_, issuer in self._scopes.items():
            found[attributes.SCOPE + type_] = issuer
        if "context" in options:
            self._describe(options["context"])
        for name, value in options.items():
            if name in _PLAIN and value is not None:
                self._put(name, value)
        if "start_time" in options or "end_time" in options:
            self._prepare_times(options)
        if "attributes" in options:
            self._prepare_others(options["attributes"])
        if (links := options.get("links")) is not None:
            self.link(*cast(list[Linked], values.listed(links, "links", misuse, MAX_LINKS)))
        if (original := options.get("replay_of")) is not None:
            self.replay_of(original)
        if (original := options.get("duplicate_of")) is not None:
            self.duplicate_of(original)

    def _prepare_times(self, options: StepOptions) -> None:
        misuse = self._guard.misuse
        self._start_ns = values.time_ns(options.get("start_time"), "start_time", misuse)
        self._end_ns = values.time_ns(options.get("end_time"), "end_time", misuse)
        if self._start_ns is not None and self._end_ns is not None and self._end_ns < self._start_ns:
            self._end_ns = self._start_ns
            misuse("bad_time", "end_time lies before start_time; the step ends when it starts")

    def _prepare_others(self, given: object) -> None:
        for name, value in values.items(given, "attributes", self._guard.misuse):
            kept = values.plain(value, "attribute", self._guard.misuse)
            if kept is not None and (written := values.text(name, "attribute", self._guard.misuse)):
                self._attributes[written] = kept

    def _describe(self, given: object) -> None:
        for name, value in self._pseudonyms.context(given, self._scopes, self._guard.misuse).items():
            self._set(name, value)

    def _with(self, type_: str, new: list[str], issuer: str | None) -> tuple[str, ...]:
        """Return the keys of *type_* with *new* ones; of a patient's type tokens of all of them by this issuer."""
        self._pseudonyms.check((type_,), self._guard.misuse)
        if type_ not in self._pseudonyms.types:
            return tuple(dict.fromkeys((*self._keys.get(type_, ()), *new)))
        raw = (*self._raw.get(type_, ()), *new)
        if kept := self._pseudonyms.of(type_, raw, issuer, self._guard.misuse):
            self._raw[type_] = raw
        return kept

    def _put_all(self, given: Mapping[str, object], where: str) -> Self:
        with self._guard.around(where):
            for name, value in given.items():
                if value is not None:
                    self._put(name, value)
        return self

    def _put(self, name: str, value: object) -> None:
        misuse = self._guard.misuse
        kept: str | None
        if name in _DECIMALS:
            kept = values.decimal_text(value, name, misuse)
        elif name in _CHOICES:
            kept = values.choice(value, _CHOICES[name], name, misuse)
        elif name == "business_time":
            kept = values.time_text(value, name, misuse)
        elif name in _CODES:
            kept = _CODES[name](value, misuse)
        else:
            kept = values.text(value, name, misuse)
        if kept is not None:
            self._set(_PLAIN[name], kept)
            if name == "outcome":
                self.result = kept

    def _set(self, name: str, value: AttributeValue) -> None:
        self._attributes[name] = value
        if self._span is not trace.INVALID_SPAN:
            self._span.set_attribute(name, value)

    def _kind(self, given: object) -> SpanKind:
        if given is None:
            return SpanKind.INTERNAL
        kind = given if isinstance(given, SpanKind) else KINDS.get(given) if isinstance(given, str) else None
        if kind is None:
            self._guard.misuse("unknown_kind", f"kind is one of {', '.join(KINDS)}")
        return kind or SpanKind.INTERNAL

    def _link(self, other: object) -> Link | None:
        if isinstance(other, Link):
            return other
        if isinstance(other, Step):
            other = other.span_context
        elif isinstance(other, str):
            other = span_in(other)
        if isinstance(other, SpanContext) and other.is_valid:
            return Link(other)
        self._guard.misuse("bad_link", "a link is a step, a span context or a traceparent")
        return None

    def _refer(self, attribute: str, original: object, what: str) -> Self:
        with self._guard.around(f"step.{what}"):
            if isinstance(original, str) and span_in(original) is None:
                reference = values.text(original, what, self._guard.misuse)
            else:
                link = self._link(original)
                reference = f"{link.context.trace_id:032x}-{link.context.span_id:016x}" if link else None
                if link:
                    self.link(link)
            if reference is not None:
                self._set(attribute, reference)
        return self


def type_name_of(error: BaseException) -> str:
    """Return the name of an exception's type for ``error.type``."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


_CHOICES: Final = {"outcome": attributes.OUTCOMES, "style": attributes.STYLES, "actor": ACTORS}
_CODES: Final = {"reason": values.reason_code, "currency": values.currency_code}
_DECIMALS: Final = frozenset({"amount", "quantity"})
_PLAIN: Final = {  # option -> attribute
    "amount": attributes.AMOUNT,
    "currency": attributes.CURRENCY,
    "quantity": attributes.QUANTITY,
    "uom": attributes.UOM,
    "outcome": attributes.OUTCOME,
    "reason": attributes.REASON,
    "business_time": attributes.BUSINESS_TIME,
    "actor": attributes.ACTOR,
    "interface": attributes.INTERFACE,
    "style": attributes.STYLE,
    "layer": attributes.LAYER,
}
