"""Steps as a request of OTLP: spans with ids of ours, of one service.

The bytes are written as protobuf's wire format says, and not through its messages: that is a third of the time, and of a
record read, matched and sent this was the largest part. A test reads them back with the messages.
"""

import struct
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from itertools import islice
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from controltower.collector.scrapers.observation import AttributeValue, Step
from controltower.collector.scrapers.span_ids import TRACE_BYTES
from controltower.tracer import attributes
from controltower.tracer.journal.records import varint

SCOPE: Final = "controltower.scrape"
REMEMBERED: Final = 256  # names; a source has some ten of them
SHORT: Final = 100  # bytes: nearly all values are shorter, and every length of theirs is one byte

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
_LINE_NAME: Final = b"\x12%c%b" % (len(attributes.LINE_EVENT), attributes.LINE_EVENT.encode())
MOST_LENGTHS: Final = 16_384
_LENGTHS: Final = tuple(varint(length) for length in range(MOST_LENGTHS))


class Request:
    """A request that grows by steps."""

    def __init__(self, service: str) -> None:
        self._resource = _field(b"\x0a", _field(b"\x0a", _key_value("service.name", service)))
        self._spans: list[bytes] = []  # three of each
        self._fixed: dict[int, tuple[Mapping[str, AttributeValue], bytes]] = {}

    def __len__(self) -> int:
        return len(self._spans) // 3

    def add(self, step: Step) -> None:
        """Add a step as a span."""
        ids = step.ids
        parts = [b"\x0a\x10", ids[:TRACE_BYTES], b"\x12\x08", ids[TRACE_BYTES:]]
        if step.parent:
            parts.append(_field(b"\x22", step.parent))
        parts += (_named(b"\x2a", step.name), _KIND, _TIMES.pack(_START, step.at_ns, _END, step.end_ns))
        taken: Iterable[tuple[str, AttributeValue]] = step.attributes.items()
        if step.fixed:
            parts.append(self._shared(step.fixed))
            taken = islice(taken, len(step.fixed), None)
        _append(parts, _SPAN_ATTRIBUTE, taken)
        for line in step.lines:
            event = [_TIME.pack(_EVENT_TIME, step.at_ns), _LINE_NAME]
            _append(event, _EVENT_ATTRIBUTE, line.items())
            parts.append(_field(b"\x5a", b"".join(event)))
        if step.failed:
            parts.append(_FAILED)
        span = b"".join(parts)
        self._spans += (b"\x12", _length(len(span)), span)

    def _shared(self, fixed: Mapping[str, AttributeValue]) -> bytes:
        known = self._fixed.get(id(fixed))
        if known is None:
            parts: list[bytes] = []
            _append(parts, _SPAN_ATTRIBUTE, fixed.items())
            known = self._fixed[id(fixed)] = fixed, b"".join(parts)  # kept, so that no other one gets its id
        return known[1]

    def encoded(self) -> bytes:
        """Return the request as it is sent."""
        scoped = _field(b"\x12", b"".join([_scope(), *self._spans]))
        return _field(b"\x0a", self._resource + scoped)


def _append(parts: list[bytes], tag: bytes, taken: Iterable[tuple[str, AttributeValue]]) -> None:
    for name, value in taken:
        if type(value) is str:  # nearly always, and short
            text = value.encode()
            length = len(text)
            if length < SHORT:
                parts += (_heads(tag, name)[length], text)
                continue
        encoded = _key_value(name, value)
        parts += (tag, _length(len(encoded)), encoded)


@lru_cache(REMEMBERED)
def _heads(tag: bytes, name: str) -> tuple[bytes, ...]:
    """Return what stands before a text of each short length, in an attribute of that name."""
    return tuple(_field(tag, _key_value(name, "x" * length))[: -length or None] for length in range(SHORT))


@cache
def _scope() -> bytes:
    return _field(b"\x0a", _field(b"\x0a", SCOPE.encode()) + _field(b"\x12", version("controltower").encode()))


def _key_value(name: str, value: AttributeValue) -> bytes:
    named = _named(b"\x0a", name) + b"\x12"
    if isinstance(value, str):
        return named + _field(b"", _field(b"\x0a", value.encode()))
    if isinstance(value, int):
        return named + _field(b"", b"\x18" + varint(value))
    many = b"".join([_field(b"\x0a", _field(b"\x0a", each.encode())) for each in value])
    return named + _field(b"", _field(b"\x2a", many))


@lru_cache(REMEMBERED)
def _named(tag: bytes, name: str) -> bytes:
    return _field(tag, name.encode())


def _field(tag: bytes, content: bytes) -> bytes:
    return b"%b%b%b" % (tag, _length(len(content)), content)


def _length(length: int) -> bytes:
    return _LENGTHS[length] if length < MOST_LENGTHS else varint(length)
