"""The stock OpenTelemetry exporters for JavaScript: protobuf and JSON over HTTP, and gRPC, for every signal."""

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.collector.requests import running
from tests.javascript import node_modules, run_node

pytestmark = pytest.mark.slow

# Protobuf over HTTP is the exporters' kind "proto", JSON is "http".
SCRIPT = """
const kind = process.env.KIND;
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${kind}`);
const { OTLPLogExporter } = require(`@opentelemetry/exporter-logs-otlp-${kind}`);
const { OTLPMetricExporter } = require(`@opentelemetry/exporter-metrics-otlp-${kind}`);
const { BasicTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { LoggerProvider, SimpleLogRecordProcessor } = require("@opentelemetry/sdk-logs");
const { MeterProvider, PeriodicExportingMetricReader } = require("@opentelemetry/sdk-metrics");

const authorization = `Bearer ${process.env.TOKEN}`;
function options(signal) {
  const compression = process.env.COMPRESSION;
  if (kind !== "grpc") {
    return { url: `${process.env.URL}/v1/${signal}`, headers: { authorization }, compression };
  }
  const { Metadata } = require("@grpc/grpc-js");
  const metadata = new Metadata();
  metadata.set("authorization", authorization);
  return { url: process.env.GRPC_URL, metadata, compression };
}

const traces = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter(options("traces")))] });
const span = traces.getTracer("orders").startSpan("create order");
span.setAttributes({ text: "ä 日本", whole: 9007199254740991, part: 0.5, yes: true, list: ["a", "b"] });
span.addEvent("line", { quantity: 3 });
span.end();

const logs = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter: new OTLPLogExporter(options("logs")) })] });
logs.getLogger("orders").emit({ severityNumber: 9, severityText: "INFO", body: "order taken" });

const reader = new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(options("metrics")) });
const metrics = new MeterProvider({ readers: [reader] });
metrics.getMeter("orders").createCounter("orders").add(7);
metrics.getMeter("orders").createHistogram("seconds").record(0.25);

Promise.all([traces, logs, metrics].map((provider) => provider.forceFlush().then(() => provider.shutdown())));
"""


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("kind", ["proto", "http", "grpc"])
def test_every_signal_of_javascript_arrives(kind: str, compression: str, tmp_path: Path) -> None:
    """Each exporter of each kind delivers, compressed or not; every value is in the journal as it was set, once."""
    node_modules()
    with running(tmp_path, grpc=True) as tower:
        variables = {"KIND": kind, "COMPRESSION": compression, "TOKEN": tower.token, "URL": tower.url}
        run_node(SCRIPT, tmp_path, GRPC_URL=f"http://{tower.grpc}", **variables)
        (traces,) = map(ExportTraceServiceRequest.FromString, tower.stored_bodies("traces"))
        (logs,) = map(ExportLogsServiceRequest.FromString, tower.stored_bodies("logs"))
        found = [ExportMetricsServiceRequest.FromString(body) for body in tower.stored_bodies("metrics")]

    (span,) = traces.resource_spans[0].scope_spans[0].spans
    (record,) = logs.resource_logs[0].scope_logs[0].log_records
    metrics = {one.name: one for body in found for one in body.resource_metrics[0].scope_metrics[0].metrics}
    attributes = values(span.attributes)
    assert span.name == "create order"
    assert [value.string_value for value in attributes.pop("list").values] == ["a", "b"]
    assert attributes == {"text": "ä 日本", "whole": 9_007_199_254_740_991, "part": 0.5, "yes": True}
    assert [(event.name, values(event.attributes)) for event in span.events] == [("line", {"quantity": 3})]
    assert (record.severity_text, record.body.string_value) == ("INFO", "order taken")
    assert values_of(metrics["orders"]) == 7
    assert metrics["seconds"].histogram.data_points[0].sum == 0.25


def values_of(counter: Any) -> float:
    """Return the value of a counter, which may be whole or not."""
    (point,) = counter.sum.data_points
    return float(getattr(point, point.WhichOneof("value")))
