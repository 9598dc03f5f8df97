"""The bytes of a request are those of OTLP: its own messages read back what was written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from controltower.collector.scrapers.encoding import SCOPE, Request
from controltower.collector.scrapers.observation import AttributeValue, Step

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.sampled_from(["", "x" * 127, "x" * 128, "ü" * 9_000, "x" * 20_000]),
)
VALUES = st.one_of(TEXTS, st.lists(TEXTS, max_size=4).map(tuple))
ATTRIBUTES = st.dictionaries(TEXTS, VALUES, max_size=6)
TIMES = st.integers(0, 2**63 - 1)
STEPS = st.builds(
    Step,
    code=st.just("a.b.c"),
    name=TEXTS,
    at_ns=TIMES,
    end_ns=TIMES,
    ids=st.binary(min_size=24, max_size=24),
    attributes=ATTRIBUTES,
    lines=st.lists(ATTRIBUTES, max_size=3),
    parent=st.sampled_from([b"", b"12345678"]),
    failed=st.booleans(),
)


def read(attributes: Any) -> dict[str, AttributeValue]:
    """Return attributes as they were given."""
    return {
        each.key: each.value.string_value
        if each.value.HasField("string_value")
        else tuple(value.string_value for value in each.value.array_value.values)
        for each in attributes
    }


@given(st.lists(STEPS, max_size=4), TEXTS)
def test_what_was_written_is_read(steps: list[Step], service: str) -> None:
    """Every field of every step comes back, whatever its length, in the order it was added."""
    request = Request(service)
    for step in steps:
        request.add(step)
    (resource,) = ExportTraceServiceRequest.FromString(request.encoded()).resource_spans
    (scope,) = resource.scope_spans

    assert read(resource.resource.attributes) == {"service.name": service}
    assert (scope.scope.name, len(request)) == (SCOPE, len(steps))
    found = [
        Step(
            "a.b.c",
            span.name,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.trace_id + span.span_id,
            read(span.attributes),
            [read(event.attributes) for event in span.events],
            span.parent_span_id,
            span.status.code == Status.STATUS_CODE_ERROR,
        )
        for span in scope.spans
    ]
    assert found == steps
    assert all(span.kind == Span.SPAN_KIND_INTERNAL for span in scope.spans)
    assert {event.name for span in scope.spans for event in span.events} <= {"controltower.line"}


@pytest.mark.parametrize("count", [0, 3, 5_000])
def test_the_bytes_are_the_shortest(count: int) -> None:
    """Written as the messages write them, so that nothing is left to how a reader takes odd bytes."""
    request = Request("erp")
    for number in range(count):
        attributes: dict[str, AttributeValue] = {"a": f"v{number}", "b": ("x", "y"), "c": "constant"}
        request.add(Step("a.b.c", "a.b.c", number + 1, number + 2, bytes([1] * 24), attributes))
    parsed = ExportTraceServiceRequest.FromString(request.encoded())

    assert parsed.SerializeToString() == request.encoded()
