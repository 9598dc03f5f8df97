"""Steps as a request of OTLP: spans with ids of ours, of one service.

The bytes are written as protobuf's wire format says, and not through its messages: that is a third of the time, and of a
record read, matched and sent this was the largest part. A test reads them back with the messages.
"""

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import version
from itertools import islice
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from controltower.collector.scrapers.observation import AttributeValue, Step
from controltower.collector.scrapers.span_ids import TRACE_BYTES
from controltower.tracer import attributes
from controltower.tracer.journal.records import varint

SCOPE: Final = "controltower.scrape"
REMEMBERED: Final = 1_024  # attributes of a request as bytes: those of the first spans, of which most are in every one

# Field numbers and types of opentelemetry/proto/trace/v1 and common/v1, as the first byte of each field.
_TIMES: Final = struct.Struct("<BQBQ")
_TIME: Final = struct.Struct("<BQ")
_START: Final = 0x39
_END: Final = 0x41
_EVENT_TIME: Final = 0x09
_KIND: Final = b"\x30%c" % Span.SPAN_KIND_INTERNAL
_FAILED: Final = b"\x7a\x02\x18%c" % Status.STATUS_CODE_ERROR
_SPAN_ATTRIBUTE: Final = b"\x4a"
_EVENT_ATTRIBUTE: Final = b"\x1a"
MOST_LENGTHS: Final = 16_384
_LENGTHS: Final = tuple(varint(length) for length in range(MOST_LENGTHS))


class Request:
    """A request that grows by steps."""

    def __init__(self, service: str) -> None:
        resource = _field(b"\x0a", _key_value("service.name", service))
        scope = _field(b"\x0a", SCOPE.encode()) + _field(b"\x12", version("controltower").encode())
        self._head = _field(b"\x0a", resource)
        self._scope = _field(b"\x0a", scope)
        self._spans: list[bytes] = []
        self._line_name = _field(b"\x12", attributes.LINE_EVENT.encode())
        self._known: dict[tuple[str, AttributeValue], bytes] = {}
        self._fixed: dict[int, tuple[Mapping[str, AttributeValue], bytes]] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, step: Step) -> None:
        """Add a step as a span."""
        ids = step.ids
        parts = [
            b"\x0a\x10",
            ids[:TRACE_BYTES],
            b"\x12\x08",
            ids[TRACE_BYTES:],
            _field(b"\x22", step.parent) if step.parent else b"",
            _field(b"\x2a", step.name.encode()),
            _KIND,
            _TIMES.pack(_START, step.at_ns, _END, step.end_ns),
        ]
        taken: Iterable[tuple[str, AttributeValue]] = step.attributes.items()
        if step.fixed:
            parts.append(self._shared(step.fixed))
            taken = islice(taken, len(step.fixed), None)
        self._append(parts, _SPAN_ATTRIBUTE, taken)
        for line in step.lines:
            event = [_TIME.pack(_EVENT_TIME, step.at_ns), self._line_name]
            self._append(event, _EVENT_ATTRIBUTE, line.items())
            parts.append(_field(b"\x5a", b"".join(event)))
        if step.failed:
            parts.append(_FAILED)
        self._spans.append(_field(b"\x12", b"".join(parts)))

    def _shared(self, fixed: Mapping[str, AttributeValue]) -> bytes:
        known = self._fixed.get(id(fixed))
        if known is None:
            parts: list[bytes] = []
            self._append(parts, _SPAN_ATTRIBUTE, fixed.items())
            known = self._fixed[id(fixed)] = fixed, b"".join(parts)  # kept, so that no other one gets its id
        return known[1]

    def _append(self, parts: list[bytes], tag: bytes, taken: Iterable[tuple[str, AttributeValue]]) -> None:
        known, lengths = self._known, _LENGTHS  # looked up a million times a second
        for pair in taken:
            encoded = known.get(pair)
            if encoded is None:
                encoded = _key_value(*pair)
                if len(known) < REMEMBERED:
                    known[pair] = encoded
            length = len(encoded)
            parts += (tag, lengths[length] if length < MOST_LENGTHS else varint(length), encoded)

    def encoded(self) -> bytes:
        """Return the request as it is sent."""
        scoped = _field(b"\x12", b"".join([self._scope, *self._spans]))
        return _field(b"\x0a", self._head + scoped)


def _key_value(name: str, value: AttributeValue) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        length = _length(len(text))
        return b"%b%b\x0a%b%b" % (_named(name), _length(1 + len(length) + len(text)), length, text)
    if isinstance(value, int):
        return _named(name) + _field(b"", b"\x18" + varint(value))
    many = b"".join([_field(b"\x0a", _field(b"\x0a", each.encode())) for each in value])
    return _named(name) + _field(b"", _field(b"\x2a", many))


@lru_cache(REMEMBERED)
def _named(name: str) -> bytes:
    return _field(b"\x0a", name.encode()) + b"\x12"


def _field(tag: bytes, content: bytes) -> bytes:
    return b"%b%b%b" % (tag, _length(len(content)), content)


def _length(length: int) -> bytes:
    return _LENGTHS[length] if length < MOST_LENGTHS else varint(length)
