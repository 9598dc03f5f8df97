"""Django: spans by OpenTelemetry's middleware, and the keys that the caller sent."""

import inspect
import os
from collections.abc import Callable
from typing import Any, Final

from controltower.tracer import propagation
from controltower.tracer.default import system as process_system
from controltower.tracer.errors import TracerError
from controltower.tracer.integrations.http import looks_into, ring_of
from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import turn_on
from controltower.tracer.integrations.patches import Patches

MIDDLEWARE: Final = f"{__name__}.restore_keys"


class _Hooked:
    used: Used = staticmethod(process_system)  # Django makes the middleware by its name, and gives it nothing
    accept_keys = True


def hook(patches: Patches, used: Used, *, accept_keys: bool) -> None:
    """Trace the requests of this process; raises ``TracerError`` without settings: the instrumentation would make them up."""
    from django.conf import settings

    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise TracerError("Django has no settings yet: hook it after them and before get_wsgi_application()")
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    turn_on(patches, DjangoInstrumentor(), used)
    _Hooked.used, _Hooked.accept_keys = used, accept_keys
    first, *others = settings.MIDDLEWARE  # the first is OpenTelemetry's
    settings.MIDDLEWARE = [first, MIDDLEWARE, *others]
    patches.later(lambda: settings.MIDDLEWARE.remove(MIDDLEWARE))


def restore_keys(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return Django's middleware, for its two ways of handling a request."""

    def handle(request: Any) -> Any:
        with propagation.ring_attached(_ring(request)):
            return get_response(request)

    async def handle_async(request: Any) -> Any:
        with propagation.ring_attached(_ring(request)):
            return await get_response(request)

    return handle_async if inspect.iscoroutinefunction(get_response) else handle


def _ring(request: Any) -> propagation.KeyRing:
    place = f"{request.method} {request.path}"
    body = request.body if looks_into(place, request.headers.get("Content-Length")) else b""
    return ring_of(_Hooked.used(), place, list(request.headers.items()), body, accept_keys=_Hooked.accept_keys)


restore_keys.sync_capable = restore_keys.async_capable = True  # type: ignore[attr-defined]  # as Django asks for
