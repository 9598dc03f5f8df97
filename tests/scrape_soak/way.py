"""The way to a server, which can be cut and can lead elsewhere: to who comes by it the server is gone, or another one."""

import socket
import threading
from contextlib import suppress


class Way:
    """A port that leads to another one."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._open = True
        self.refused = 0  # who came while it was cut
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and take none until it is opened."""
        self._open = False
        ends, self._ends = self._ends, []
        for end in ends:
            _close(end)

    def open(self, port: int | None = None) -> None:
        """Lead on, to another *port* when there is one."""
        self._to = self._to[0], port or self._to[1]
        self._open = True

    def close(self) -> None:
        """End it for good."""
        _close(self._listener)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to, 5) if self._open else None
            except OSError:
                far = None
            if far is None:
                self.refused += 1
                near.close()
                continue
            self._ends += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    _close(target)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
