"""What every hook for messages shares: a span when one is sent, received, worked on or given back, and the keys between.

Sender and receiver are joined by a link, never as parent and child: a message may wait for days, be delivered twice, or
come in a batch with others. Nothing of a message's body is looked at.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, Final, Literal, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from controltower.tracer import attributes, propagation
from controltower.tracer.default import system as process_system
from controltower.tracer.integrations.arrival import (
    IDEMPOTENCY,
    SENT_AT,
    Arrival,
    Pairs,
    arrival_of,
    idempotency_of,
    is_travelling,
    read_headers,
    sender_of,
)
from controltower.tracer.integrations.extract import keys_in
from controltower.tracer.integrations.place import MAX_ID, Operation, Place, Plain
from controltower.tracer.integrations.spans import finish, is_suppressed, now_ns, start
from controltower.tracer.propagation import NO_KEYS, with_ring
from controltower.tracer.system import System

Used = Callable[[], System]  # the system that a hook belongs to, asked for at each message
MAX_LINKS: Final = 10_000  # of one span, as the tracer's own limit; a larger batch gets more than one span
UNKNOWN_MESSAGE: Final = "unknown_message"
NO_CONTEXT: Final = Context()
_HANDLING = otel_context.create_key("controltower-handling")


class Sending:
    """The span of a message being sent, current inside: ``with Sending(...) as sending: send(sending.headers(…))``."""

    def __init__(
        self,
        system: System,
        place: Place,
        operation: str,
        *,
        message_id: str | None = None,
        given: Pairs = (),
        body: object = None,
    ) -> None:
        self._system = system
        self._place = place
        self._operation = operation
        self._message_id = message_id
        self._given = given
        self._body = body
        self._held = False
        self._ring = NO_KEYS
        self._span: Span | None = None
        self._token: Token[Context] | None = None

    def __enter__(self) -> Self:
        if is_suppressed():
            return self
        with self._system.guard.around("hook of a send"):
            found: dict[str, Plain] = {}
            if self._message_id:
                found["messaging.message.id"] = self._message_id[:MAX_ID]
            given = list(self._given)
            if given and (key := idempotency_of(read_headers(given))):
                found[attributes.KEY + IDEMPOTENCY] = key
            context, ring = self._system.parent()
            if keys := keys_in(self._system, self._place.name, given, self._body):
                ring = ring.below(keys, {}, ring.step)
                context = with_ring(ring, context)
            self._ring = ring
            described = self._place.described("send", self._operation)
            self._span = start(self._system, SpanKind.PRODUCER, described, ring, found, context=context)
            self._token = otel_context.attach(trace.set_span_in_context(self._span, context))
        return self

    def headers(self, given: Pairs, kind: Callable[[str], Any] = str) -> list[tuple[Any, Any]]:
        """Return the headers to send: *given*, with ours made by *kind* in place of what an earlier hop left there."""
        pairs = list(given)
        if self._token is None or self._span is None:
            return pairs
        with self._system.guard.around("hook of a send"):
            allowed = self._system.keys_for(self._place.host)
            ours: dict[str, str] = {}
            propagation.write(ours, self._span.get_span_context(), self._ring, allowed)
            kept = [(name, value) for name, value in pairs if not is_travelling(name)] if pairs else []
            if len(kept) < len(pairs):  # an earlier hop's
                former = read_headers(pairs).get(propagation.BAGGAGE_HEADER)
                if theirs := propagation.merge_baggage(former, NO_KEYS, allowed):
                    both = filter(None, (theirs, ours.get(propagation.BAGGAGE_HEADER)))
                    ours[propagation.BAGGAGE_HEADER] = ",".join(both)
            ours[SENT_AT] = str(now_ns(self._system) // 1_000_000)
            return kept + [(name, kind(value)) for name, value in ours.items()]
        return pairs

    def delivered(self, message_id: str | None = None, others: Mapping[str, Plain] | None = None) -> None:
        """Note what the broker answered."""
        with self._system.guard.around("hook of a send"):
            if self._span is not None:
                if message_id:
                    self._span.set_attribute("messaging.message.id", message_id[:MAX_ID])
                self._span.set_attributes(dict(others or {}))

    def hold(self) -> None:
        """Let the span be current no more, and keep it open until ``end``: for sends that are confirmed later."""
        self._held = True
        self._leave()

    def end(self, error: BaseException | str | None = None) -> None:
        """End the span; *error*, an exception or a code, marks it."""
        if self._span is not None:
            span, self._span = self._span, None
            with self._system.guard.around("hook of a send"):
                finish(self._system, span, error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        self._leave()
        if error is not None or not self._held:
            self.end(error)

    def _leave(self) -> None:
        if self._token is not None:
            token, self._token = self._token, None
            with self._system.guard.around("hook of a send"):
                otel_context.detach(token)


class Handling:
    """The span of work on a message, current inside with the sender's keys; a message already at work has only one."""

    def __init__(self, used: Used, message: Any, arrival: Arrival | None, *, detached: bool = False) -> None:
        self._used = used
        self._message = message
        self._arrival = arrival
        self._detached = detached  # a library's task keeps the context in which somebody subscribed, long ago
        self._system: System | None = None
        self._span: Span | None = None
        self._token: Token[Context] | None = None

    @property
    def arrival(self) -> Arrival | None:
        """The message as it arrived."""
        return self._arrival

    def is_of(self, message: object) -> bool:
        """Return whether *message* is the one at work."""
        return self._message is message

    def note(self, name: str, value: Plain) -> None:
        """Set an attribute of the span."""
        if self._span is not None:
            self._span.set_attribute(name, value)

    def __enter__(self) -> SpanContext | None:
        system = self._system = self._used()
        arrival = self._arrival
        if arrival is None or is_suppressed() or ((outer := handled()) is not None and outer.is_of(self._message)):
            return None
        sender: SpanContext | None = None
        with system.guard.around("hook of a message"):
            sender, ring = sender_of(arrival, system)
            above, inherited = (NO_CONTEXT, NO_KEYS) if self._detached else system.parent()
            if inherited.keys:
                ring = inherited.below(ring.keys, ring.scopes, None)
            context = with_ring(ring, above, {_HANDLING: self})
            described, facts = arrival.place.described("process", "process"), arrival.facts(now_ns(system))
            links = [Link(sender)] if sender else ()
            self._span = start(system, SpanKind.CONSUMER, described, ring, facts, links, context)
            self._token = otel_context.attach(trace.set_span_in_context(self._span, context))
        return sender

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> Literal[False]:
        if self._system is not None and self._span is not None:
            with self._system.guard.around("hook of a message"):
                if self._token is not None:
                    otel_context.detach(self._token)
                finish(self._system, self._span, error)
            self._token = self._span = None
        return False

    async def __aenter__(self) -> SpanContext | None:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, trace_back)


