"""OTLP over gRPC: each connection a channel of its own, bodies passed through as they are."""

import asyncio
from typing import Any, Final

import grpc
import grpc.aio

from controltower.cli.bench.sending import Connection

METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ANSWER_TIMEOUT_S: Final = 30.0
OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1))


class GrpcConnection:
    """A channel with one call at a time."""

    def __init__(self, target: str, token: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        self._export: Any = self._channel.unary_unary(METHOD)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def open(self) -> None:
        """Connect; raises TimeoutError."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self._channel.channel_ready()

    async def send(self, body: bytes) -> str:
        """Call Export with *body* and return the name of the status."""
        try:
            await self._export(body, metadata=self._metadata, timeout=ANSWER_TIMEOUT_S)
        except grpc.aio.AioRpcError as exc:
            return str(exc.code().name)
        return "OK"

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


async def grpc_connect(target: str, token: str) -> Connection:
    """Open a channel to *target* (``host:port``). Raises OSError when nobody answers."""
    connection = GrpcConnection(target, token)
    try:
        await connection.open()
    except TimeoutError:
        await connection.close()
        raise
    return connection
