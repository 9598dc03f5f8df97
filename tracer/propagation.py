"""Carries keys from a step to what happens below it: in the process by context, to other processes by W3C baggage.

A *key ring* is what travels. Inside the process every key with at most ``MAX_TRAVELLING`` values does; across processes
only the types of the allow-list do, within size limits, and never a patient-linked type.
"""

import json
import logging
import re
from collections.abc import Container, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import Token
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from controltower.tracer import attributes
from controltower.tracer.key_types import PATIENT_TYPES

if TYPE_CHECKING:
    from controltower.tracer.step import Step

logger = logging.getLogger("controltower.tracer")

MAX_TRAVELLING: Final = (
    20  # values of one type that go to child spans: a payment run must not copy 500 invoices to each
)
MAX_BAGGAGE_BYTES: Final = 2048  # of ours in the header; proxies commonly refuse all headers together above 8 KiB
MAX_BAGGAGE_VALUE: Final = 256  # characters of one key accepted from another process
MAX_BAGGAGE_MEMBERS: Final = 64
TRACE_HEADER: Final = "traceparent"
STATE_HEADER: Final = "tracestate"
BAGGAGE_HEADER: Final = "baggage"
# https://opentelemetry.io/docs/specs/otel/context/env-carriers/
VARIABLES: Final = {TRACE_HEADER: "TRACEPARENT", STATE_HEADER: "TRACESTATE", BAGGAGE_HEADER: "BAGGAGE"}

# Identities that name a business document and no patient (docs/instrument.md lists them).
DEFAULT_PROPAGATED: Final = frozenset(
    {
        "customer_order",
        "customer_order_line",
        "debit_memo",
        "debit_memo_line",
        "erp_transaction",
        "exception",
        "invoice",
        "movement",
        "purchase_order",
        "purchase_order_line",
        "receipt",
        "receipt_line",
        "replenishment",
        "requisition",
        "requisition_line",
        "shipment",
        "transfer_order",
        "vendor_order",
        "voucher",
        "warehouse_order",
    }
)
# Types that lead to a patient, bills and statements by their account; no setting lets them leave the process in a
# header, not even as tokens.
PATIENT_LINKED: Final = PATIENT_TYPES | {"bill", "statement"}

_RING = otel_context.create_key("controltower-keys")
_trace_context = TraceContextTextMapPropagator()
_PLAIN_PARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(slots=True)
class KeyRing:
    """The keys that travel below one step; ``step`` is that step, if there is one.

    Once it is in use only ``add`` changes it: how it is written down is kept for the next span and message.
    """

    keys: dict[str, tuple[str, ...]]
    scopes: dict[str, str]
    step: "Step | None" = None
    _attributes: dict[str, str | tuple[str, ...]] | None = field(default=None, init=False, repr=False, compare=False)
    _members: tuple[frozenset[str], list[str]] | None = field(default=None, init=False, repr=False, compare=False)

    def add(self, type_: str, values: tuple[str, ...], scope: str | None) -> None:
        """Make *values* travel from now on, unless they are too many."""
        self._attributes = self._members = None
        if len(values) <= MAX_TRAVELLING:
            self.keys = {**self.keys, type_: values}
            self.scopes = {**self.scopes, type_: scope} if scope else self.scopes
        elif type_ in self.keys:
            self.keys = {other: kept for other, kept in self.keys.items() if other != type_}

    def below(self, keys: Mapping[str, tuple[str, ...]], scopes: Mapping[str, str], step: "Step | None") -> "KeyRing":
        """Return the ring for what happens below *step*: its own keys replace those of the same type."""
        ring = self.without(keys) if self.keys else KeyRing({}, {})
        for type_, values in keys.items():
            if len(values) <= MAX_TRAVELLING:
                ring.keys[type_] = values
                if type_ in scopes:
                    ring.scopes[type_] = scopes[type_]
        ring.step = step
        return ring

    def without(self, types: Container[str]) -> "KeyRing":
        """Return a copy without some types."""
        return KeyRing(
            {type_: values for type_, values in self.keys.items() if type_ not in types},
            {type_: scope for type_, scope in self.scopes.items() if type_ not in types},
            self.step,
        )

    def span_attributes(self) -> dict[str, str | tuple[str, ...]]:
        """Return the ring as span attributes, which are not to be changed."""
        if (found := self._attributes) is None:
            found = {attributes.KEY + type_: attribute_value(values) for type_, values in self.keys.items()}
            found.update({attributes.SCOPE + type_: scope for type_, scope in self.scopes.items()})
            self._attributes = found
        return found

    def members(self, allowed: frozenset[str]) -> list[str]:
        """Return the baggage members for the keys that may travel, within the size limit; not to be changed."""
        if self._members is None or self._members[0] is not allowed:
            self._members = allowed, encode_ring(self, allowed)
        return self._members[1]


