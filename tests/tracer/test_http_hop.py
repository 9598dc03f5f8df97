"""Keys and traces across a real HTTP hop: FastAPI on a socket, httpx as the client."""

import asyncio
import socket
from collections.abc import Iterator

import fastapi
import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from controltower import tracer
from controltower.tracer.testing import Captured, capture
from tests.tracer.serving import asgi


def make_app() -> fastapi.FastAPI:
    """Return a service with one step of its own below each request."""
    app = fastapi.FastAPI()

    @app.post("/orders")
    async def order(request: fastapi.Request) -> dict[str, str]:
        async with tracer.step("p2p.purchase_order.acknowledged"):
            await asyncio.sleep(0)
        return {"baggage": request.headers.get("baggage", "")}

    @app.post("/failing")
    async def failing() -> None:
        raise RuntimeError("patient Jane Doe")

    tracer.instrument_fastapi(app)
    return app


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Capture the spans of this process, which is client and server."""
    with capture() as found:
        yield found


def attribute(span: ReadableSpan, name: str) -> object:
    """Return one attribute of a span."""
    return (span.attributes or {}).get(name)


def server_span(captured: Captured) -> ReadableSpan:
    """Return the span of the request as the server saw it."""
    return next(span for span in captured.spans if span.kind.name == "SERVER")


def test_keys_and_trace_cross_the_hop(captured: Captured) -> None:
    """A step in the called service carries the caller's keys and scope, in the caller's trace, without code."""
    with asgi(make_app()) as address, httpx.Client() as client:
        tracer.instrument_httpx(client)
        keys: dict[str, str | list[str]] = {"purchase_order": "PO 1,042;ü", "invoice": ["A", "B"]}
        with tracer.step("p2p.purchase_order.dispatched", keys=keys, scopes={"invoice": "V-7"}) as sent:
            client.post(f"{address}/orders").raise_for_status()

    answered = captured.assert_step("p2p.purchase_order.acknowledged", keys=keys)
    assert attribute(answered, "controltower.scope.invoice") == "V-7"
    assert answered.context is not None
    assert answered.context.trace_id == sent.span_context.trace_id
    assert attribute(server_span(captured), "controltower.key.purchase_order") == "PO 1,042;ü"


async def _post(address: str) -> str:
    async with httpx.AsyncClient() as client:
        tracer.instrument_httpx(client)
        async with tracer.step("p2p.purchase_order.dispatched", keys={"purchase_order": "PO-1"}):
            response = await client.post(
                f"{address}/orders", headers={"baggage": "theirs=1,controltower.key.invoice=X"}
            )
    return str(response.json()["baggage"])


def test_async_client_sends_keys_and_keeps_the_hosts_own_baggage(captured: Captured) -> None:
    """Members of others stay in the header, ours are replaced by the current keys."""
    with asgi(make_app()) as address:
        baggage = asyncio.run(_post(address))

    assert baggage == "theirs=1,controltower.key.purchase_order=PO-1"


def test_patient_linked_and_unlisted_keys_stay_in_the_process(captured: Captured) -> None:
    """Only listed types travel; no list can add a patient-linked one."""
    with asgi(make_app()) as address, httpx.Client() as client:
        tracer.instrument_httpx(client)
        keys = {"claim_pcn": "t1:ABC", "visit": "V", "gl_journal": "J-1", "purchase_order": "PO-1"}
        with tracer.step("p2p.purchase_order.dispatched", keys=keys):
            baggage = client.post(f"{address}/orders").json()["baggage"]

    assert baggage == "controltower.key.purchase_order=PO-1"
    with pytest.raises(tracer.SettingError, match=r"propagate_keys: claim_pcn"):
        tracer.System(service="x", propagate_keys=["claim_pcn"])


def test_keys_go_to_listed_hosts_only() -> None:
    """With ``propagate_hosts`` another host gets none of our baggage, not even what a redirect copied."""
    app = make_app()

    with asgi(app) as address:
        port = address.rpartition(":")[2]

        @app.post("/away")
        async def away() -> fastapi.responses.RedirectResponse:
            return fastapi.responses.RedirectResponse(f"http://localhost:{port}/orders", status_code=307)

        with capture(propagate_hosts=["127.0.0.1", "*.example.org"]), httpx.Client(follow_redirects=True) as client:
            tracer.instrument_httpx(client)
            with tracer.step("p2p.purchase_order.dispatched", keys={"purchase_order": "PO-1"}):
                inside = client.post(f"{address}/orders").json()["baggage"]
                outside = client.post(f"{address}/away").json()["baggage"]

    assert inside == "controltower.key.purchase_order=PO-1"
    assert outside == ""


@pytest.mark.parametrize(
    ("hosts", "baggage", "stayed"),
    [
        (None, "", 1),
        (["*.example.org"], "controltower.key.purchase_order=PO-1", 0),
        (["*"], "controltower.key.purchase_order=PO-1", 0),
    ],
)
def test_keys_leave_the_network_for_listed_hosts_only(
    hosts: list[str] | None, baggage: str, stayed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partner's host gets the trace and no keys unless it is listed, and what stays is counted."""
    resolve = socket.getaddrinfo

    def resolved(host: str, *arguments: object, **named: object) -> object:
        return resolve("127.0.0.1" if host == "partner.example.org" else host, *arguments, **named)  # type: ignore[arg-type]

    options = {} if hosts is None else {"propagate_hosts": hosts}
    with asgi(make_app()) as address, capture(**options) as captured, httpx.Client() as client:  # type: ignore[arg-type]
        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        tracer.instrument_httpx(client)
        with tracer.step("p2p.purchase_order.dispatched", keys={"purchase_order": "PO-1"}) as sent:
            answer = client.post(f"{address}/orders".replace("127.0.0.1", "partner.example.org"))

    assert answer.json()["baggage"] == baggage
    assert captured.system.health().misuse.get("keys_stayed", 0) == stayed
    assert {span.context.trace_id for span in captured.spans if span.context} == {sent.span_context.trace_id}


def test_failing_request_leaves_no_message(captured: Captured) -> None:
    """What the instrumentation records of an exception keeps its type and loses its text: it may name a patient."""
    with asgi(make_app()) as address, httpx.Client() as client:
        tracer.instrument_httpx(client)
        client.post(f"{address}/failing?mrn=12345")
    spans = captured.spans  # that of the server ends after the client has its answer

    assert server_span(captured).status.status_code.name == "ERROR"
    for span in spans:
        assert "Jane" not in span.to_json()
        assert "12345" not in span.to_json()
    assert any("RuntimeError" in span.to_json() for span in spans)


def test_every_httpx_client_can_be_traced_at_once(captured: Captured) -> None:
    """Without a client, clients made later send keys, too."""
    tracer.instrument_httpx()
    try:
        with (
            asgi(make_app()) as address,
            httpx.Client() as client,
            tracer.step("p2p.purchase_order.dispatched", keys={"purchase_order": "PO-1"}),
        ):
            baggage = client.post(f"{address}/orders").json()["baggage"]
    finally:
        tracer.uninstrument()

    assert baggage == "controltower.key.purchase_order=PO-1"
