"""Flask: spans by OpenTelemetry's instrumentation, and the keys that the caller sent."""

from collections.abc import Iterable, Iterator
from typing import Any, Final
from weakref import WeakSet

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from controltower.tracer import propagation
from controltower.tracer.integrations.http import looks_into, ring_of
from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import CurrentProvider
from controltower.tracer.integrations.patches import Function, Patches

RESTORED: Final = "controltower.restored"  # in the environment of a request: how to take its keys off again


def hook(patches: Patches, used: Used, *, accept_keys: bool) -> None:
    """Trace every application that is made from now on."""
    import flask
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    apps: WeakSet[Any] = WeakSet()

    def restore() -> None:
        if not patches.active:
            return
        request = flask.request
        place = f"{request.method} {request.path}"
        body = request.get_data(cache=True) if looks_into(place, request.headers.get("Content-Length")) else b""
        ring = ring_of(used(), place, list(request.headers.items()), body, accept_keys=accept_keys)
        if ring.keys:
            request.environ[RESTORED] = propagation.attach_ring(ring)

    def leave(_: BaseException | None) -> None:
        if (token := flask.request.environ.pop(RESTORED, None)) is not None:
            otel_context.detach(token)

    def stream(response: Any) -> Any:
        # Flask ends a request before it streams its body, and with it OpenTelemetry's context.
        if response.is_streamed and not response.direct_passthrough and patches.active:
            response.response = _carried(response.response, otel_context.get_current())
        return response

    def make(original: Function) -> Function:
        def __init__(app: Any, *arguments: Any, **named: Any) -> None:
            original(app, *arguments, **named)
            with used().guard.around("Flask hook"):
                # The comments on SQL would leave a context of each request with the server's thread.
                FlaskInstrumentor.instrument_app(app, tracer_provider=CurrentProvider(used), enable_commenter=False)
                app.after_request(stream)
                app.before_request(restore)  # after OpenTelemetry's span started
                app.teardown_request(leave)  # before it ends
                apps.add(app)

        return __init__

    def undo() -> None:
        for app in apps:
            FlaskInstrumentor.uninstrument_app(app)

    patches.method(flask.Flask, "__init__", make)
    patches.later(undo)


def _carried(parts: Iterable[Any], context: Context) -> Iterator[Any]:
    """Yield *parts*, each made in *context*."""
    made = iter(parts)
    try:
        while True:
            token = otel_context.attach(context)
            try:
                part = next(made)
            except StopIteration:
                return
            finally:
                otel_context.detach(token)
            yield part
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
