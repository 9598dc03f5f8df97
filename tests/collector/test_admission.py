"""What of a request is stored, whatever the request is."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint

from controltower.collector.admission import Admitted, Limits, admit
from controltower.collector.cut import RecordLimits
from controltower.collector.otlp import SIGNALS
from controltower.collector.status import Refusal
from controltower.tracer.attributes import TRUNCATED
from controltower.tracer.journal.records import RESERVED_FIELDS, fields
from tests.collector.otlp_json_writer import filled
from tests.collector.test_signals import metrics_of

REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
TIGHT = Limits(items=50, record=RecordLimits(attributes=1, value_bytes=3, name_bytes=1))
OPTIONS: dict[str, Any] = {
    "plain": {},
    "bound to a source": {"sources": frozenset({"a"})},
    "redacted": {"redact": lambda signal, request: 0},
}


def items_in(name: str, body: bytes) -> int:
    """Return how many items a request has."""
    return sum(map(len, SIGNALS[name].lists(REQUESTS[name].FromString(body))))


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("limits", [Limits(), TIGHT], ids=["default limits", "tight limits"])
@given(seed=st.integers(0, 2**32), changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4))
def test_a_spoilt_request_is_stored_as_a_valid_one_or_refused(
    name: str, options: dict[str, Any], limits: Limits, seed: int, changes: list[tuple[int, int]]
) -> None:
    """Nothing is raised; what is stored can be read by everybody, holds what was counted, and no field of the journal's."""
    body = bytearray(filled(REQUESTS[name], Random(seed)).SerializeToString())
    for at, value in changes:
        if body:
            body[at % len(body)] = value
    found = admit(SIGNALS[name], bytes(body), limits, **options)

    assert isinstance(found, Admitted | Refusal)
    if isinstance(found, Admitted):
        assert (
            items_in(name, found.body) <= found.items
        )  # fewer where a metric came as two kinds, and the last one counts
        assert not [number for number, *_ in fields(found.body, 0, len(found.body)) if number in RESERVED_FIELDS]


@pytest.mark.parametrize("name", REQUESTS)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_stored_or_refused(name: str, body: bytes) -> None:
    """Nothing is raised, whatever the bytes are."""
    assert isinstance(admit(SIGNALS[name], body, TIGHT), Admitted | Refusal)


def test_a_data_point_has_no_count_of_what_was_cut() -> None:
    """It is cut and marked like any other record."""
    point = NumberDataPoint(as_int=1)
    point.attributes.extend(KeyValue(key=f"some.attribute.{number}") for number in range(200))
    found = admit(SIGNALS["metrics"], metrics_of(Metric(name="m", gauge=Gauge(data_points=[point]))), Limits())

    assert isinstance(found, Admitted)
    (metric,) = ExportMetricsServiceRequest.FromString(found.body).resource_metrics[0].scope_metrics[0].metrics
    assert len(metric.gauge.data_points[0].attributes) == 129
    assert metric.gauge.data_points[0].attributes[-1].key == TRUNCATED
