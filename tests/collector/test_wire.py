"""Counting what a request holds without parsing it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from controltower.collector.otlp import TRACES
from controltower.collector.wire import Bounds, TooManyError, WireError, count
from tests.collector.requests import request_of, span

MANY = 10**9
UNBOUNDED = Bounds(MANY, MANY, MANY, 0)

VALUES = st.recursive(
    st.builds(AnyValue, string_value=st.text(max_size=300)) | st.builds(AnyValue, int_value=st.integers(0, 2**63 - 1)),
    lambda inner: st.builds(
        lambda values: AnyValue(array_value=ArrayValue(values=values)), st.lists(inner, max_size=3)
    ),
    max_leaves=5,
)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=st.text(max_size=5), value=VALUES), max_size=3)
SPANS = st.builds(
    Span,
    name=st.text(max_size=200),
    attributes=ATTRIBUTES,
    start_time_unix_nano=st.integers(0, 2**64 - 1),
    flags=st.integers(0, 2**32 - 1),
    events=st.lists(st.builds(Span.Event, attributes=ATTRIBUTES), max_size=2),
    links=st.lists(st.builds(Span.Link, attributes=ATTRIBUTES), max_size=2),
)
REQUESTS = st.builds(
    lambda groups: ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)]) for spans in groups]
    ),
    st.lists(st.lists(SPANS, max_size=4), max_size=3),
)


def fields_in(message: object) -> int:
    """Return how many fields *message* has on the wire, at any depth."""
    found = 0
    for field, value in message.ListFields():  # type: ignore[attr-defined]  # any protobuf message
        values = value if field.is_repeated else [value]
        found += len(values)
        if field.message_type is not None:
            found += sum(map(fields_in, values))
    return found


@given(REQUESTS)
def test_counts_are_those_of_the_parsed_request(request: ExportTraceServiceRequest) -> None:
    """On the wire and parsed there are as many spans, and as many fields."""
    body = request.SerializeToString()
    spans = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)

    assert count(body, TRACES.shallow, UNBOUNDED).items == spans
    deep = count(body, TRACES.deep, UNBOUNDED)
    assert (deep.items, deep.fields) == (spans, fields_in(request))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_counted_or_refused(body: bytes) -> None:
    """Nothing but the two expected errors comes out, whatever comes in."""
    for shape in (TRACES.shallow, TRACES.deep):
        try:
            count(body, shape, Bounds(50, 50, 50, 50))
        except (WireError, TooManyError):
            continue


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_cut_request_is_refused(cut: int) -> None:
    """A request that lost its end is noticed on the wire."""
    with pytest.raises(WireError):
        count(request_of(span(1))[:-cut], TRACES.deep, UNBOUNDED)


def test_it_stops_at_the_limit() -> None:
    """The walk ends as soon as there is one too many."""
    body = request_of(*map(span, range(1, 12)))

    count(body, TRACES.shallow, Bounds(11, MANY, MANY, 0))
    with pytest.raises(TooManyError):
        count(body, TRACES.shallow, Bounds(10, MANY, MANY, 0))
    with pytest.raises(TooManyError):
        count(body, TRACES.deep, Bounds(MANY, 10, MANY, 0))


def test_hostile_nesting_does_not_exhaust_the_stack() -> None:
    """A hundred thousand levels are counted like any other number."""
    value = b""
    levels = [b""]
    for _ in range(2_000):
        inner = b"\x0a" + _length(value) + value  # values of an array
        value = b"\x2a" + _length(inner) + inner  # the array of a value
        levels.append(value)
    attribute = b"\x12" + _length(value) + value
    body = attribute
    for tag in (0x4A, 0x12, 0x12, 0x0A):
        body = bytes([tag]) + _length(body) + body

    assert count(body, TRACES.deep, UNBOUNDED).fields == 4_005


def _length(data: bytes) -> bytes:
    number, out = len(data), bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
