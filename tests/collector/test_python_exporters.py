"""The stock OpenTelemetry exporters for Python: every signal, over HTTP and over gRPC, compressed or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcTraces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpTraces
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.collector.requests import Tower, running

GZIP = {"http": Compression.Gzip, "grpc": grpc.Compression.Gzip}
NONE = {"http": Compression.NoCompression, "grpc": grpc.Compression.NoCompression}
EXPORTERS: dict[str, dict[str, Any]] = {
    "http": {"traces": HttpTraces, "logs": HttpLogs, "metrics": HttpMetrics},
    "grpc": {"traces": GrpcTraces, "logs": GrpcLogs, "metrics": GrpcMetrics},
}


@pytest.fixture
def tower(tmp_path: Path) -> Iterator[Tower]:
    """A collector that takes gRPC, too."""
    with running(tmp_path, grpc=True) as started:
        yield started


def exporter(tower: Tower, transport: str, signal: str, *, compressed: bool) -> Any:
    """Return the stock exporter, set up as its documentation says."""
    options = {"headers": {"authorization": f"Bearer {tower.token}"}}
    compression = (GZIP if compressed else NONE)[transport]
    if transport == "http":
        return EXPORTERS[transport][signal](f"{tower.url}/v1/{signal}", compression=compression, **options)
    return EXPORTERS[transport][signal](tower.grpc, insecure=True, compression=compression, **options)


way = pytest.mark.parametrize("transport", EXPORTERS)
compressed = pytest.mark.parametrize("compressed", [True, False])


@way
@compressed
def test_spans_arrive(transport: str, compressed: bool, tower: Tower) -> None:
    """Every span of a batch is in the journal once."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter(tower, transport, "traces", compressed=compressed)))
    for number in range(1_000):
        with provider.get_tracer("tests").start_as_current_span(f"step {number}"):
            pass
    provider.shutdown()

    assert sorted(tower.stored_spans()) == sorted(f"step {number}" for number in range(1_000))


@way
@compressed
def test_logs_arrive(transport: str, compressed: bool, tower: Tower) -> None:
    """Every record of a batch is in the journal once."""
    provider = LoggerProvider()
    provider.add_log_record_processor(
        BatchLogRecordProcessor(exporter(tower, transport, "logs", compressed=compressed))
    )
    for number in range(100):
        provider.get_logger("tests").emit(body=f"order {number} taken")
    provider.shutdown()
    found = [
        record.body.string_value
        for body in tower.stored_bodies("logs")
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]

    assert sorted(found) == sorted(f"order {number} taken" for number in range(100))


@way
@compressed
def test_metrics_arrive(transport: str, compressed: bool, tower: Tower) -> None:
    """A counter and a histogram are in the journal with their values."""
    reader = PeriodicExportingMetricReader(exporter(tower, transport, "metrics", compressed=compressed))
    provider = MeterProvider([reader])
    meter = provider.get_meter("tests")
    meter.create_counter("orders").add(7)
    meter.create_histogram("seconds").record(0.25)
    provider.shutdown()
    (body,) = tower.stored_bodies("metrics")
    (scope,) = ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics
    metrics = {one.name: one for one in scope.metrics}

    assert metrics["orders"].sum.data_points[0].as_int == 7
    assert metrics["seconds"].histogram.data_points[0].sum == 0.25
