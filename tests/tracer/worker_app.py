"""A service for servers with several workers, and as a function that is frozen between calls; run by ``test_workers``."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from controltower import tracer

tracer.configure()  # by the environment, where the server imports it: in each worker, or once before it forks
IMPORTED_BY = os.getpid()


def work(order: str) -> bytes:
    """Make the step of one order, and return who did it and who imported this module."""
    with tracer.step("p2p.purchase_order.created", keys={"purchase_order": order}):
        return f"{os.getpid()} {IMPORTED_BY}".encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [work(environ["PATH_INFO"].strip("/"))]


def served() -> Any:
    """Return the service for ASGI: a server imports ``tests.tracer.worker_app:served`` as a factory."""
    import fastapi

    app = fastapi.FastAPI()
    tracer.instrument_fastapi(app)

    @app.get("/{order}")
    def take(order: str) -> fastapi.Response:
        return fastapi.Response(work(order))

    return app


def main(flushing: bool) -> None:
    """Make a step of each line, and say so; without *flushing* nothing is sent before the end."""
    for line in sys.stdin:
        work(line.strip())
        print("sent" if flushing and tracer.flush(30) else "done", flush=True)


if __name__ == "__main__":
    main(flushing=sys.argv[1:] == ["flushing"])
