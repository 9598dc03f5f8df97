"""A TCP forwarder between a client and a server, that can refuse and cut connections, and fail in its midst."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Literal, Self

from controltower.store.address import StoreAddress

CHUNK = 65_536
NO_SPACE = b"Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)"
ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: 243\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(NO_SPACE), NO_SPACE)
)

Fault = Literal["lost", "silent", "error", "cut"]
"""Of the answer: the connection ends instead, nothing comes, another one comes; or of the request: half of it goes on."""


class Wire:
    """Forwards connections from a port of its own to a server; use as a context manager."""

    def __init__(self, server: StoreAddress) -> None:
        self._upstream = (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._marked: bytes | None = None
        self._fault: Fault = "lost"
        self.address = replace(server, host="127.0.0.1", port=self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()

    def cut(self) -> None:
        """Cut all connections; new ones are accepted."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Cut all connections and accept none any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    @contextmanager
    def losing_answers_to(self, marked: bytes) -> Iterator[None]:
        """For the length of the block, cut the connection instead of answering a request that holds *marked*."""
        with self.failing(marked, "lost"):
            yield

    @contextmanager
    def failing(self, marked: bytes, fault: Fault) -> Iterator[None]:
        """For the length of the block, let requests that hold *marked* meet *fault*."""
        self._marked, self._fault = marked, fault
        try:
            yield
        finally:
            self._marked = None

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            self._connections += [client, server]
            asked = threading.Event()
            self._start(self._requests, client, server, asked)
            self._start(self._answers, server, client, asked)

    def _requests(self, client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(CHUNK):
                if self._marked and self._marked in data:
                    asked.set()
                    if self._fault == "cut":
                        server.sendall(data[: len(data) // 2])
                        break
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answers(self, server: socket.socket, client: socket.socket, asked: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK):
                if not asked.is_set():
                    client.sendall(data)
                elif self._fault == "error":
                    client.sendall(ERROR)
                    break
                elif self._fault != "silent":
                    break
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
