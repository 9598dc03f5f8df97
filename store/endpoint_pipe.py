"""The way of a result from the engine to the event loop: a pipe, so that it is never held as a whole."""

import asyncio
import contextlib
import os
from typing import Final

PIECE: Final = 256 * 1024
PIPE_SIZE: Final = 1024 * 1024  # what the kernel grants without privileges
SET_PIPE_SIZE: Final = 1031  # fcntl.F_SETPIPE_SZ, Linux only


class Pipe:
    """A pipe that the engine writes to as to a file; reading waits without blocking the loop."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        _enlarge(self._writer)
        self._writer_open = self._reader_open = True

    @property
    def path(self) -> str:
        """What the engine opens; the pipe ends when it closed that and ``close_writer`` was called."""
        return f"/dev/fd/{self._writer}"

    async def read(self) -> bytes:
        """Return the next piece; ``b""`` at the end."""
        while True:
            try:
                return os.read(self._reader, PIECE)
            except BlockingIOError:
                await self._readable()

    async def drain(self) -> None:
        """Read to the end and forget it."""
        while await self.read():
            pass

    def close_writer(self) -> None:
        """Close our end of writing; called by the thread that ran the query. Can be called twice."""
        if self._writer_open:
            self._writer_open = False
            os.close(self._writer)

    def close(self) -> None:
        """Close both ends. Can be called twice."""
        self.close_writer()
        if self._reader_open:
            self._reader_open = False
            os.close(self._reader)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._reader, _settle, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._reader)


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _enlarge(descriptor: int) -> None:
    """Make the pipe hold more, where the system can: fewer turns between engine and loop."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.fcntl(descriptor, SET_PIPE_SIZE, PIPE_SIZE)
