"""httpx: spans by OpenTelemetry's instrumentation, and the keys of the step in the ``baggage`` header of allowed hosts."""

from typing import TYPE_CHECKING, Any, Final

from controltower.tracer.default import system as process_system
from controltower.tracer.errors import MissingExtraError
from controltower.tracer.integrations.http import write_keys
from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import CurrentProvider, turn_on
from controltower.tracer.integrations.patches import Function, Patches

if TYPE_CHECKING:
    import httpx

    from controltower.tracer.system import System

MARK: Final = "_controltower_hooked"


def hook(patches: Patches, used: Used) -> None:
    """Trace the requests of every client."""
    import httpx
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    # Ours is wrapped first, so that it runs inside: after OpenTelemetry wrote its own headers.
    patches.method(httpx.HTTPTransport, "handle_request", lambda original: _writing_keys(original, used))
    patches.method(httpx.AsyncHTTPTransport, "handle_async_request", lambda original: _writing_keys(original, used))
    turn_on(patches, HTTPXClientInstrumentor(), used)


def instrument_httpx(
    client: "httpx.Client | httpx.AsyncClient | None" = None, *, system: "System | None" = None
) -> None:
    """Trace the requests of *client* and send keys along; without one of every client, as ``tracer.instrument`` does.

    Keys go to hosts that ``propagate_hosts`` allows; on a redirect to another host they are taken off again.
    Raises ``MissingExtraError`` when the extra ``hooks`` is not installed.
    """
    if client is None:
        from controltower.tracer.hooks import instrument  # it imports the hooks by name, and this is one

        instrument("httpx", system=system)
        return
    try:
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    except ImportError as error:
        raise MissingExtraError("install controltower[hooks] and httpx to trace httpx") from error
    used: Used = process_system if system is None else lambda: system
    for transport in {id(each): each for each in (client._transport, *client._mounts.values()) if each}.values():
        _wrap(transport, used)
    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=CurrentProvider(used))


def _wrap(transport: Any, used: Used) -> None:
    """Let one transport write the key header on each request."""
    if MARK in vars(transport):
        return
    for name in ("handle_request", "handle_async_request"):
        original = getattr(transport, name, None)
        if original is not None:
            setattr(transport, name, _writing_keys(original, used))
    setattr(transport, MARK, True)


def _writing_keys(original: Function, used: Used) -> Function:
    def handle(*arguments: Any, **named: Any) -> Any:
        # The request is the last positional argument: the first one of a bound method, the second one of a class's.
        request = arguments[-1] if arguments else named["request"]
        write_keys(request.headers, request.url.host, used())
        return original(*arguments, **named)

    return handle
