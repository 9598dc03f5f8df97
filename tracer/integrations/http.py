"""Keys in the ``baggage`` header, for every client and server of HTTP: written for allowed hosts, read where trusted."""

from collections.abc import MutableMapping, Sequence

from opentelemetry import trace

from controltower.tracer import propagation
from controltower.tracer.integrations.extract import MAX_BODY, keys_in, wants_body
from controltower.tracer.propagation import NO_KEYS, KeyRing
from controltower.tracer.system import System


def write_keys(headers: MutableMapping[str, str], host: str, system: System) -> None:
    """Replace our members in the ``baggage`` header by the current keys, or by none for a host that may not have them.

    *headers* does not mind capitals. A redirect or a retry may have copied what another host was sent.
    """
    with system.guard.around("keys in a request"):
        present = headers.get(propagation.BAGGAGE_HEADER)
        header = propagation.merge_baggage(present, propagation.ring_in(), system.keys_for(host))
        if header:
            headers[propagation.BAGGAGE_HEADER] = header
        elif present is not None:
            del headers[propagation.BAGGAGE_HEADER]


def ring_of(
    system: System, place: str, headers: Sequence[tuple[str, str]], body: object, *, accept_keys: bool
) -> KeyRing:
    """Return the keys that a caller sent and those that rules find, and put them on the span of its request.

    The span started without them. *place* is such as ``POST /orders/7``.
    """
    with system.guard.around("keys of a request"):
        baggage = [value for name, value in headers if name.lower() == propagation.BAGGAGE_HEADER]
        allowed = system.settings.propagate_keys if accept_keys else frozenset[str]()
        ring = propagation.decode_ring(",".join(baggage), allowed) if baggage else KeyRing({}, {})
        ring.keys.update(keys_in(system, place, headers, body))
        if ring.keys:
            trace.get_current_span().set_attributes(dict(ring.span_attributes()))
        return ring
    return NO_KEYS


def looks_into(place: str, length: str | None) -> bool:
    """Return whether rules look into the body of a request, given its ``Content-Length``; without one it is not read."""
    return length is not None and length.isdigit() and 0 < int(length) <= MAX_BODY and wants_body(place)
