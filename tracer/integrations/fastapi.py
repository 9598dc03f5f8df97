"""FastAPI and Starlette: spans by OpenTelemetry's instrumentation, and the keys that the caller sent."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from opentelemetry import trace

from controltower.tracer import propagation
from controltower.tracer.default import system as process_system
from controltower.tracer.errors import MissingExtraError
from controltower.tracer.integrations.extract import MAX_BODY
from controltower.tracer.integrations.http import looks_into, ring_of
from controltower.tracer.integrations.opentelemetry import CurrentProvider
from controltower.tracer.integrations.patches import Function, Patches
from controltower.tracer.system import EXIT_FLUSH_S

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
    app.add_middleware(RestoreKeys, used=used, accept_keys=accept_keys)
    if not getattr(app, "_is_instrumented_by_opentelemetry", False):  # by the host
        FastAPIInstrumentor.instrument_app(
            app, tracer_provider=CurrentProvider(used), exclude_spans=["receive", "send"]
        )


def without_keys(app: Any) -> None:
    """Take our middleware off an application; the caller builds its stack anew."""
    app.user_middleware = [each for each in app.user_middleware if each.cls is not RestoreKeys]
    setattr(app, MARK, False)


class RestoreKeys:
    """ASGI middleware that puts the caller's keys, and those that rules find, on the request's spans."""

    def __init__(self, app: AsgiApp, used: Used = process_system, accept_keys: bool = True) -> None:
        self._app = app
        self._used = used
        self._accept_keys = accept_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, self._flushing(send) if scope["type"] == "lifespan" else send)
            return
        with self._used().guard.around("route of a request"):
            name_by_route(scope)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope.get("headers", ())]
        place = f"{scope.get('method', 'GET')} {scope.get('path', '')}"
        length = next((value for name, value in headers if name.lower() == "content-length"), None)
        body, again = b"", receive
        if scope["type"] == "http" and looks_into(place, length):
            body, again = await _looked_at(receive)
        ring = ring_of(self._used(), place, headers, body, accept_keys=self._accept_keys)
        if not ring.keys:
            await self._app(scope, again, send)
            return
        with propagation.ring_attached(ring):
            await self._app(scope, again, send)

    def _flushing(self, send: Send) -> Send:
        """Return *send* so that the rest is sent to the collector before the server hears that all is shut down.

        Some servers (uvicorn) end by the signal that they got, which runs nothing at exit.
        """

        async def tell(message: MutableMapping[str, Any]) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                from anyio import to_thread  # Starlette stands on it

                await to_thread.run_sync(self._used().flush, EXIT_FLUSH_S)
            await send(message)

        return tell


def name_by_route(scope: Scope) -> None:
    """Name the span of a request that a route for hosts takes: OpenTelemetry has only its path, with what stands in it."""
    routes = getattr(scope.get("app"), "routes", ())
    if all(hasattr(route, "path") for route in routes):
        return
    span, method = trace.get_current_span(), scope.get("method", "HTTP")
    route = _route_in(routes, scope)
    span.update_name(f"{method} {route}" if route else method)
    span.set_attribute("http.route", route)


def _route_in(routes: Iterable[Any], scope: Scope) -> str:
    """Return the pattern of the path by the innermost of *routes* that takes a request; nothing when there is none."""
    for route in routes:
        match, inside = route.matches(scope)
        if match.value:
            own = getattr(route, "path", None)
            return own if own is not None else _route_in(getattr(route, "routes", ()), {**scope, **inside})
    return ""


async def _looked_at(receive: Receive) -> tuple[bytes, Receive]:
    """Return the body of a request, and what the application receives it from once more."""
    messages: list[MutableMapping[str, Any]] = []
    size = 0
    while size <= MAX_BODY:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    waiting = deque(messages)

    async def again() -> MutableMapping[str, Any]:
        return waiting.popleft() if waiting else await receive()

    return b"".join(message.get("body", b"") for message in messages), again
