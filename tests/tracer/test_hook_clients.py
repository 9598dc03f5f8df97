"""Clients of HTTP against a real server: the keys go along to listed hosts, and nothing of queries and bodies stays."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from controltower import tracer
from tests.tracer.hooked import PO, attribute, hooked, needs

needs("aiohttp", "requests", "urllib3", instrumentations=("aiohttp_client", "httpx", "requests", "urllib3"))
import aiohttp
import requests
import urllib3

Call = Callable[[str], dict[str, str]]


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request, or sends the client to another name of this server."""

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/away"):
            self.send_response(307)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/orders")  # type: ignore[attr-defined]  # an HTTPServer
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """Where the server is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def by_requests(url: str) -> dict[str, str]:
    """Call with requests."""
    with requests.Session() as session:
        return dict(session.post(url, data="mrn=12345", headers={"baggage": "theirs=1"}, timeout=10).json())


def by_urllib3(url: str) -> dict[str, str]:
    """Call with urllib3."""
    with urllib3.PoolManager(headers={"baggage": "theirs=1"}) as pool:
        return dict(pool.request("POST", url, body="mrn=12345", timeout=10).json())


def by_aiohttp(url: str) -> dict[str, str]:
    """Call with aiohttp."""

    async def call() -> dict[str, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data="mrn=12345", headers={"baggage": "theirs=1"}) as answer,
        ):
            return dict(json.loads(await answer.text()))

    return asyncio.run(call())


def by_httpx(url: str) -> dict[str, str]:
    """Call with httpx."""
    with httpx.Client(follow_redirects=True) as client:
        return dict(client.post(url, content="mrn=12345", headers={"baggage": "theirs=1"}).json())


CLIENTS = [
    pytest.param("requests", by_requests, id="requests"),
    pytest.param("urllib3", by_urllib3, id="urllib3"),
    pytest.param("aiohttp-client", by_aiohttp, id="aiohttp"),
    pytest.param("httpx", by_httpx, id="httpx"),
]


@pytest.mark.parametrize(("name", "call"), CLIENTS)
def test_keys_go_along(name: str, call: Call, address: str) -> None:
    """The keys of the step around, and the trace; the host's own baggage stays; queries and bodies do not."""
    with hooked(name) as captured:
        with tracer.step("p2p.purchase_order.dispatched", keys={**PO, "claim_pcn": "C-1"}) as sent:
            headers = call(f"{address}/orders?mrn=12345")
        (span,) = [span for span in captured.spans if span.kind.name == "CLIENT"]

    assert headers["baggage"] == "theirs=1,controltower.key.purchase_order=PO-1042"
    assert headers["traceparent"].split("-")[1] == f"{sent.span_context.trace_id:032x}"
    assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
    assert "12345" not in span.to_json()


@pytest.mark.parametrize(("name", "call"), CLIENTS)
def test_keys_stay_with_listed_hosts(name: str, call: Call, address: str) -> None:
    """Another host gets none of our baggage, not even what a redirect copied."""
    with (
        hooked(name, propagate_hosts=["127.0.0.1"]),
        tracer.step("p2p.purchase_order.dispatched", keys=PO),
    ):
        inside, outside = call(f"{address}/orders"), call(f"{address}/away")

    assert inside["baggage"] == "theirs=1,controltower.key.purchase_order=PO-1042"
    assert outside["baggage"] == "theirs=1"


@pytest.mark.parametrize(("name", "call"), CLIENTS)
def test_a_server_that_is_gone(name: str, call: Call, address: str) -> None:
    """The host gets the library's own exception; the span is one of a failure."""
    errors = (OSError, httpx.ConnectError, urllib3.exceptions.HTTPError)
    with hooked(name) as captured:
        with pytest.raises(errors):
            call("http://127.0.0.1:1/orders?mrn=12345")
        spans = [span for span in captured.spans if span.kind.name == "CLIENT"]

    assert spans
    assert all(span.status.status_code.name == "ERROR" for span in spans)
    assert not any("12345" in span.to_json() for span in spans)


@pytest.mark.parametrize(("name", "call"), CLIENTS)
def test_nothing_is_left_after_uninstrument(name: str, call: Call, address: str) -> None:
    """The library is its own again."""
    with hooked(name) as captured, tracer.step("p2p.purchase_order.dispatched", keys=PO):
        tracer.uninstrument(name)
        assert call(f"{address}/orders").keys() >= {"baggage"}
        assert call(f"{address}/orders")["baggage"] == "theirs=1"
        assert captured.spans == ()


def test_one_span_for_a_request_through_two_hooked_libraries(address: str) -> None:
    """requests calls urllib3: with both hooked a request has one span."""
    with hooked("requests") as captured:
        tracer.instrument("urllib3")
        try:
            by_requests(f"{address}/orders")
        finally:
            tracer.uninstrument("urllib3")
        assert len(captured.spans) == 1
