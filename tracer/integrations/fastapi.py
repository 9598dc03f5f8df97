"""FastAPI and Starlette: spans by OpenTelemetry's instrumentation, and the keys that the caller sent."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from controltower.tracer import propagation
from controltower.tracer.default import system as process_system
from controltower.tracer.errors import MissingExtraError
from controltower.tracer.integrations.http import ring_of
from controltower.tracer.integrations.opentelemetry import CurrentProvider
from controltower.tracer.integrations.patches import Function, Patches

if TYPE_CHECKING:
    from fastapi import FastAPI

    from controltower.tracer.system import System

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Used = Callable[[], "System"]

MARK: Final = "_controltower_hooked"


def hook(patches: Patches, used: Used, *, accept_keys: bool) -> None:
    """Trace every application that is made from now on."""
    import fastapi
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    apps: WeakSet[Any] = WeakSet()

    def make(original: Function) -> Function:
        def __init__(app: Any, *arguments: Any, **named: Any) -> None:
            original(app, *arguments, **named)
            with used().guard.around("FastAPI hook"):
                _instrument_app(app, used, accept_keys)
                apps.add(app)

        return __init__

    def undo() -> None:
        for app in apps:
            without_keys(app)
            FastAPIInstrumentor.uninstrument_app(app)

    patches.method(fastapi.FastAPI, "__init__", make)
    patches.later(undo)


def instrument_fastapi(app: "FastAPI", *, system: "System | None" = None, accept_keys: bool = True) -> None:
    """Trace the requests of *app*; with *accept_keys* the caller's keys hold for every span of the request.

    Call it before the first request; ``tracer.instrument`` does it for applications that are made after it. Headers can
    be forged: leave *accept_keys* off where the public may call. Raises ``MissingExtraError`` when the extra ``hooks``
    is not installed.
    """
    try:
        import opentelemetry.instrumentation.fastapi  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtraError("install controltower[hooks] and fastapi to trace FastAPI") from error
    _instrument_app(app, process_system if system is None else lambda: system, accept_keys)


def _instrument_app(app: Any, used: Used, accept_keys: bool) -> None:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    if getattr(app, MARK, False):
        return
    setattr(app, MARK, True)
    if accept_keys:
        app.add_middleware(RestoreKeys, used=used)
    if not getattr(app, "_is_instrumented_by_opentelemetry", False):  # by the host
        FastAPIInstrumentor.instrument_app(
            app, tracer_provider=CurrentProvider(used), exclude_spans=["receive", "send"]
        )


def without_keys(app: Any) -> None:
    """Take our middleware off an application; the caller builds its stack anew."""
    app.user_middleware = [each for each in app.user_middleware if each.cls is not RestoreKeys]
    setattr(app, MARK, False)


class RestoreKeys:
    """ASGI middleware that puts the keys of the ``baggage`` header on the request's spans."""

    def __init__(self, app: AsgiApp, used: Used = process_system) -> None:
        self._app = app
        self._used = used

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        ring = self._ring_of(scope) if scope["type"] in ("http", "websocket") else propagation.NO_KEYS
        if not ring.keys:
            await self._app(scope, receive, send)
            return
        with propagation.ring_attached(ring):
            await self._app(scope, receive, send)

    def _ring_of(self, scope: Scope) -> propagation.KeyRing:
        name = propagation.BAGGAGE_HEADER.encode()
        headers = [value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == name]
        return ring_of(",".join(headers), self._used())