class Settling:
    """The span of messages given back: to the queue, to its dead letters, or to nowhere."""

    def __init__(self, used: Used, operation: str, arrivals: Sequence[Arrival], *, requeued: bool) -> None:
        self._used = used
        self._operation = operation
        self._arrivals = arrivals
        self._requeued = requeued
        self._system: System | None = None
        self._span: Span | None = None

    def __enter__(self) -> None:
        if not self._arrivals or is_suppressed():
            return
        system = self._system = self._used()
        with system.guard.around("hook of a settlement"):
            found: dict[str, Plain] = {attributes.MESSAGE_REQUEUED: self._requeued}
            if not self._requeued:
                found[attributes.OUTCOME] = "rejected"
            self._span = about(system, "settle", self._operation, SpanKind.CLIENT, self._arrivals, found)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> Literal[False]:
        if self._system is not None and self._span is not None:
            with self._system.guard.around("hook of a settlement"):
                finish(self._system, self._span, error)
                work = handled()
                if error is None and not self._requeued and work is not None and work.arrival in self._arrivals:
                    work.note(attributes.OUTCOME, "rejected")
        return False


def pulled(system: System, operation: str, arrivals: Sequence[Arrival], *, batch: bool = False) -> None:
    """Record that messages were fetched: one span, with a link to each sender; nothing stays current after it."""
    if not arrivals or is_suppressed():
        return
    with system.guard.around("hook of a receive"):
        for first in range(0, len(arrivals), MAX_LINKS):
            some = arrivals[first : first + MAX_LINKS]
            found: dict[str, Plain] = {}
            if batch or len(arrivals) > 1:
                found["messaging.batch.message_count"] = len(some)
            finish(system, about(system, "receive", operation, SpanKind.CONSUMER, some, found), None)


def about(
    system: System,
    type_: Operation,
    operation: str,
    kind: SpanKind,
    arrivals: Sequence[Arrival],
    found: Mapping[str, Plain],
) -> Span:
    """Start a span about messages that arrived, with a link to each sender.

    Facts of one message are on the span, those of several on the links. Keys are those of all of them, as far as they
    are few enough to travel.
    """
    at_ns = now_ns(system)
    alone = len(arrivals) == 1
    facts = arrivals[0].facts(at_ns) if alone else {}
    links: list[Link] = []
    keys: dict[str, dict[str, None]] = {}
    scopes: dict[str, str] = {}
    for arrival in arrivals:
        sender, ring = sender_of(arrival, system)
        if sender is not None:
            links.append(Link(sender, None if alone else arrival.facts(at_ns)))
        for type_of_key, values in ring.keys.items():
            keys.setdefault(type_of_key, {}).update(dict.fromkeys(values))
        scopes.update(ring.scopes)
    above, inherited = system.parent()
    ring = inherited.below({each: tuple(values) for each, values in keys.items()}, scopes, None)
    described = arrivals[0].place.described(type_, operation)
    span = start(system, kind, described, ring, {**facts, **found}, links, with_ring(ring, above))
    if dropped := getattr(span, "dropped_links", 0):  # the tracer allows 10,000, the host's own provider maybe 128
        span.set_attribute(attributes.CONTEXT + "links_truncated", "true")
        system.guard.count("dropped_links", dropped)
    return span


def handled() -> Handling | None:
    """Return the message at work around the caller."""
    found = otel_context.get_value(_HANDLING)
    return found if isinstance(found, Handling) else None


def processing(message: Any) -> Handling:
    """Work on a message that was fetched: its sender's keys hold inside, and a span is linked to its sender.

    ``with`` or ``async with``; gives the sender's span, or ``None``. Functions that a library calls with each message
    have this already.
    """
    used = process_system()
    with used.guard.around("processing"):
        arrival = arrival_of(message)
        if arrival is None:
            used.guard.misuse(UNKNOWN_MESSAGE, "processing takes a message that a hooked library received")
        return Handling(process_system, message, arrival)
    return Handling(process_system, message, None)
