"""FastAPI and Starlette: spans by OpenTelemetry's instrumentation, and the keys that the caller sent."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from controltower.tracer import propagation
from controltower.tracer.default import system as process_system
from controltower.tracer.errors import MissingExtraError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from controltower.tracer.system import System

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def instrument_fastapi(app: "FastAPI", *, system: "System | None" = None, accept_keys: bool = True) -> None:
    """Trace the requests of *app*; with *accept_keys* the caller's keys hold for every span of the request.

    Call it once, after ``configure`` and before the first request. Headers can be forged: leave *accept_keys* off where
    the public may call. Raises ``MissingExtraError`` when the extra ``hooks`` is not installed.
    """
    try:
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    except ImportError as error:
        raise MissingExtraError("install controltower[hooks] and fastapi to trace FastAPI") from error
    used = system or process_system()
    if accept_keys:
        app.add_middleware(RestoreKeys, system=system)
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=getattr(used, "provider", None), exclude_spans=["receive", "send"]
    )


class RestoreKeys:
    """ASGI middleware that puts the keys of the ``baggage`` header on the request's spans."""

    def __init__(self, app: AsgiApp, system: "System | None" = None) -> None:
        self._app = app
        self._system = system

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        ring = self._ring_of(scope) if scope["type"] in ("http", "websocket") else propagation.NO_KEYS
        if not ring.keys:
            await self._app(scope, receive, send)
            return
        with propagation.ring_attached(ring):
            await self._app(scope, receive, send)

    def _ring_of(self, scope: Scope) -> propagation.KeyRing:
        system = self._system or process_system()
        with system.guard.around("FastAPI hook"):
            name = propagation.BAGGAGE_HEADER.encode()
            headers = [value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == name]
            ring = propagation.decode_ring(",".join(headers), system.settings.propagate_keys)
            span = trace.get_current_span()
            for attribute, value in ring.span_attributes().items():
                span.set_attribute(attribute, value)
            return ring
        return propagation.NO_KEYS
