"""Spans of the stock OpenTelemetry SDK for JavaScript, as a service in Node.js sends them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.processes import tower, until

pytestmark = pytest.mark.slow

# The last line that runs on Node.js 20.
PACKAGES = (
    "@opentelemetry/api@1.9.0",
    "@opentelemetry/exporter-trace-otlp-proto@0.223.1",
    "@opentelemetry/resources@2.12.1",
    "@opentelemetry/sdk-trace-base@2.12.1",
)
CACHE = Path.home() / ".cache" / "controltower-tests" / "javascript"
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


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder with the packages, fetched once; skips when they cannot be had, fails in CI."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("Node.js and npm are not installed")
    wanted = json.dumps(PACKAGES)
    stamp = CACHE / "installed.json"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        CACHE.mkdir(parents=True, exist_ok=True)
        words = [
            "npm",
            "install",
            "--silent",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(CACHE),
            *PACKAGES,
        ]
        fetched = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
        if fetched.returncode != 0:
            missing(f"npm could not fetch the OpenTelemetry packages: {fetched.stderr.strip()[-200:]}")
        stamp.write_text(wanted, encoding="utf-8")
    return CACHE / "node_modules"


def test_a_step_sent_from_javascript_is_traced(tmp_path: Path, node_modules: Path) -> None:
    """A stock exporter for JavaScript needs our attributes and nothing else."""
    script = tmp_path / "order.js"
    script.write_text(SCRIPT, encoding="utf-8")
    with tower(tmp_path / "data") as running:
        running.serve()
        runtime = running.runtime
        environment = {
            "PATH": str(Path(shutil.which("node") or "node").parent),
            "NODE_PATH": str(node_modules),
            "URL": f"{runtime.collector}/v1/traces",
            "TOKEN": runtime.token,
        }
        sent = subprocess.run(
            ["node", str(script)], check=False, env=environment, capture_output=True, text=True, timeout=60
        )
        assert sent.returncode == 0, sent.stderr
        found = until(lambda: running.trace("PO-JS-1"), "the order is there")

    assert found is not None
    assert found["stages"][0]["system"] == "storefront"
    assert found["amounts"] == {"created": "980.10"}
    assert [(line["quantity"], line["unit_price"]) for line in found["lines"]] == [("3", "326.70")]
