"""requests: spans by OpenTelemetry's instrumentation, and the keys of the step for allowed hosts."""

from typing import Any
from urllib.parse import urlsplit

from controltower.tracer.integrations.http import write_keys
from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import turn_on
from controltower.tracer.integrations.patches import Function, Patches


def hook(patches: Patches, used: Used) -> None:
    """Trace the requests of every session."""
    import requests
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    def make(original: Function) -> Function:
        def send(session: Any, request: Any, **named: Any) -> Any:  # also of each redirect
            write_keys(request.headers, urlsplit(request.url).hostname or "", used())
            return original(session, request, **named)

        return send

    # Ours is wrapped first, so that it runs inside: after OpenTelemetry wrote its own headers.
    patches.method(requests.Session, "send", make)
    turn_on(patches, RequestsInstrumentor(), used)
