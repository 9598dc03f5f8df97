"""The collector as an ASGI application: routes, and errors in the protocol's own form."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from controltower.collector.admission import RedactFor
from controltower.collector.auth import Tokens
from controltower.collector.connections import Patience, connection_class
from controltower.collector.door import Door
from controltower.collector.exposition import MEDIA_TYPE, exposition
from controltower.collector.gauges import of_journals, of_number
from controltower.collector.grpc_server import GrpcServer
from controltower.collector.health import Health
from controltower.collector.intake import Intake
from controltower.collector.metrics import Metrics
from controltower.collector.otlp import SIGNALS
from controltower.collector.receive import peer_of, receiver, refusal_response
from controltower.collector.server import Server
from controltower.collector.settings import Settings, is_loopback
from controltower.collector.status import Refusal
from controltower.collector.straight import Post, Straight
from controltower.collector.tls import read_tls
from controltower.tracer.journal import Journal

# Parsing holds the interpreter's lock; a second thread is there to decompress and hash meanwhile.
DECODING_THREADS: Final = 2

# Connections that are not accepted yet: clients that start all at once are not refused.
BACKLOG: Final = 2_048


def build_app(
    settings: Settings,
    journals: Mapping[str, Journal],
    tokens: Tokens,
    *,
    metrics: Metrics | None = None,
    redact: RedactFor | None = None,
    store_problem: Callable[[], str | None] = lambda: None,
    store_warning: Callable[[], str | None] = lambda: None,
    clock: Callable[[], int] = time.time_ns,
) -> FastAPI:
    """Return the application that takes OTLP into *journals*, one for each signal by its name; others are not taken.

    The caller opens and closes the journals. *redact* is called for what senders of class ``phi`` send. *store_problem* says what is wrong with the store (None: nothing); it may block and is asked for ``/readyz`` only;
    so is *store_warning*, about what does not work as well as it should.
    """
    counted = metrics or Metrics()
    executor = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode")
    intake = Intake(settings, journals, tokens, counted, executor, redact=redact, clock=clock)
    counted.watch(of_journals(journals, clock))
    health = Health(settings, journals, counted, store_problem, clock, store_warning=store_warning)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for ends in app.state.before_end:
            await ends()
        executor.shutdown()

    # No pages of documentation, and no redirect: stock clients count a 307 as success and lose the data.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    app.add_exception_handler(HTTPException, _refuse)
    app.state.intake = intake  # the other transports take requests through the same one
    app.state.metrics = counted
    app.state.before_end = []  # awaited before what all transports use is ended
    app.state.posts = _posts(intake, settings)
    for path, post in app.state.posts.items():
        app.add_route(path, post, methods=["POST"])
    app.add_route("/healthz", _healthz, methods=["GET"])
    app.add_route("/readyz", _readyz(health), methods=["GET"])
    app.add_route("/metrics", _metrics(counted, None if is_loopback(settings.host) else intake.door), methods=["GET"])
    return app


def _posts(intake: Intake, settings: Settings) -> dict[str, Post]:
    """Return what takes requests of each signal, by its paths."""
    return {
        settings.path_prefix + signal.path + end: receiver(intake, signal, settings.body_timeout_s)
        for signal in SIGNALS.values()
        for end in ("", "/")
    }


def build_server(app: FastAPI, settings: Settings, *, grpc: bool = False) -> Server:
    """Return the server of *app*, with *grpc* also that of OTLP/gRPC; ``should_exit`` ends both.

    ``run(sockets=…)`` or ``serve(sockets=…)`` starts it. Raises SettingsError when the files for TLS cannot be used.
    """
    tls = read_tls(settings)
    beside = GrpcServer(settings, app.state.intake, tls) if grpc else None
    if beside is not None:
        app.state.before_end.append(partial(beside.stop, settings.stop_s))
    metrics: Metrics = app.state.metrics.of(transport="http")
    patience = Patience(
        settings.connections, settings.header_timeout_s, settings.idle_timeout_s, settings.write_timeout_s
    )
    config = uvicorn.Config(
        Straight(app, app.state.posts),
        host=settings.host,
        port=settings.port,
        http=connection_class(patience, metrics.refused),
        ssl_context_factory=(lambda *_: tls.context) if tls is not None else None,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=math.ceil(settings.idle_timeout_s),
        timeout_graceful_shutdown=max(1, round(settings.stop_s)),
    )
    server = Server(config, beside, settings.stop_s)
    metrics.watch(of_number("connections", lambda: len(server.server_state.connections), transport="http"))
    return server


async def _healthz(_: Request) -> Response:
    return JSONResponse({"alive": True})


def _readyz(health: Health) -> Callable[[Request], Awaitable[Response]]:
    async def get(_: Request) -> Response:
        readiness = await run_in_threadpool(health.readiness)
        return JSONResponse(readiness.as_json(), 200 if readiness.ready else 503)

    return get


def _metrics(metrics: Metrics, door: Door | None) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers a scrape; with *door*, of who has a token for it: the names of senders are not for everybody."""

    async def get(request: Request) -> Response:
        refusal = door.scraper(request.headers.get("authorization"), peer_of(request)) if door else None
        if door and refusal:
            metrics.of(transport="http").refused(refusal.reason)
            await door.hold(refusal)
            return refusal_response(refusal, request)
        return Response(await run_in_threadpool(exposition, metrics), media_type=MEDIA_TYPE)

    return get


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses (no such path, wrong method) as the protocol asks."""
    assert isinstance(error, HTTPException)
    words = {404: "There is nothing at this path.", 405: "405 method not allowed, supported: [POST]"}
    reason = {404: "unknown_path", 405: "wrong_method"}.get(error.status_code, "refused")
    refusal = Refusal(error.status_code, reason, words.get(error.status_code, error.detail), dict(error.headers or {}))
    return refusal_response(refusal, request)
