"""The collector's server: HTTP by uvicorn and gRPC beside it, on one event loop, started and stopped together."""

import asyncio
import socket

import uvicorn

from controltower.collector.grpc_server import GrpcServer


class Server(uvicorn.Server):
    """Serves both transports; ``should_exit`` ends both, gracefully."""

    def __init__(self, config: uvicorn.Config, grpc: GrpcServer | None, stop_s: float) -> None:
        super().__init__(config)
        self.grpc = grpc
        self._stop_s = stop_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start both; HTTP on *sockets*. Raises ListenError when gRPC's port cannot be had."""
        if self.grpc is not None:
            await self.grpc.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new on either, and finish what is under way."""
        # The application waits for gRPC before it ends what both use, so this one is over when the other is.
        stopping = asyncio.ensure_future(self.grpc.stop(self._stop_s)) if self.grpc is not None else None
        await super().shutdown(sockets)
        if stopping is not None:
            await stopping
