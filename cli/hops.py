"""The messages and files on a transaction's way: each that was sent, received, worked on or given back around its steps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controltower.store.read import Member, Span
from controltower.tracer import attributes

OPERATION: Final = "messaging.operation.type"

SpanId = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Hop:
    """One end of a message's way, and how long it waited until then; ``None`` where nobody said it."""

    span: Span
    operation: str  # send, receive, process, settle
    broker: str  # rabbitmq, kafka … or file
    destination: str
    wait_ms: int | None
    redelivered: bool | None
    delivery_count: int | None
    outcome: str
    reason: str

    @property
    def failed(self) -> bool:
        """Whether its span has the status Error; older exporters write the name of the protocol."""
        return self.span.status in ("Error", "STATUS_CODE_ERROR")


@dataclass(frozen=True, slots=True)
class Way:
    """The spans above and below a transaction's steps, in order of time; *truncated* says that there are more."""

    spans: tuple[Span, ...]
    truncated: bool

    @property
    def hops(self) -> list[Hop]:
        """The messages among them."""
        return [_hop(span) for span in self.spans if OPERATION in span.attributes or _is_file(span.attributes)]


def around(members: Sequence[Member], spans: Sequence[Span]) -> list[Span]:
    """Return those of *spans* that are above or below the step of one of *members* in its trace, the steps included."""
    known = {(span.trace_id, span.span_id): span for span in spans}
    steps = {(member.step.trace_id, member.step.span_id) for member in members}
    above = {id_ for step in steps for id_ in _path(step, known)}
    return [span for id_, span in known.items() if id_ in above or any(each in steps for each in _path(id_, known))]


def _hop(span: Span) -> Hop:
    said = span.attributes
    return Hop(
        span=span,
        operation=said.get(OPERATION, "process"),
        broker=said.get("messaging.system") or said.get(attributes.STYLE, ""),
        destination=said.get("messaging.destination.name", ""),
        wait_ms=_number(said, attributes.MESSAGE_WAIT),
        redelivered=said[attributes.MESSAGE_REDELIVERED] == "true" if attributes.MESSAGE_REDELIVERED in said else None,
        delivery_count=_number(said, attributes.MESSAGE_DELIVERY_COUNT),
        outcome=said.get(attributes.OUTCOME, ""),
        reason=said.get(attributes.REASON, ""),
    )


def _is_file(said: Mapping[str, str]) -> bool:
    """Return whether a span is work on a file whose writer is known."""
    return said.get(attributes.STYLE) == "file" and attributes.MESSAGE_WAIT in said


def _path(id_: SpanId, known: Mapping[SpanId, Span]) -> Iterator[SpanId]:
    """Yield a span and those above it; senders can make up circles."""
    seen: set[SpanId] = set()
    while id_ in known and id_ not in seen:
        seen.add(id_)
        yield id_
        id_ = (id_[0], known[id_].parent_span_id)


def _number(said: Mapping[str, str], name: str) -> int | None:
    text = said.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None
