"""A real HTTP receiver on loopback with scripted answers."""

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer. ``hang`` gives none; ``reset`` tears the connection down; ``trickle`` never ends its body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    hang: bool = False
    reset: bool = False
    trickle: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers by the script, then with 200; keeps what it received."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.script: deque[Reply] = deque()
        self.stopped = threading.Event()

    def answer(self, *replies: Reply) -> None:
        """Append answers to the script."""
        self.script.extend(replies)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1].split("/")[0])


@contextmanager
def receiving(tls: ssl.SSLContext | None = None, path: str = "/hook") -> Iterator[Receiver]:
    """Run a receiver for the length of the block."""
    box: list[Receiver] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            _handle(self, box[0])

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the tests' output to the tests."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hung up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "https" if tls else "http"
    box.append(Receiver(f"{scheme}://127.0.0.1:{server.server_address[1]}{path}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield box[0]
    finally:
        box[0].stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def _handle(request: BaseHTTPRequestHandler, receiver: Receiver) -> None:
    body = request.rfile.read(int(request.headers.get("content-length", "0")))
    headers = {name.lower(): value for name, value in request.headers.items()}
    receiver.received.append(Received(request.path, headers, body))
    reply = receiver.script.popleft() if receiver.script else Reply()
    request.close_connection = True
    if reply.hang:
        receiver.stopped.wait(30)
    elif reply.reset:
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()
    else:
        _write(request, reply, receiver)


def _write(request: BaseHTTPRequestHandler, reply: Reply, receiver: Receiver) -> None:
    request.send_response(reply.status)
    for name, value in reply.headers.items():
        request.send_header(name, value)
    if not reply.trickle:
        request.send_header("content-length", str(len(reply.body)))
    request.end_headers()
    request.wfile.write(reply.body)
    request.wfile.flush()
    while reply.trickle and not receiver.stopped.wait(0.05):
        request.wfile.write(b"x")
        request.wfile.flush()
