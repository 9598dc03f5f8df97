"""HTTP servers as threads of a process."""

import logging
import socket
import threading
import time
from typing import Final

import uvicorn

from controltower.cli.errors import CommandError

logger = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 10.0
LOOK_S: Final = 0.01


class WebServer:
    """A uvicorn server in a thread of its own, on a socket that is bound already."""

    def __init__(self, name: str, server: uvicorn.Server, listener: socket.socket) -> None:
        self.name = name
        self._server = server
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the server's thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start, and wait until requests are answered. Raises CommandError when the application does not start."""
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise CommandError(f"The {self.name} did not start; the log says why.")
            time.sleep(LOOK_S)

    def stop(self, timeout_s: float) -> bool:
        """Take no new request, finish those under way, and say whether that was done within *timeout_s*."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._listener.close()
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except Exception:  # the thread's end is noticed; why it ended is only known here
            logger.exception("the %s ended", self.name)
