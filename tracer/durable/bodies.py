"""Spans as the bodies of OTLP requests: encoded, counted, and taken apart when one is refused."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from controltower.tracer import attributes
from controltower.tracer.journal.contents import envelope_of
from controltower.tracer.journal.records import Record, fields, message_of, scan

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

RESOURCE_SPANS, SCOPE_SPANS, SPANS = 1, 2, 2  # fields of OTLP's messages


class Body(NamedTuple):
    """The body of a request, and how many spans are in it."""

    data: bytes
    spans: int


def is_business(span: "ReadableSpan") -> bool:
    """Return whether *span* is a business step or tells of a run: these go before all others."""
    given = span.attributes or {}
    return attributes.STEP in given or attributes.RUN_ID in given


def encoded(spans: "Sequence[ReadableSpan]", limit: int) -> Iterator[Body]:
    """Yield *spans* in bodies of about *limit* bytes at most; a span that cannot be encoded comes alone, with no bytes."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    try:
        data: bytes = encode_spans(spans).SerializeToString()
    except Exception:  # noqa: BLE001 - what protobuf raises depends on its implementation; the caller counts
        data = b""
    if len(spans) == 1 or 0 < len(data) <= limit:
        yield Body(data, len(spans))
        return
    middle = len(spans) // 2
    yield from encoded(spans[:middle], limit)
    yield from encoded(spans[middle:], limit)


def body_of(segment: bytes) -> bytes:
    """Return the records of a verified segment as one request: messages back to back are their lists joined.

    It follows from the segment alone, so what is sent again are the same bytes.
    """
    found = []
    for record in scan(segment):
        if isinstance(record, Record):
            message = message_of(segment, record)
            found.append(message[: envelope_of(message).body_bytes])
    return b"".join(found)


def spans_in(body: bytes) -> int:
    """Return how many spans are in *body*, without decoding them."""
    return sum(
        number == SPANS
        for scope_at, scope_end in _of(body, 0, len(body), RESOURCE_SPANS, SCOPE_SPANS)
        for number, *_ in fields(body, scope_at, scope_end)
    )


def _of(body: bytes, start: int, end: int, outer: int, inner: int) -> Iterator[tuple[int, int]]:
    for number, _, at, stop in fields(body, start, end):
        if number == outer:
            for below, _, begin, finish in fields(body, at, stop):
                if below == inner:
                    yield begin, finish


def halves(body: bytes) -> tuple[bytes, bytes] | None:
    """Return the spans of *body* in two requests; nothing when there is only one. The same body gives the same halves."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    first, second = ExportTraceServiceRequest.FromString(body), ExportTraceServiceRequest.FromString(body)
    total = spans_in(body)
    if total < 2:
        return None
    _keep(first, 0, total // 2)
    _keep(second, total // 2, total)
    return first.SerializeToString(deterministic=True), second.SerializeToString(deterministic=True)


def _keep(request: object, begin: int, end: int) -> None:
    """Leave the spans of *request* whose numbers are in a range, and nothing empty around them."""
    number = 0
    resources = request.resource_spans  # type: ignore[attr-defined]  # generated code without types
    for resource in resources:
        for scope in resource.scope_spans:
            kept = [span for at, span in enumerate(scope.spans, number) if begin <= at < end]
            number += len(scope.spans)
            del scope.spans[:]
            scope.spans.extend(kept)
        for at in reversed(range(len(resource.scope_spans))):
            if not resource.scope_spans[at].spans:
                del resource.scope_spans[at]
    for at in reversed(range(len(resources))):
        if not resources[at].scope_spans:
            del resources[at]
