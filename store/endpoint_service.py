"""What all requests to the endpoint share: the engine, its users, the threads and the places among running queries."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from controltower.store.endpoint_engine import Engine
from controltower.store.endpoint_errors import TOO_MANY_SIMULTANEOUS_QUERIES, EndpointError
from controltower.store.endpoint_request import Credentials
from controltower.store.endpoint_sessions import Sessions
from controltower.store.endpoint_settings import ReaderLimits

Result = TypeVar("Result")

STOP_S: Final = 15  # for queries to stop and inserts to end when the server does
STOPPING_THREADS: Final = 8  # beyond the running queries, to stop queries with


@dataclass(frozen=True, slots=True)
class Limits:
    """What the endpoint takes on at once."""

    queries: int = 32  # running at once; each has a thread and a handle
    reader_queries: int = 24  # of them by readers, so that writing goes on under pages that everybody opens
    wait_s: float = 10  # for a place among them
    statement_bytes: int = 64 * 1024 * 1024  # text that is no data of an INSERT
    form_bytes: int = 256 * 1024 * 1024  # forms with tables are held as a whole
    send_timeout_s: float = 60  # for a client that does not read its answer
    reader: ReaderLimits = field(default_factory=ReaderLimits)


class Service:
    """Shared by all requests; made and used in one event loop, closed once."""

    def __init__(self, engine: Engine, credentials: Credentials, *, instance: str, limits: Limits) -> None:
        self.engine = engine
        self.credentials = credentials
        self.instance = instance
        self.limits = limits
        self.sessions = Sessions(time.monotonic)
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._places = asyncio.Semaphore(limits.queries)
        self._reader_places = asyncio.Semaphore(limits.reader_queries)
        self._pool = ThreadPoolExecutor(limits.queries + STOPPING_THREADS, thread_name_prefix="endpoint")

    def start(self, call: Callable[..., Result], *arguments: Any) -> "asyncio.Future[Result]":
        """Run a call that blocks in one of the endpoint's threads."""
        return asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)

    @contextlib.asynccontextmanager
    async def place(self, *, reads: bool) -> AsyncIterator[None]:
        """Hold a place among the running queries. Raises EndpointError when there is none for too long."""
        async with contextlib.AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self.limits.wait_s):
                    if reads:
                        await held.enter_async_context(self._reader_places)
                    await held.enter_async_context(self._places)
            except TimeoutError:
                most = self.limits.reader_queries if reads else self.limits.queries
                text = f"Too many simultaneous queries. Maximum: {most}"
                raise EndpointError(TOO_MANY_SIMULTANEOUS_QUERIES, text) from None
            self._active += 1
            self._idle.clear()
            try:
                yield
            finally:
                self._active -= 1
                if not self._active:
                    self._idle.set()

    async def drained(self) -> int:
        """Wait until no request uses the engine, or for too long; return how many still do.

        The server has cancelled what runs; each request stops its query and gives its handle back before it ends.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._idle.wait()
        return self._active

    def close(self) -> None:
        """Close the engine's handles and the threads. Can be called twice; ``drained`` comes first."""
        self._pool.shutdown(wait=not self._active, cancel_futures=True)
        self.sessions.close()
        self.engine.close()
