"""The body of a request, piece by piece and decompressed."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

from controltower.store.endpoint_codecs import decoder
from controltower.store.endpoint_errors import QUERY_IS_TOO_LARGE, EndpointError
from controltower.store.endpoint_text import InsertHead, insert_head

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

RECEIVE_TIMEOUT_S: Final = 120  # between two pieces of a body
LARGEST_INSERT_HEAD: Final = 1024 * 1024  # ``INSERT INTO … FORMAT``: lists of columns are long, not that long


class Disconnected(Exception):
    """The client went away."""


class Body:
    """The body of one request; read once."""

    def __init__(self, receive: Receive, encoding: str) -> None:
        self._receive = receive
        self._decoder = decoder(encoding)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces. Raises Disconnected, EndpointError for a body that cannot be decompressed."""
        more = True
        while more:
            async with asyncio.timeout(RECEIVE_TIMEOUT_S):
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            more = bool(message.get("more_body", False))
            piece = self._decoder.decode(message.get("body", b""))
            while piece:
                yield piece
                piece = self._decoder.decode(b"")
        self._decoder.finish()

    async def whole(self, most: int, begun: bytes = b"") -> bytes:
        """Return what is left as one, after *begun*. Raises EndpointError above *most* bytes."""
        held = bytearray(begun)
        async for piece in self:
            held += piece
            _check_size(held, most)
        return bytes(held)


async def statement_of(
    query: str, body: AsyncIterable[bytes], most: int
) -> tuple[InsertHead | None, bytes, AsyncIterator[bytes]]:
    """Return the head of an INSERT with data or None, the text or first data that is read, and the data that follows."""
    held = bytearray(query.encode("utf-8", "replace"))
    if query and not query.endswith("\n"):
        held += b"\n"
    pieces = aiter(body)
    next_look = 1
    async for piece in pieces:
        held += piece
        if next_look and len(held) >= next_look:
            found = insert_head(bytes(held[:LARGEST_INSERT_HEAD]), complete=False)
            if isinstance(found, InsertHead):
                return found, bytes(held[found.data_at :]), pieces
            next_look = 2 * len(held) if found == "more" else 0
        _check_size(held, most)
    found = insert_head(bytes(held[:LARGEST_INSERT_HEAD]), complete=True) if next_look else "none"
    if isinstance(found, InsertHead):
        return found, bytes(held[found.data_at :]), pieces
    return None, bytes(held), pieces


def _check_size(held: bytearray, most: int) -> None:
    if len(held) > most:
        raise EndpointError(
            QUERY_IS_TOO_LARGE, f"The query is larger than {most} bytes; only the data of an INSERT may be"
        )
