"""Spans of the stock OpenTelemetry SDK for JavaScript, as a service in Node.js sends them."""

import re
from pathlib import Path

import pytest

from tests.javascript import node_modules, run_node
from tests.processes import tower, until

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[1] / "docs" / "javascript.md"


def test_what_the_page_shows_is_traced(tmp_path: Path) -> None:
    """Every block of docs/javascript.md as one program: two steps, a line, and a message with its wait, in one transaction."""
    node_modules()
    blocks = re.findall(r"```javascript\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with tower(tmp_path / "data") as running:
        running.serve()
        run_node("\n".join(blocks), tmp_path, TOWER=running.runtime.collector, TOWER_TOKEN=running.runtime.token)
        until(lambda: len(running.placed("PO-JS-1")) == 2, "both steps are there")
        found = running.trace("PO-JS-1")

    assert found is not None
    sent, worked = found["hops"]
    assert len(blocks) == 5
    assert [stage["name"] for stage in found["stages"]] == ["created", "dispatched"]
    assert {stage["system"] for stage in found["stages"]} == {"storefront"}
    assert found["amounts"]["created"] == "980.10"
    assert [(line["quantity"], line["unit_price"]) for line in found["lines"]] == [("3", "326.70")]
    assert [(hop["operation"], hop["broker"], hop["destination"]) for hop in (sent, worked)] == [
        ("send", "rabbitmq", "orders"),
        ("process", "rabbitmq", "orders"),
    ]
    assert sent["span"]["trace_id"] != worked["span"]["trace_id"]
    assert 0 <= worked["wait_ms"] < 60_000
