"""Starlette: spans by OpenTelemetry's middleware, and the keys that the caller sent."""

from typing import Any
from weakref import WeakSet

from controltower.tracer.integrations.fastapi import MARK, RestoreKeys, Used, without_keys
from controltower.tracer.integrations.opentelemetry import CurrentProvider
from controltower.tracer.integrations.patches import Function, Patches


def hook(patches: Patches, used: Used, *, accept_keys: bool) -> None:
    """Trace every application that is made from now on. FastAPI's do not come by here: they have a hook of their own."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.instrumentation.starlette import _get_default_span_details
    from starlette.applications import Starlette

    apps: WeakSet[Any] = WeakSet()

    def make(original: Function) -> Function:
        def __init__(app: Any, *arguments: Any, **named: Any) -> None:
            original(app, *arguments, **named)
            with used().guard.around("Starlette hook"):
                app.add_middleware(RestoreKeys, used=used, accept_keys=accept_keys)
                app.add_middleware(  # the instrumentor itself has no way to leave out a span for each part of a body
                    OpenTelemetryMiddleware,
                    default_span_details=_get_default_span_details,
                    tracer_provider=CurrentProvider(used),
                    exclude_spans=["receive", "send"],
                )
                setattr(app, MARK, True)
                apps.add(app)

        return __init__

    def undo() -> None:
        for app in apps:
            without_keys(app)
            app.user_middleware = [each for each in app.user_middleware if each.cls is not OpenTelemetryMiddleware]
            app.middleware_stack = app.build_middleware_stack()

    patches.method(Starlette, "__init__", make)
    patches.later(undo)