NO_KEYS: Final = KeyRing({}, {})
NOTHING: Final[Mapping[str, object]] = {}


def attribute_value(values: tuple[str, ...]) -> str | tuple[str, ...]:
    """Return one value as a string and several as an array."""
    return values[0] if len(values) == 1 else values


def ring_in(context: Context | None = None) -> KeyRing:
    """Return the key ring of *context*, the current one by default."""
    ring = otel_context.get_value(_RING, context)
    return ring if isinstance(ring, KeyRing) else NO_KEYS


def with_ring(ring: KeyRing, context: Context | None = None, others: Mapping[str, object] = NOTHING) -> Context:
    """Return *context*, the current one by default, with another key ring and other values."""
    above = otel_context.get_current() if context is None else context
    return Context({**above, _RING: ring, **others})


def attach_ring(ring: KeyRing) -> Token[Context]:
    """Use *ring* from now on, until the token is detached."""
    return otel_context.attach(with_ring(ring))


@contextmanager
def ring_attached(ring: KeyRing) -> Iterator[None]:
    """Use *ring* for what happens inside."""
    token = attach_ring(ring)
    try:
        yield
    finally:
        otel_context.detach(token)


def encode_ring(ring: KeyRing, allowed: frozenset[str]) -> list[str]:
    """Return the baggage members for the keys of *ring* that may travel, within the size limit."""
    members: list[str] = []
    if not ring.keys:
        return members
    size = 0
    for type_ in sorted(ring.keys):
        values = ring.keys[type_]
        if not _may_travel(type_, allowed) or any(len(value) > MAX_BAGGAGE_VALUE for value in values):
            continue
        plain = len(values) == 1 and not values[0].startswith("[")
        new = [_member(attributes.KEY + type_, values[0] if plain else json.dumps(values, ensure_ascii=False))]
        if scope := ring.scopes.get(type_):
            new.append(_member(attributes.SCOPE + type_, scope))
        length = sum(len(member) + 1 for member in new)
        if size + length <= MAX_BAGGAGE_BYTES:
            members += new
            size += length
    return members


def decode_ring(header: str, allowed: frozenset[str]) -> KeyRing:
    """Return the keys in a ``baggage`` header; what is not allowed, too long or malformed is left out."""
    ring = KeyRing({}, {})
    if not header:
        return ring
    for member in header.split(",")[:MAX_BAGGAGE_MEMBERS]:
        name, _, rest = member.partition("=")
        name = _unquoted(name.strip())
        if not name.startswith(attributes.PREFIX):
            continue
        value = _unquoted(rest.partition(";")[0].strip())
        type_ = name.removeprefix(attributes.KEY)
        if type_ != name and _may_travel(type_, allowed) and (values := _received_values(value)):
            ring.keys[type_] = values
        type_ = name.removeprefix(attributes.SCOPE)
        if type_ != name and _may_travel(type_, allowed) and 0 < len(value) <= MAX_BAGGAGE_VALUE:
            ring.scopes[type_] = value
    ring.scopes = {type_: scope for type_, scope in ring.scopes.items() if type_ in ring.keys}
    return ring


def merge_baggage(header: str | None, ring: KeyRing, allowed: frozenset[str]) -> str:
    """Return a ``baggage`` header with our members replaced by those of *ring* and the others kept."""
    if not header:
        return ",".join(ring.members(allowed))
    others = [member for member in header.split(",") if member.strip() and not _is_ours(member)]
    return ",".join([*others, *ring.members(allowed)])


