"""The whole way: SDK -> collector -> journal -> store -> engine -> dashboard page and webhook, on both stores."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from standardwebhooks.webhooks import Webhook

from controltower import tracer
from tests.alerts.receiver import Received, Receiver, receiving
from tests.clickhouse_server import ClickHouseServer, free_port
from tests.conftest import database_for
from tests.processes import Tower, tower, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr"
VISIBLE_S = 15.0  # the budget is two seconds on an idle machine; a machine that tests is not idle


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A webhook's receiver on loopback."""
    with receiving() as running:
        yield running


@pytest.fixture(scope="module", params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def running_tower(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[Tower]:
    """`serve` with a webhook, over the embedded engine and over a ClickHouse server: one for all that is sent to it."""
    store = None
    receiver.received.clear()
    if request.param == "server":
        server: ClickHouseServer = request.getfixturevalue("clickhouse_server")
        store = server.address(database_for("end_to_end"))
    environment = {
        "CONTROLTOWER_WEBHOOK_URL": receiver.url,
        "CONTROLTOWER_WEBHOOK_SECRET": SECRET,
        "CONTROLTOWER_WEBHOOK_ALLOW": f"127.0.0.1:{receiver.port}",
    }
    with tower(tmp_path_factory.mktemp("tower") / "data", store, environment) as running:
        running.serve()
        yield running


def system(running: Tower, service: str) -> tracer.System:
    """Return one of the hospital's systems, which sends to the tower."""
    return tracer.System(service=service, endpoint=running.runtime.collector, token=running.runtime.token)


def verified(received: list[Received]) -> list[dict[str, object]]:
    """Return the bodies of notifications after checking each one's signature as a receiver would."""
    webhook = Webhook(SECRET)
    return [dict(webhook.verify(one.body, one.headers)) for one in received]


def test_a_late_order_reaches_page_and_pager_and_is_resolved(
    running_tower: Tower, receiver: Receiver, page: "Page"
) -> None:
    """An order that is not sent in time is a breach on its page and one signed webhook, resolved when it is sent."""
    created_at = datetime.now(UTC) - timedelta(minutes=20)
    erp, gateway = system(running_tower, "erp"), system(running_tower, "edi-gateway")
    with erp.step(
        "p2p.purchase_order.created",
        keys={"purchase_order": "PO-1042"},
        context={"vendor": "V-7"},
        amount="1250.00",
        currency="USD",
        start_time=created_at,
    ) as step:
        step.line(line=1, item="00810012345678", quantity="2", unit_price="625.00")
    assert erp.flush(10)

    until(lambda: running_tower.placed("PO-1042"), "the order is there", VISIBLE_S)
    first = running_tower.trace("PO-1042")
    firing = until(lambda: verified(receiver.received), "the breach is told")

    assert first is not None
    assert [stage["name"] for stage in first["stages"]] == ["created"]
    assert first["amounts"] == {"created": "1250.00"}
    assert firing[0]["type"] == "controltower.alert.firing"
    assert "order dispatched" in json.dumps(firing[0])

    show_and_check(running_tower, page, "breached")

    with gateway.step("p2p.purchase_order.dispatched", keys={"purchase_order": "PO-1042"}):
        pass
    assert gateway.flush(10)
    until(lambda: len(receiver.received) > 1, "the resolution is told")
    last = running_tower.trace("PO-1042")

    assert verified(receiver.received)[-1]["type"] == "controltower.alert.resolved"
    assert last is not None
    assert [stage["name"] for stage in last["stages"]] == ["created", "dispatched"]
    assert {deadline["rule"]: deadline["state"] for deadline in last["deadlines"]}["order dispatched"] == "met late"
    assert receiver.received[0].headers["webhook-id"] != receiver.received[-1].headers["webhook-id"]
    erp.shutdown()
    gateway.shutdown()


def show_and_check(running: Tower, page: "Page", state: str) -> None:
    """Open the transaction's page in the browser, by the key, and see where it stands."""
    port = free_port()
    dashboard = running.start("dashboard", "--dashboard-port", str(port))
    base = f"http://127.0.0.1:{port}"
    until(lambda: answers(f"{base}/_stcore/health"), "the dashboard answers")
    page.goto(f"{base}/transaction?flow=procure_to_pay&type=purchase_order&value=PO-1042")
    page.get_by_text("PO-1042").first.wait_for(timeout=30_000)
    page.get_by_text(state, exact=False).first.wait_for(timeout=30_000)

    assert "Traceback" not in page.content()
    running.stop(dashboard)


def answers(url: str) -> bool:
    """Whether something answers with success."""
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_an_unknown_key_is_a_sentence(running_tower: Tower) -> None:
    """A key that nothing carries ends with 1 and one sentence."""
    said = running_tower.run("trace", "PO-NOWHERE", code=1)

    assert said.count("\n") == 1
    assert "Nothing carries the key 'PO-NOWHERE'" in said


def test_a_span_without_a_step_is_found_by_its_key(running_tower: Tower) -> None:
    """A span that carries a key and is no step of a flow is shown beside the transactions."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    runtime = running_tower.runtime
    exporter = OTLPSpanExporter(f"{runtime.collector}/v1/traces", headers={"authorization": f"Bearer {runtime.token}"})
    provider = TracerProvider(resource=Resource.create({"service.name": "stock"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests").start_as_current_span("lookup") as span:
        span.set_attribute("controltower.key.purchase_order", "PO-77")
    provider.shutdown()

    def spans() -> list[dict[str, object]]:
        try:
            found = json.loads(running_tower.run("trace", "PO-77", "--json"))["spans"]
        except AssertionError:
            return []  # not there yet
        return list(found)

    (found,) = until(spans, "the span is there")

    assert found["system"] == "stock"
    assert found["name"] == "lookup"


def test_stopping_loads_what_is_left_and_starting_goes_on(running_tower: Tower) -> None:
    """SIGTERM ends `serve` in order, and the next start goes on with what is there."""
    (serve,) = running_tower.processes
    erp = system(running_tower, "erp")
    with erp.step("p2p.purchase_order.created", keys={"purchase_order": "PO-1"}):
        pass
    assert erp.flush(10)
    erp.shutdown()
    running_tower.stop(serve)

    assert serve.returncode == 0, running_tower.said("serve")
    assert not (running_tower.data / "serve.json").exists()

    running_tower.serve()

    assert until(lambda: running_tower.placed("PO-1"), "the order is there")
