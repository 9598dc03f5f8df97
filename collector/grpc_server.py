"""The gRPC server: where it listens, how long connections may idle, and how it ends."""

from typing import Final

import grpc

from controltower.collector.errors import ListenError
from controltower.collector.grpc import Exports
from controltower.collector.intake import Intake
from controltower.collector.settings import Settings
from controltower.collector.tls import Tls

# Pings keep a silent connection alive; clients that send them more often are told to go away.
_LEAST_PING_MS: Final = 10_000

# A peer that is gone without a word is noticed after the first and the second of these.
_PING_EVERY_MS: Final = 60_000
_PING_ANSWER_MS: Final = 20_000


class GrpcServer:
    """A server of OTLP/gRPC on the event loop of its caller."""

    def __init__(self, settings: Settings, intake: Intake, tls: Tls | None = None) -> None:
        self._settings = settings
        self._exports = Exports(settings, intake)
        self._tls = tls
        self._server: grpc.aio.Server | None = None
        self.port = 0
        """Where it listens, once it was started."""

    async def start(self) -> None:
        """Listen. Raises ListenError when the port cannot be had."""
        self._server = grpc.aio.server(handlers=[self._exports], options=options(self._settings))
        self.port = self._listen(self._server)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no new call, and wait for those under way for *grace_s*. May be called twice, also at the same time."""
        if self._server is not None:
            await self._server.stop(grace_s)

    def _listen(self, server: grpc.aio.Server) -> int:
        host, port = self._settings.host.strip("[]"), self._settings.grpc_port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._tls is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, self._tls.credentials())
        except RuntimeError as error:
            raise ListenError(address) from error


def options(settings: Settings) -> list[tuple[str, int]]:
    """Return the library's options: limits, timeouts, and compressed messages as they came."""
    return [
        ("grpc.max_receive_message_length", settings.body_bytes),
        ("grpc.per_message_decompression", 0),
        ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a share of the calls
        ("grpc.max_allowed_incoming_connections", settings.connections),
        ("grpc.server_handshake_timeout_ms", round(settings.header_timeout_s * 1_000)),
        ("grpc.max_connection_idle_ms", round(settings.idle_timeout_s * 1_000)),
        ("grpc.keepalive_time_ms", _PING_EVERY_MS),
        ("grpc.keepalive_timeout_ms", _PING_ANSWER_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_MS),
    ]
