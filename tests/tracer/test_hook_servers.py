"""Servers of HTTP in the four frameworks, each on a socket: keys of the caller, and nothing of bodies and queries."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from controltower import tracer
from controltower.tracer.testing import Captured
from tests.tracer.hooked import attribute, hooked, needs
from tests.tracer.serving import asgi, wsgi

needs("fastapi", "starlette", "flask", instrumentations=("fastapi", "flask", "starlette"))
import fastapi
import flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

Serving = Callable[[Any], AbstractContextManager[str]]


def step() -> None:
    """The work of a request."""
    with tracer.step("p2p.purchase_order.acknowledged"):
        pass


def fastapi_app() -> Any:
    """A service in FastAPI."""
    app = fastapi.FastAPI()

    @app.post("/orders/{number}")
    async def order(number: str, request: fastapi.Request) -> str:
        step()
        await asyncio.sleep(0)
        return f"{number} {len(await request.body())}"

    @app.post("/failing")
    async def failing() -> None:
        raise RuntimeError("patient Jane Doe")

    return app


def starlette_app() -> Any:
    """The same in Starlette."""

    async def order(request: Request) -> PlainTextResponse:
        step()
        return PlainTextResponse(f"{request.path_params['number']} {len(await request.body())}")

    async def failing(request: Request) -> PlainTextResponse:
        raise RuntimeError("patient Jane Doe")

    return Starlette(
        routes=[Route("/orders/{number}", order, methods=["POST"]), Route("/failing", failing, methods=["POST"])]
    )


def flask_app() -> Any:
    """The same in Flask, with a body that is streamed: its parts are made after the request, as Flask sees it."""
    app = flask.Flask("orders")

    def order(number: str) -> Any:
        def body() -> Iterator[str]:
            step()
            yield f"{number} {len(flask.request.get_data())}"

        return flask.Response(flask.stream_with_context(body()))

    def failing() -> str:
        raise RuntimeError("patient Jane Doe")

    app.post("/orders/<number>")(order)
    app.post("/failing")(failing)
    return app


FRAMEWORKS = [
    pytest.param("fastapi", fastapi_app, asgi, "/orders/{number}", id="fastapi"),
    pytest.param("starlette", starlette_app, asgi, "/orders/{number}", id="starlette"),
    pytest.param("flask", flask_app, wsgi, "/orders/<number>", id="flask"),
]
BAGGAGE = {"baggage": "theirs=1,controltower.key.purchase_order=PO-1042,controltower.key.claim_pcn=C-1"}


def server_spans(captured: Captured) -> list[ReadableSpan]:
    """Return the spans of requests."""
    return [span for span in captured.spans if span.kind.name == "SERVER"]


@pytest.mark.parametrize(("name", "make", "serve", "route"), FRAMEWORKS)
def test_the_callers_keys_hold_for_a_request(name: str, make: Callable[[], Any], serve: Serving, route: str) -> None:
    """Steps of a request have the caller's keys and trace; the next request in the same thread has none of them."""
    headers = {**BAGGAGE, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with hooked(name) as captured:
        with serve(make()) as address:
            for given in (headers, {}):
                httpx.post(f"{address}/orders/7?mrn=12345", headers=given).raise_for_status()
        first, second = server_spans(captured)

    assert first.name == f"POST {route}"
    assert attribute(first, "controltower.key.purchase_order") == "PO-1042"
    assert attribute(first, "controltower.key.claim_pcn") is None
    assert attribute(second, "controltower.key.purchase_order") is None
    steps = [each for each in captured.steps if attribute(each, "controltower.key.purchase_order") == "PO-1042"]
    assert len(steps) == 1
    assert first.context is not None
    assert steps[0].context is not None
    assert steps[0].context.trace_id == first.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert not any("12345" in span.to_json() for span in captured.spans)
    assert len(captured.spans) == 4


@pytest.mark.parametrize(("name", "make", "serve", "route"), FRAMEWORKS)
def test_a_request_that_fails(name: str, make: Callable[[], Any], serve: Serving, route: str) -> None:
    """The span has the type of the exception and not its text."""
    with hooked(name) as captured:
        with serve(make()) as address:
            assert httpx.post(f"{address}/failing", headers=BAGGAGE).status_code == 500
        (span,) = server_spans(captured)

    assert span.status.status_code.name == "ERROR"
    assert "Jane" not in span.to_json()
    assert attribute(span, "controltower.key.purchase_order") == "PO-1042"


@pytest.mark.parametrize(("name", "make", "serve", "route"), FRAMEWORKS)
def test_keys_of_the_public_are_not_taken(name: str, make: Callable[[], Any], serve: Serving, route: str) -> None:
    """Without ``accept_keys`` a forged header does nothing, and after ``uninstrument`` nothing is traced."""
    with hooked(name) as captured:
        tracer.uninstrument(name)
        tracer.instrument(name, accept_keys=False)
        app = make()
        with serve(app) as address:
            httpx.post(f"{address}/orders/7", headers=BAGGAGE).raise_for_status()
        (span,) = server_spans(captured)
        before = len(captured.spans)
        tracer.uninstrument(name)
        with serve(app) as address:
            httpx.post(f"{address}/orders/7", headers=BAGGAGE).raise_for_status()

        assert attribute(span, "controltower.key.purchase_order") is None
        assert len(server_spans(captured)) == 1
        assert len(captured.spans) == before + 1  # the step


@pytest.mark.parametrize(("name", "make", "serve", "route"), FRAMEWORKS)
def test_keys_by_rules(name: str, make: Callable[[], Any], serve: Serving, route: str) -> None:
    """A rule takes a key from the body; the application still reads the whole of it, in parts or at once."""
    needs("jsonpath_rfc9535")
    body = json.dumps({"order": {"number": "PO-1042"}, "pad": "x" * 200_000})
    with hooked(name) as captured:
        tracer.instrument(name, extract={"POST /orders/*": {"purchase_order": "$.order.number"}})
        with serve(make()) as address:
            answer = httpx.post(f"{address}/orders/7", content=body)
            httpx.post(f"{address}/orders/7", content="{broken").raise_for_status()
        first, second = server_spans(captured)

    assert answer.text.strip('"') == f"7 {len(body)}"
    assert attribute(first, "controltower.key.purchase_order") == "PO-1042"
    assert attribute(second, "controltower.key.purchase_order") is None
    assert [attribute(step, "controltower.key.purchase_order") for step in captured.steps] == ["PO-1042", None]


DJANGO = """
import os, sys, threading
from wsgiref.simple_server import WSGIRequestHandler, make_server
os.environ["DJANGO_SETTINGS_MODULE"] = "orders_settings"
module = type(sys)("orders_settings")
module.SECRET_KEY, module.ROOT_URLCONF, module.ALLOWED_HOSTS = "x", "orders_urls", ["*"]
module.DEBUG_PROPAGATE_EXCEPTIONS, module.MIDDLEWARE, module.USE_TZ = False, (), True
sys.modules[module.__name__] = module

import logging
logging.disable(logging.CRITICAL)
import django
from django.http import HttpResponse
from django.urls import path
from controltower import tracer
from controltower.tracer.testing import capture

def order(request, number):
    with tracer.step("p2p.purchase_order.acknowledged"):
        return HttpResponse(f"{number} {request.POST.get('po')}")

async def later(request, number):
    return order(request, number)

def failing(request):
    raise RuntimeError("patient Jane Doe")

urls = type(sys)("orders_urls")
urls.urlpatterns = [path("orders/<int:number>", order), path("later/<int:number>", later), path("failing", failing)]
sys.modules[urls.__name__] = urls

import asyncio
import httpx
import urllib.request
django.setup()
with capture() as captured:
    rules = {"POST /orders/*": {"purchase_order": "form:po"}}
    assert tracer.instrument("django", extract=rules).on == ("django",)
    from django.core.wsgi import get_wsgi_application
    from django.core.asgi import get_asgi_application
    BAGGAGE = {"baggage": "controltower.key.purchase_order=PO-1042"}
    class Quiet(WSGIRequestHandler):
        def log_message(self, *_): pass
    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        for given in (BAGGAGE, {}):
            httpx.post(f"{address}/orders/7?mrn=12345", headers=given).raise_for_status()
        assert httpx.post(f"{address}/orders/7", data={"po": "PO-7"}).text == "7 PO-7"
        assert httpx.get(f"{address}/failing").status_code == 500
        server.shutdown()
        thread.join()
    async def call():
        transport = httpx.ASGITransport(get_asgi_application())
        async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
            (await client.get("/later/8", headers=BAGGAGE)).raise_for_status()
    asyncio.run(call())
    spans = captured.spans
    keys = [(span.attributes or {}).get("controltower.key.purchase_order") for span in spans if span.kind.name == "SERVER"]
    steps = [(span.attributes or {}).get("controltower.key.purchase_order") for span in captured.steps]
    names = [span.name for span in spans if span.kind.name == "SERVER"]
    text = "".join(span.to_json() for span in spans)
    assert captured.system.health().internal_errors == 0
tracer.uninstrument()
print([keys, steps, names, "12345" in text, "Jane" in text])
"""


def test_django() -> None:
    """Django, with WSGI and with ASGI; in a process of its own, since its settings can be made once only."""
    needs("django", instrumentations=("django",))
    run = subprocess.run([sys.executable, "-c", DJANGO], capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    keys, steps, names, query, text = eval(run.stdout)
    assert keys == ["PO-1042", None, "PO-7", None, "PO-1042"]
    assert steps == ["PO-1042", None, "PO-7", "PO-1042"]
    assert names == [*["POST orders/<int:number>"] * 3, "GET failing", "GET later/<int:number>"]
    assert not query
    assert not text


def test_django_without_settings() -> None:
    """The instrumentation would make settings up, and the host's own could not be set any more: the hook stays off."""
    needs("django", instrumentations=("django",))
    code = (
        "from controltower import tracer; from django.conf import settings; "
        "print(tracer.instrument().off['django'], settings.configured)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    assert run.stdout.startswith("Django has no settings yet")
    assert run.stdout.endswith("False\n")
