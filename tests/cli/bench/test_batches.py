"""The generator's requests are what SDKs send: valid, with ids of their own, dated now."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.cli.bench.batches import template
from controltower.cli.bench.shape import SPANS_PER_TRACE

NOW_NS = 1_800_000_000_000_000_000
TEN_SECONDS_NS = 10 * 10**9


def spans_of(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 100), st.integers(0, SPANS_PER_TRACE - 1))
def test_every_span_has_an_identity(size: int, first: int) -> None:
    """A request has as many spans as asked for, each with its own id, and parents that are in their trace."""
    spans = spans_of(template(size, "erp", first).body(7, NOW_NS, random.Random(1)))
    trace_of = {span.span_id: span.trace_id for span in spans}

    assert len(trace_of) == len(spans) == size
    assert all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans)
    assert all(trace_of[span.parent_span_id] == span.trace_id for span in spans if span.parent_span_id)


def test_spans_are_dated_now() -> None:
    """Spans begin within ten seconds before the request, and end after they began."""
    spans = spans_of(template(64, "erp").body(7, NOW_NS, random.Random(1)))

    assert all(NOW_NS - TEN_SECONDS_NS < span.start_time_unix_nano <= NOW_NS for span in spans)
    assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in spans)
    assert all(event.time_unix_nano > span.start_time_unix_nano for span in spans for event in span.events)


def test_two_batches_share_no_id_and_no_document() -> None:
    """Batches of one template differ in their spans' ids and in the numbers of their documents, and in nothing else."""
    made, randomness = template(64, "erp"), random.Random(1)
    one, other = (spans_of(made.body(number, NOW_NS, randomness)) for number in (1, 2))
    orders = [
        {
            attribute.value.string_value
            for span in batch
            for attribute in span.attributes
            if attribute.key == "controltower.key.purchase_order"
        }
        for batch in (one, other)
    ]

    assert not {span.span_id for span in one} & {span.span_id for span in other}
    assert orders[0]
    assert not orders[0] & orders[1]
    assert [span.name for span in one] == [span.name for span in other]


def test_spans_look_like_those_of_instrumentations() -> None:
    """A dozen attributes on a span, more on a business step; three spans of eight are business steps."""
    spans = spans_of(template(8 * SPANS_PER_TRACE, "erp").body(1, NOW_NS, random.Random(1)))
    steps = [span for span in spans if any(each.key == "controltower.step" for each in span.attributes)]

    assert min(len(span.attributes) for span in spans) == 12
    assert len(steps) * SPANS_PER_TRACE == 3 * len(spans)
    assert any(span.events for span in steps)
