"""Giant records are cut, counted and marked; everything else is stored byte for byte."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.collector.admission import Admitted, Limits, admit
from controltower.collector.cut import Cutter, RecordLimits
from controltower.collector.otlp import LOGS, METRICS, TRACES
from controltower.tracer.attributes import TRUNCATED
from tests.collector.requests import request_of, span
from tests.collector.test_signals import logs_of, metrics_of

LIMITS = Limits()
VALUE_BYTES = LIMITS.record.value_bytes


def attribute(key: str, value: str = "v") -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def admitted(body: bytes, signal: Any = TRACES) -> Admitted:
    found = admit(signal, body, LIMITS)
    assert isinstance(found, Admitted)
    return found


def first_span(body: bytes) -> Span:
    request = ExportTraceServiceRequest.FromString(admitted(body).body)
    found: Span = request.resource_spans[0].scope_spans[0].spans[0]
    return found


def marks(attributes: Sequence[KeyValue]) -> list[str]:
    return [pair.value.string_value for pair in attributes if pair.key == TRUNCATED]


def test_of_many_attributes_the_first_stay() -> None:
    """128 stay, the rest is counted where OTLP counts it, and the span says that it was cut."""
    many = span(1)
    many.attributes.extend(attribute(f"a{number}") for number in range(100_000))
    many.dropped_attributes_count = 7
    found = admitted(request_of(many))
    cut = first_span(request_of(many))

    assert (found.items, found.rejected, found.trimmed) == (1, 0, 1)
    assert found.words == "1 records were cut to the limits of attributes, events, links and lengths."
    assert [pair.key for pair in cut.attributes] == ["n", *[f"a{number}" for number in range(127)], TRUNCATED]
    assert cut.dropped_attributes_count == 7 + 100_001 - 128
    assert marks(cut.attributes) == ["attributes"]


def test_keys_of_transactions_stay_before_others() -> None:
    """A span keeps what its transaction is found by, wherever among its attributes it stands."""
    many = span(1)
    many.attributes.extend(attribute(f"some.attribute.{number}") for number in range(500))
    many.attributes.append(attribute("controltower.key.purchase_order", "PO-1"))

    assert "controltower.key.purchase_order" in [pair.key for pair in first_span(request_of(many)).attributes]


def test_of_many_events_and_links_the_first_stay() -> None:
    """100,000 events are 128, and what stays of them is held to the same limits."""
    many = span(1)
    many.events.extend(Span.Event(name=f"event {number}") for number in range(100_000))
    many.events[0].attributes.extend(attribute(f"a{number}") for number in range(200))
    many.links.extend(Span.Link(trace_id=bytes(16)) for _ in range(200))
    cut = first_span(request_of(many))

    assert (len(cut.events), cut.dropped_events_count) == (128, 100_000 - 128)
    assert (len(cut.links), cut.dropped_links_count) == (128, 72)
    assert (len(cut.events[0].attributes), cut.events[0].dropped_attributes_count) == (128, 72)
    assert marks(cut.attributes) == ["attributes,events,links"]


def test_long_names_and_values_are_cut_at_a_character() -> None:
    """A name of a megabyte keeps a kibibyte, a value of ten megabytes 32 KiB; neither ends in half a character."""
    long = span(1, name="é" * 500_000 + "x")
    long.attributes.append(attribute("k" * 5_000, "€" * 3_500_000))
    long.status.message = "s" * 100_000
    cut = first_span(request_of(long))

    assert cut.name == "é" * 512
    assert cut.attributes[1].key == "k" * 1_024
    assert cut.attributes[1].value.string_value == "€" * (VALUE_BYTES // 3)
    assert cut.status.message == "s" * VALUE_BYTES
    assert marks(cut.attributes) == ["names,values"]
    assert cut.dropped_attributes_count == 0


def test_lists_and_maps_keep_their_first_members() -> None:
    """A value made of values is cut as a whole, not emptied."""
    texts = [AnyValue(string_value="x" * 10_000) for _ in range(10)]
    long = span(1)
    long.attributes.append(KeyValue(key="list", value=AnyValue(array_value=ArrayValue(values=texts))))
    pairs = [KeyValue(key=f"k{number}", value=text) for number, text in enumerate(texts)]
    long.attributes.append(KeyValue(key="map", value=AnyValue(kvlist_value=KeyValueList(values=pairs))))
    _, found, mapped, mark = first_span(request_of(long)).attributes

    assert [len(value.string_value) for value in found.value.array_value.values] == [10_000] * 3 + [2_759]
    assert [pair.key for pair in mapped.value.kvlist_value.values] == ["k0", "k1", "k2", "k3"]
    assert mark.value.string_value == "values"


def test_only_the_giant_is_touched() -> None:
    """Its neighbours are as they were, wherever among them it stands, also when spans were rejected before it."""
    giant = span(3, name="g" * 5_000)
    others = [span(1), span(2), span(4)]
    bad = span(9, trace_id=b"")
    request = ExportTraceServiceRequest.FromString(
        admitted(request_of(others[0]) + request_of(bad, others[1], giant, others[2])).body
    )
    spans = [span_ for group in request.resource_spans for span_ in group.scope_spans[0].spans]

    assert [spans[0], spans[1], spans[3]] == others
    assert spans[2].name == "g" * 1_024


def test_resources_scopes_and_metrics_are_cut_too() -> None:
    """What stands around the items is not a way past the limits."""
    request = ExportMetricsServiceRequest.FromString(
        metrics_of(Metric(name="m" * 10**6, description="d", gauge=Gauge(data_points=[NumberDataPoint(as_int=1)])))
    )
    request.resource_metrics[0].resource.attributes.extend(attribute(f"a{number}") for number in range(1_000))
    request.resource_metrics[0].scope_metrics[0].scope.name = "s" * 2_000
    cut = ExportMetricsServiceRequest.FromString(admitted(request.SerializeToString(), METRICS).body)
    (group,) = cut.resource_metrics

    assert (len(group.resource.attributes), group.resource.dropped_attributes_count) == (129, 872)
    assert group.scope_metrics[0].scope.name == "s" * 1_024
    assert marks(group.scope_metrics[0].scope.attributes) == ["names"]
    assert group.scope_metrics[0].metrics[0].name == "m" * 1_024
    assert marks(group.scope_metrics[0].metrics[0].metadata) == ["names"]


def test_a_long_log_body_is_cut() -> None:
    """The body of a log record is a value like any other."""
    body = admitted(logs_of(LogRecord(body=AnyValue(string_value="b" * 100_000))), LOGS).body
    (record,) = ExportLogsServiceRequest.FromString(body).resource_logs[0].scope_logs[0].log_records

    assert record.body.string_value == "b" * VALUE_BYTES
    assert marks(record.attributes) == ["values"]


@pytest.mark.parametrize("attributes", [0, 8, 60, 127])
def test_what_is_within_the_limits_is_stored_byte_for_byte(attributes: int) -> None:
    """Nothing is written anew that need not be."""
    ordinary = span(1, name="n" * 1_024)
    ordinary.attributes.extend(attribute(f"some.attribute.{number}", "v" * 200) for number in range(attributes))
    body = request_of(ordinary)

    assert admitted(body) == Admitted(body, 1)


@given(st.text(min_size=1, max_size=50), st.integers(4, 40))
def test_a_cut_text_is_the_beginning_of_the_text(text: str, most: int) -> None:
    """However long its characters are, at most three bytes more than needed are cut."""
    record = Span(name=text)
    lenient = TRACES.request.FromString(request_of(record)).resource_spans[0].scope_spans[0].spans[0]
    Cutter(RecordLimits(name_bytes=most)).cut(lenient)
    kept = lenient.name.decode()

    assert text.startswith(kept)
    assert len(lenient.name) <= most
    assert len(lenient.name) >= min(len(text.encode()), most - 3)
