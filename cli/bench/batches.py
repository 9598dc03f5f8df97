"""Requests as SDKs send them, serialised once and made anew at the price of a copy.

A request is kept as the pieces between what differs from one batch to the next: ids, times, and the number of the
batch, which makes the documents' numbers unique. A new request is random ids, as real ones are, and a join. That costs
less than half a microsecond per span, so that the generator does not bound what it measures.
"""

import random
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from controltower.cli.bench.shape import SCOPE, SPANS_PER_TRACE, resource_of, span_of

TRACE_BYTES: Final = 16
SPAN_BYTES: Final = 8

# Marks in the place of what differs. The bytes of the first three stand in no UTF-8 text.
_TRACE_MARK: Final = b"\xf5\xf7\xf9\xfb"  # and the trace's number
_SPAN_MARK: Final = b"\xf5\xf7\xf9\xfd"  # and the span's number
_TIME_MARK: Final = b"\xf5\xf7\xf9\xff"  # the upper half of a time, in units of 4.3 s
_NUMBER_MARK: Final = "@@batch@"  # as many characters as the number has digits in hexadecimal
_MARKS: Final = re.compile(
    rb"(?s:%b(?P<trace>.{12})|%b(?P<span>.{4})|(?P<time>%b)|(?P<number>%b))"
    % (*map(re.escape, (_TRACE_MARK, _SPAN_MARK, _TIME_MARK)), _NUMBER_MARK.encode())
)
_LOWER: Final = 2**32


@dataclass(frozen=True, slots=True)
class Template:
    """A request without what differs from batch to batch: the pieces between, and what puts the rest into order."""

    spans: int
    traces: int
    pieces: tuple[bytes, ...]
    order: "itemgetter[Any]"

    def body(self, number: int, now_ns: int, randomness: random.Random) -> bytes:
        """Return the request for batch *number*, whose spans begin within the nine seconds before *now_ns*."""
        values = (
            b"%08x" % number,
            struct.pack("<I", max(now_ns // _LOWER - 1, 0)),
            *_split(randomness.randbytes(TRACE_BYTES * self.traces), TRACE_BYTES),
            *_split(randomness.randbytes(SPAN_BYTES * self.spans), SPAN_BYTES),
        )
        joined: list[bytes] = [b""] * (2 * len(self.pieces) - 1)
        joined[0::2] = self.pieces
        joined[1::2] = self.order(values)
        return b"".join(joined)


def template(spans: int, service: str, first: int = 0) -> Template:
    """Return a request of so many *spans* of *service*, beginning with span *first* of a trace; always the same."""
    randomness = random.Random(f"{service}/{spans}/{first}")  # noqa: S311 - repeatable on purpose
    traces = -(-(first + spans) // SPANS_PER_TRACE)
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add(resource=resource_of(service, randomness))
    resource.scope_spans.append(
        ScopeSpans(scope=SCOPE, spans=[_marked(number, first, randomness) for number in range(spans)])
    )
    data = request.SerializeToString()
    marks = list(_MARKS.finditer(data))
    edges = [0, *(edge for mark in marks for edge in mark.span()), len(data)]
    pieces = tuple(data[start:end] for start, end in zip(edges[0::2], edges[1::2], strict=True))
    return Template(spans, traces, pieces, itemgetter(*(_place(mark, traces) for mark in marks)))


def _place(mark: "re.Match[bytes]", traces: int) -> int:
    """Return where the value for *mark* stands: number, time, trace ids, span ids."""
    kind = mark.lastgroup
    if kind in {"number", "time"}:
        return ("number", "time").index(kind)
    number = int.from_bytes(mark[kind or ""], "big")
    return 2 + number + (traces if kind == "span" else 0)


def _marked(number: int, first: int, randomness: random.Random) -> Span:
    """Return span *number* of the request, with marks for its ids, its times and the batch."""
    trace, position = divmod(first + number, SPANS_PER_TRACE)
    time_mark = int.from_bytes(_TIME_MARK, "little") * _LOWER
    start = time_mark + randomness.randrange(_LOWER // 2)
    span = span_of(position, randomness, _NUMBER_MARK)
    span.trace_id = _TRACE_MARK + trace.to_bytes(TRACE_BYTES - len(_TRACE_MARK), "big")
    span.span_id = _span_mark(number)
    parent = number - position + (position - 1) // 2  # a tree of two branches
    if position and parent >= 0:
        span.parent_span_id = _span_mark(parent)
    span.start_time_unix_nano = start
    span.end_time_unix_nano = start + randomness.randrange(50_000, 900_000_000)
    for event in span.events:
        event.time_unix_nano = start + 40_000
    return span


def _span_mark(number: int) -> bytes:
    return _SPAN_MARK + number.to_bytes(SPAN_BYTES - len(_SPAN_MARK), "big")


def _split(data: bytes, size: int) -> Sequence[bytes]:
    return struct.unpack(f"{size}s" * (len(data) // size), data)
