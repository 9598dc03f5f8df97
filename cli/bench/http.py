"""OTLP over HTTP/1.1 on a raw socket: a client that costs next to nothing."""

import asyncio
import socket
from typing import Final
from urllib.parse import urlsplit

from controltower.cli.bench.sending import Connection
from controltower.cli.errors import CommandError

ANSWER_TIMEOUT_S: Final = 30.0
_READ_BYTES: Final = 64 * 1024
_JOINED_BYTES: Final = 32 * 1024
_HEAD_BYTES: Final = 64 * 1024  # an answer's head is some hundred bytes


class HttpConnection:
    """A connection that is kept alive; made anew by ``http_connect``."""

    def __init__(self, connected: socket.socket, head: bytes) -> None:
        self._socket = connected
        self._head = head
        self._loop = asyncio.get_running_loop()

    async def send(self, body: bytes) -> str:
        """Post *body* and return the status of the answer; raises OSError, TimeoutError too, when there is none."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            head = b"%b%d\r\n\r\n" % (self._head, len(body))
            if len(body) <= _JOINED_BYTES:  # one packet, one call
                await self._loop.sock_sendall(self._socket, head + body)
            else:
                await self._loop.sock_sendall(self._socket, head)
                await self._loop.sock_sendall(self._socket, body)
            return await self._answer()

    async def _answer(self) -> str:
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += await self._more()
            if len(answer) > _HEAD_BYTES:
                raise ConnectionError("the answer is no HTTP")
        head = answer[:end].lower()
        left = _length(head) - (len(answer) - end - 4)
        while left > 0:
            left -= len(await self._more())
        if b"\nconnection: close" in head:
            self._socket.close()
        return head.split(b" ", 2)[1].decode(errors="replace")

    async def _more(self) -> bytes:
        data = await self._loop.sock_recv(self._socket, _READ_BYTES)
        if not data:
            raise ConnectionResetError("the collector closed the connection")
        return data

    async def close(self) -> None:
        """Close the connection."""
        self._socket.close()


async def http_connect(endpoint: str, token: str) -> Connection:
    """Open a connection to the collector at *endpoint*; raises OSError, CommandError for an address that is none."""
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or not parts.hostname:
        raise CommandError(f"{endpoint} cannot be driven: the bench speaks plain HTTP, to http://host:port.")
    host, port = parts.hostname, parts.port or 4318
    connected = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    connected.setblocking(False)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(connected, (host, port))
    except OSError:
        connected.close()
        raise
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/x-protobuf\r\n"
        f"{authorization}Content-Length: "
    )
    return HttpConnection(connected, head.encode())


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0
