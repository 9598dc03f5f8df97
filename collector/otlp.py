"""What a request of each signal must be, checked before it is stored: counts, validity, identities.

``SIGNALS`` is the one list of signals. A signal names its messages and finds what in a valid request cannot be
stored; everything else is common.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf import (  # type: ignore[import-untyped]  # published without types
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # the same
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    DESCRIPTOR as TRACE_SERVICE,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from controltower.collector.status import Refusal, bad_request, too_large
from controltower.collector.wire import Message, Shape, TooManyError, WireError, count, shape_of
from controltower.tracer.journal import RESERVED_FIELDS
from controltower.tracer.journal.records import fields

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8

# Below this size what lies inside the items is not counted: the most it can cost the parser is 124 MiB (measured), for
# the moment of one parse. Counting it costs five times the parse.
COUNT_ALL_ABOVE_BYTES: Final = 4 * 1024 * 1024

# Fields around each item: a resource, a scope and their parts of its own are seven.
FIELDS_PER_ITEM: Final = 10

# Fields in all: as many as 64 MiB of real attributes hold, at 8 bytes each. Walking them takes two seconds.
MOST_FIELDS: Final = 8_000_000


@dataclass(frozen=True, slots=True)
class Signal:
    """A kind of telemetry: where it is posted, and what its request is."""

    name: str
    path: str
    items: str  # what its items are called
    parse: Callable[[bytes], Any]  # bytes -> the request, DecodeError when it is none
    shallow: Shape
    deep: Shape
    reject: Callable[[Any], int]  # takes items out of a parsed request that cannot be stored; returns how many
    reject_reason: str
    respond: Callable[[int, str], Message]  # rejected items and why -> the answer


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that can be stored: its bytes as they are to be loaded, and what had to be left out."""

    body: bytes
    items: int
    rejected: int


def admit(signal: Signal, body: bytes, most_items: int) -> Admitted | Refusal:
    """Check *body* (protobuf) and return what of it can be stored, or why nothing can."""
    try:
        counts = count(body, signal.shallow, most_items=most_items, most_fields=most_items * FIELDS_PER_ITEM)
        if len(body) > COUNT_ALL_ABOVE_BYTES:
            count(body, signal.deep, most_items=most_items, most_fields=MOST_FIELDS)
        own = _without_reserved(body)
        request = signal.parse(own)
    except TooManyError:
        return too_large(
            f"More than {most_items} {signal.items} or {MOST_FIELDS} values in one request, or too many empty groups of them."
        )
    except (WireError, DecodeError):
        return bad_request(f"The body is not a valid OTLP {signal.name} request.")
    rejected = signal.reject(request)
    return Admitted(request.SerializeToString() if rejected else own, counts.items - rejected, rejected)


def answer(signal: Signal, rejected: int) -> Message:
    """Return the response to a request of which *rejected* items were left out."""
    reason = f"{rejected} {signal.items} were rejected: {signal.reject_reason}" if rejected else ""
    return signal.respond(rejected, reason)


def _without_reserved(body: bytes) -> bytes:
    """Return *body* without top-level fields that only the journal may write: they carry the tenant."""
    if not any(number in RESERVED_FIELDS for number, *_ in fields(body, 0, len(body))):
        return body
    kept = (field for field in fields(body, 0, len(body)) if field[0] not in RESERVED_FIELDS)
    return b"".join(body[start:end] for _, start, _, end in kept)


def _reject_spans(request: Any) -> int:
    """Take out the spans whose trace or span id is none."""
    rejected = 0
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            bad = [number for number, span in enumerate(scope.spans) if not _has_identity(span)]
            rejected += len(bad)
            for number in reversed(bad):
                del scope.spans[number]
    return rejected


_NO_TRACE: Final = bytes(TRACE_ID_BYTES)
_NO_SPAN: Final = bytes(SPAN_ID_BYTES)


def _has_identity(span: Any) -> bool:
    trace_id, span_id = span.trace_id, span.span_id
    return (
        len(trace_id) == TRACE_ID_BYTES
        and len(span_id) == SPAN_ID_BYTES
        and trace_id != _NO_TRACE
        and span_id != _NO_SPAN
    )


def _respond_traces(rejected: int, reason: str) -> Message:
    if not rejected:
        return ExportTraceServiceResponse()
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=reason)
    return ExportTraceServiceResponse(partial_success=partial)


@cache
def _lenient(file: Any, name: str) -> Any:
    """Return the class of the message *name* of *file* in which every text is bytes.

    One invalid UTF-8 byte in one attribute would fail the whole request otherwise; the load shows it as U+FFFD.
    """
    pool = descriptor_pool.DescriptorPool()
    _add(pool, file, set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def _add(pool: Any, file: Any, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add(pool, dependency, added)
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        _texts_to_bytes(message)
    pool.Add(copy)


def _texts_to_bytes(message: Any) -> None:
    for field in message.field:
        if field.type == field.TYPE_STRING:
            field.type = field.TYPE_BYTES
    for nested in message.nested_type:
        _texts_to_bytes(nested)


def _traces() -> Signal:
    request = _lenient(TRACE_SERVICE, "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest")
    item = "opentelemetry.proto.trace.v1.Span"
    return Signal(
        name="traces",
        path="/v1/traces",
        items="spans",
        parse=request.FromString,
        shallow=shape_of(request.DESCRIPTOR, item, below_items=False),
        deep=shape_of(request.DESCRIPTOR, item, below_items=True),
        reject=_reject_spans,
        reject_reason="a trace id must be 16 bytes and a span id 8 bytes, neither all zero.",
        respond=_respond_traces,
    )


SIGNALS: Final = (_traces(),)
