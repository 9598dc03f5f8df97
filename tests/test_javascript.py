"""Spans of the stock OpenTelemetry SDK for JavaScript, as a service in Node.js sends them."""

from pathlib import Path

import pytest

from tests.javascript import node_modules, run_node
from tests.processes import tower, until

pytestmark = pytest.mark.slow

SCRIPT = """
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BasicTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-base");

const exporter = new OTLPTraceExporter({
  url: process.env.URL,
  headers: { authorization: `Bearer ${process.env.TOKEN}` },
});
const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ "service.name": "storefront" }),
  spanProcessors: [new SimpleSpanProcessor(exporter)],
});
const span = provider.getTracer("orders").startSpan("create order");
span.setAttributes({
  "controltower.step": "p2p.purchase_order.created",
  "controltower.key.purchase_order": ["PO-JS-1"],
  "controltower.amount": "980.10",
  "controltower.currency": "USD",
});
span.addEvent("controltower.line", { line: "1", item: "00810012345678", quantity: "3", unit_price: "326.70" });
span.end();
provider.forceFlush().then(() => provider.shutdown());
"""


def test_a_step_sent_from_javascript_is_traced(tmp_path: Path) -> None:
    """A stock exporter for JavaScript needs our attributes and nothing else."""
    node_modules()
    with tower(tmp_path / "data") as running:
        running.serve()
        runtime = running.runtime
        run_node(SCRIPT, tmp_path, URL=f"{runtime.collector}/v1/traces", TOKEN=runtime.token)
        found = until(lambda: running.trace("PO-JS-1"), "the order is there")

    assert found is not None
    assert found["stages"][0]["system"] == "storefront"
    assert found["amounts"] == {"created": "980.10"}
    assert [(line["quantity"], line["unit_price"]) for line in found["lines"]] == [("3", "326.70")]
