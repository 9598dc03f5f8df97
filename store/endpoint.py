"""ClickHouse's HTTP interface over the embedded engine, for the processes that cannot open its folder.

The library cannot listen by itself, so this is an ASGI application in front of it: one handle of the engine per request
(or session), results through a pipe, inserts piece by piece. What differs from a server is what would give a client the
files and the network of this machine (``endpoint_gate``), and that only two users exist.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from controltower.store.address import StoreAddress
from controltower.store.backup import Backup
from controltower.store.endpoint_answer import Answer, Send
from controltower.store.endpoint_body import Receive
from controltower.store.endpoint_call import Call, Scope
from controltower.store.endpoint_engine import Engine
from controltower.store.endpoint_errors import EndpointError
from controltower.store.endpoint_request import Credentials, sender
from controltower.store.endpoint_service import Limits, Service
from controltower.store.endpoint_settings import ReaderLimits
from controltower.store.errors import StoreError
from controltower.store.runtime import BACKUP_PATH, INSTANCE_HEADER

__all__ = ["Credentials", "Endpoint", "Limits", "ReaderLimits", "build_endpoint"]

logger = logging.getLogger(__name__)

OK = b"Ok.\n"
METHODS = ("GET", "POST", "HEAD")

BackUp = Callable[[str], Backup]
"""Makes the backup of a name; blocks."""

NO_HANDLER = (
    "There is no handle {path}\n\nUse / or /ping for health checks.\nSend queries with POST, or GET /?query=...\n"
)


def build_endpoint(
    address: StoreAddress,
    credentials: Credentials,
    *,
    instance: str = "",
    limits: Limits | None = None,
    back_up: BackUp | None = None,
) -> "Endpoint":
    """Return the ASGI application that serves the embedded engine of *address*; *instance* is answered by ``/ping``.

    *back_up* is called, in a thread, for a writer's POST to ``/backup?name=NAME``.
    """
    service = Service(Engine(address), credentials, instance=instance, limits=limits or Limits())
    return Endpoint(service, back_up)


class Endpoint:
    """The ASGI application. Its lifespan opens the engine and closes it; without one the first query opens it."""

    def __init__(self, service: Service, back_up: BackUp | None = None) -> None:
        self.service = service
        self._back_up = back_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    def close(self) -> None:
        """Close the engine's handles and the threads. Can be called twice."""
        self.service.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.service.start(self.service.engine.open)
                except Exception as error:
                    logger.exception("The store's endpoint cannot start")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                left = await self.service.drained()
                if left:
                    logger.warning("The store's endpoint stops with %s requests that do not end", left)
                await asyncio.to_thread(self.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method, query = scope["path"], scope["method"], scope.get("query_string", b"")
        if method == "OPTIONS":
            await self._say(scope, send, 204, b"")
        elif method not in METHODS:
            await self._say(scope, send, 501, b"")
        elif path in ("/ping", "/replicas_status") or (path == "/" and method != "POST" and not query):
            await self._say(scope, send, 200, OK)
        elif path == "/":
            await Call(self.service, scope, receive, send).answer()
        elif path == BACKUP_PATH and method == "POST" and self._back_up is not None:
            await self._say(scope, send, *await self._backed_up(scope, self._back_up))
        else:
            await self._say(scope, send, 404, NO_HANDLER.format(path=path).encode("utf-8", "replace"))

    async def _backed_up(self, scope: Scope, back_up: BackUp) -> tuple[int, bytes]:
        """Return status and body of the answer to a writer who wants a backup."""
        query = bytes(scope.get("query_string", b""))
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        name = parse_qs(query.decode("latin-1")).get("name", [""])[0]
        try:
            if self.service.credentials.role(*sender(headers, query)) != "writer":
                return 403, b"A reader makes no backups.\n"
            async with self.service.place(reads=False):
                made = await self.service.start(back_up, name)
        except EndpointError as error:
            return error.status, f"{error}\n".encode()
        except StoreError as error:
            return 500, f"{error}\n".encode()
        return 200, json.dumps(made.rows).encode()

    async def _say(self, scope: Scope, send: Send, status: int, body: bytes) -> None:
        answer = Answer(send, head_only=scope["method"] == "HEAD", timeout_s=self.service.limits.send_timeout_s)
        headers: Mapping[str, str] = {"Content-Type": "text/html; charset=UTF-8"}
        instance = {INSTANCE_HEADER: self.service.instance} if self.service.instance else {}
        await answer.whole(status, {**headers, **instance}, body)
