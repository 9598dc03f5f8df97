"""Keys in the ``baggage`` header, for every client and server of HTTP: written for allowed hosts, read where trusted."""

from collections.abc import MutableMapping

from opentelemetry import trace

from controltower.tracer import propagation
from controltower.tracer.propagation import NO_KEYS, KeyRing
from controltower.tracer.system import System


def write_keys(headers: MutableMapping[str, str], host: str, system: System) -> None:
    """Replace our members in the ``baggage`` header by the current keys, or by none for a host that may not have them.

    *headers* does not mind capitals. A redirect or a retry may have copied what another host was sent.
    """
    with system.guard.around("keys in a request"):
        present = headers.get(propagation.BAGGAGE_HEADER)
        ring = propagation.ring_in() if system.settings.may_receive_keys(host) else NO_KEYS
        header = propagation.merge_baggage(present, ring, system.settings.propagate_keys)
        if header:
            headers[propagation.BAGGAGE_HEADER] = header
        elif present is not None:
            del headers[propagation.BAGGAGE_HEADER]


def ring_of(header: str, system: System) -> KeyRing:
    """Return the keys that a caller sent, and put them on the span of its request, which started without them."""
    if not header:
        return NO_KEYS
    with system.guard.around("keys of a request"):
        ring = propagation.decode_ring(header, system.settings.propagate_keys)
        trace.get_current_span().set_attributes(dict(ring.span_attributes()))
        return ring
    return NO_KEYS
