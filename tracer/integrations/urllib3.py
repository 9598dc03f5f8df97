"""urllib3, also below other clients: spans by OpenTelemetry's instrumentation, and the keys for allowed hosts."""

from typing import Any

from controltower.tracer.integrations.http import write_keys
from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import turn_on
from controltower.tracer.integrations.patches import Function, Patches


def hook(patches: Patches, used: Used) -> None:
    """Trace the requests of every pool."""
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
    from urllib3 import HTTPHeaderDict
    from urllib3.connectionpool import HTTPConnectionPool

    def make(original: Function) -> Function:
        def urlopen(
            pool: Any, method: str, url: str, body: Any = None, headers: Any = None, *rest: Any, **named: Any
        ) -> Any:
            given = pool.headers if headers is None else headers
            marked = HTTPHeaderDict(given)
            write_keys(marked, pool.host, used())
            return original(pool, method, url, body, given if marked == given else marked, *rest, **named)

        return urlopen

    patches.method(HTTPConnectionPool, "urlopen", make)
    turn_on(patches, URLLib3Instrumentor(), used)
