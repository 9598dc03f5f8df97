"""A TCP forwarder between a client and a server, that can refuse connections and lose answers."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Self

from controltower.store.address import StoreAddress

CHUNK = 65_536


class Wire:
    """Forwards connections from a port of its own to a server; use as a context manager."""

    def __init__(self, server: StoreAddress) -> None:
        self._upstream = (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lost: bytes | None = None
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

    def refuse(self) -> None:
        """Cut all connections and accept none any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def losing_answers_to(self, marked: bytes) -> Iterator[None]:
        """For the length of the block, cut the connection instead of answering a request that holds *marked*."""
        self._lost = marked
        try:
            yield
        finally:
            self._lost = None

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
                if self._lost and self._lost in data:
                    asked.set()
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answers(self, server: socket.socket, client: socket.socket, asked: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK):
                if asked.is_set():
                    break
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
