"""aiohttp's client: spans by OpenTelemetry's instrumentation, and the keys of the step for allowed hosts."""

from typing import Any

from controltower.tracer.integrations.http import write_keys
from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import turn_on
from controltower.tracer.integrations.patches import Function, Patches


def hook(patches: Patches, used: Used) -> None:
    """Trace the requests of sessions that are made from now on."""
    import aiohttp
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor

    async def started(session: Any, context: Any, request: Any) -> None:
        if patches.active:
            write_keys(request.headers, request.url.host or "", used())

    async def redirected(session: Any, context: Any, request: Any) -> None:
        if patches.active:
            target = request.url.join(type(request.url)(request.response.headers.get("Location", "")))
            write_keys(request.headers, target.host or "", used())

    def make(original: Function) -> Function:
        def __init__(session: Any, *arguments: Any, **named: Any) -> None:
            ours = aiohttp.TraceConfig()
            ours.on_request_start.append(started)
            ours.on_request_redirect.append(redirected)
            named["trace_configs"] = [*(named.get("trace_configs") or ()), ours]
            original(session, *arguments, **named)

        return __init__

    # Ours is wrapped first, so that it is the last of the session's: after OpenTelemetry wrote its own headers.
    patches.method(aiohttp.ClientSession, "__init__", make)
    turn_on(patches, AioHttpClientInstrumentor(), used)