def inject(carrier: MutableMapping[str, str], allowed: frozenset[str]) -> None:
    """Write the trace context and the keys that may travel into the headers of a message."""
    write(carrier, trace.get_current_span().get_span_context(), ring_in(), allowed)


def write(carrier: MutableMapping[str, str], span: SpanContext, ring: KeyRing, allowed: frozenset[str]) -> None:
    """Write *span* and the keys of *ring* that may travel into the headers of a message."""
    if span.is_valid:
        carrier[TRACE_HEADER] = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
        if span.trace_state:
            carrier[STATE_HEADER] = span.trace_state.to_header()
    if header := merge_baggage(carrier.get(BAGGAGE_HEADER), ring, allowed):
        carrier[BAGGAGE_HEADER] = header


def extract(carrier: Mapping[str, str], allowed: frozenset[str]) -> tuple[trace.SpanContext, KeyRing]:
    """Return the sender's span and the keys from the headers of a message; the span may be invalid."""
    return read({str(name).lower(): value for name, value in carrier.items() if isinstance(value, str)}, allowed)


def read(headers: Mapping[str, str], allowed: frozenset[str]) -> tuple[trace.SpanContext, KeyRing]:
    """As ``extract``, of headers whose names are in lower case."""
    return _sender(headers), decode_ring(headers.get(BAGGAGE_HEADER, ""), allowed)


def _sender(headers: Mapping[str, str]) -> SpanContext:
    """Return the span that wrote *headers*; it may be invalid."""
    plain = _PLAIN_PARENT.fullmatch(headers.get(TRACE_HEADER, ""))
    if plain is not None and not headers.get(STATE_HEADER):
        # What nearly every sender writes. The propagator reads it, too, with three more contexts and spans on the way.
        found = SpanContext(int(plain[1], 16), int(plain[2], 16), True, TraceFlags(int(plain[3], 16)))
        if found.is_valid:
            return found
    return trace.get_current_span(_trace_context.extract(headers, Context())).get_span_context()


def span_in(traceparent: str) -> trace.SpanContext | None:
    """Return the span that a ``traceparent`` names; ``None`` for what the recommendation of the W3C calls invalid."""
    found = _sender({TRACE_HEADER: traceparent})
    return found if found.is_valid else None


def environment(allowed: frozenset[str]) -> dict[str, str]:
    """Return the variables that carry the trace context and the keys that may travel to a process that is started here."""
    carrier: dict[str, str] = {}
    inject(carrier, allowed)
    return {VARIABLES[name]: value for name, value in carrier.items() if name in VARIABLES}


def started_by(variables: Mapping[str, str], allowed: frozenset[str]) -> tuple[Context | None, KeyRing]:
    """Return the context below the span that started this process, and the keys that it gave along; nothing without one."""
    carrier = {name: variables[variable] for name, variable in VARIABLES.items() if variables.get(variable)}
    sender, ring = extract(carrier, allowed)
    if not sender.is_valid:
        return None, ring
    return with_ring(ring, trace.set_span_in_context(trace.NonRecordingSpan(sender), Context())), ring


def _may_travel(type_: str, allowed: frozenset[str]) -> bool:
    return type_ in allowed and type_ not in PATIENT_LINKED


def _is_ours(member: str) -> bool:
    return unquote(member.partition("=")[0].strip()).startswith(attributes.PREFIX)


def _unquoted(text: str) -> str:
    return unquote(text, errors="replace") if "%" in text else text


def _member(name: str, value: str) -> str:
    return f"{name}={quote(value, safe='', errors='replace')}"


def _received_values(text: str) -> tuple[str, ...]:
    values: object = [text]
    if text.startswith("["):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            return ()
    if not isinstance(values, list) or len(values) > MAX_TRAVELLING:
        return ()
    kept = [value for value in values if isinstance(value, str) and 0 < len(value) <= MAX_BAGGAGE_VALUE]
    return tuple(kept) if len(kept) == len(values) else ()
