"""What a hook does for a message, written by hand with OpenTelemetry's API: its spans, attributes, links and headers."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import baggage, propagate, trace
from opentelemetry.trace import Link, Span, SpanKind, Tracer

KEY: Final = "controltower.key.purchase_order"
SENT_AT: Final = "controltower-sent-at"
Headers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A queue or stream at a broker on this machine."""

    system: str
    name: str
    port: int
    sends: str  # the operation
    group: str = ""

    def attributes(self, operation: str, type_: str, more: Headers) -> Headers:
        """Return the attributes of a span."""
        found = {
            "messaging.system": self.system,
            "messaging.destination.name": self.name,
            "server.address": "127.0.0.1",
            "server.port": self.port,
            "messaging.operation.name": operation,
            "messaging.operation.type": type_,
            **more,
        }
        return {**found, "messaging.consumer.group.name": self.group} if self.group and type_ != "send" else found


class ByHand:
    """The spans of a message. *everything*: all that our hooks make, instead of two spans, a link and a header."""

    def __init__(self, tracer: Tracer, place: Place, *, everything: bool) -> None:
        self._tracer = tracer
        self._place = place
        self.everything = everything

    def sending(self) -> AbstractContextManager[Span]:
        """Open the span of a message that is sent; inside, ``mark`` fills its headers."""
        more = {KEY: baggage.get_baggage(KEY)} if self.everything else {}
        return self._tracer.start_as_current_span(
            f"send {self._place.name}",
            kind=SpanKind.PRODUCER,
            attributes=self._place.attributes(self._place.sends, "send", more),
        )

    def mark(self, headers: Headers) -> None:
        """Write the headers of the span that is open."""
        propagate.inject(headers)
        if self.everything:
            headers[SENT_AT] = str(time.time_ns() // 1_000_000)

    def sent(self, span: Span, message_id: str | None) -> None:
        """Note what the broker answered."""
        if self.everything and message_id:
            span.set_attribute("messaging.message.id", message_id)

    def received(self, messages: Sequence[tuple[Headers, Headers]]) -> None:
        """Make the span of a fetch, with a link to each sender."""
        if not self.everything:
            return
        links, keys = [], {}
        for headers, facts in messages:
            context = propagate.extract(headers)
            links.append(Link(trace.get_current_span(context).get_span_context(), facts_of(headers, facts)))
            keys[baggage.get_baggage(KEY, context)] = None
        more = {KEY: next(iter(keys)), "messaging.batch.message_count": len(messages)}
        self._tracer.start_span(
            f"receive {self._place.name}",
            kind=SpanKind.CONSUMER,
            attributes=self._place.attributes("xreadgroup", "receive", more),
            links=links,
        ).end()

    def processing(self, headers: Headers, facts: Headers) -> AbstractContextManager[Span]:
        """Open the span of the work on a message, in a trace of its own, with what travels from its sender."""
        context = propagate.extract(headers)
        sender = trace.get_current_span(context).get_span_context()
        more: Headers = {}
        if self.everything:
            more = {**facts_of(headers, facts), KEY: baggage.get_baggage(KEY, context)}
        return self._tracer.start_as_current_span(
            f"process {self._place.name}",
            context=trace.set_span_in_context(trace.INVALID_SPAN, context),
            kind=SpanKind.CONSUMER,
            attributes=self._place.attributes("process", "process", more),
            links=[Link(sender)],
        )


def facts_of(headers: Headers, facts: Headers) -> Headers:
    """Return what is true of one message, with its wait."""
    wait = time.time_ns() // 1_000_000 - int(headers[SENT_AT])
    return {**facts, "controltower.message.wait_ms": wait, "controltower.message.redelivered": False}
