"""httpx: spans by OpenTelemetry's instrumentation, and the keys of the step in the ``baggage`` header of allowed hosts."""

from typing import TYPE_CHECKING, Any

from controltower.tracer import propagation
from controltower.tracer.default import system as process_system
from controltower.tracer.errors import MissingExtraError

if TYPE_CHECKING:
    import httpx

    from controltower.tracer.system import System

_MARK = "_controltower_keys"


def instrument_httpx(
    client: "httpx.Client | httpx.AsyncClient | None" = None, *, system: "System | None" = None
) -> None:
    """Trace the requests of *client* (of every client made by httpx without one) and send keys along.

    Keys go to hosts that ``propagate_hosts`` allows; on a redirect to another host they are taken off again.
    Call it once, after ``configure``. Raises ``MissingExtraError`` when the extra ``hooks`` is not installed.
    """
    try:
        import httpx
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    except ImportError as error:
        raise MissingExtraError("install controltower[hooks] and httpx to trace httpx") from error
    used = system or process_system()
    provider = getattr(used, "provider", None)
    # Ours is wrapped first, so that it runs inside: after OpenTelemetry wrote its own headers.
    if client is None:
        _wrap(httpx.HTTPTransport, system)
        _wrap(httpx.AsyncHTTPTransport, system)
        HTTPXClientInstrumentor().instrument(tracer_provider=provider)
        return
    for transport in {id(each): each for each in (client._transport, *client._mounts.values()) if each}.values():
        _wrap(transport, system)
    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)


def _wrap(transport: Any, system: "System | None") -> None:
    """Let *transport*, an instance or a class, write the key header on each request."""
    if _MARK in vars(transport):
        return
    for name in ("handle_request", "handle_async_request"):
        original = getattr(transport, name, None)
        if original is not None:
            setattr(transport, name, _writing_keys(original, system))
    setattr(transport, _MARK, True)


def _writing_keys(original: Any, system: "System | None") -> Any:
    def handle(*arguments: Any, **named: Any) -> Any:
        # The request is the last positional argument: the first one of a bound method, the second one of a class's.
        write_keys(arguments[-1] if arguments else named.get("request"), system or process_system())
        return original(*arguments, **named)

    return handle


def write_keys(request: Any, system: "System") -> None:
    """Replace our members in the request's ``baggage`` header by the current keys, or by none for a foreign host."""
    with system.guard.around("httpx hook"):
        present = request.headers.get(propagation.BAGGAGE_HEADER)
        ring = propagation.ring_in() if system.settings.may_receive_keys(request.url.host) else propagation.NO_KEYS
        header = propagation.merge_baggage(present, ring, system.settings.propagate_keys)
        if header:
            request.headers[propagation.BAGGAGE_HEADER] = header
        elif present is not None:
            del request.headers[propagation.BAGGAGE_HEADER]
