"""OTLP/gRPC calls as a client on grpcio makes them: bytes out, bytes or a status back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, RetryInfo  # type: ignore[import-untyped]  # without a marker
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # the same

from tests.collector.requests import PATIENCE_S, Tower

EXPORTS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
Code = grpc.StatusCode
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    code: grpc.StatusCode
    words: str
    metadata: dict[str, bytes]
    body: bytes = b""

    @property
    def status(self) -> Any:
        """The details as google.rpc.Status."""
        return Status.FromString(self.metadata["grpc-status-details-bin"])

    @property
    def detail(self) -> Any:
        """The one detail in the status."""
        (packed,) = self.status.details
        kind = {"type.googleapis.com/google.rpc.BadRequest": BadRequest}.get(packed.type_url, RetryInfo)
        detail = kind()
        assert packed.Unpack(detail)
        return detail

    @property
    def retries_after_s(self) -> int | None:
        """The delay as the OpenTelemetry exporter for Python reads it; None when there is none."""
        found = self.metadata.get("google.rpc.retryinfo-bin")
        return RetryInfo.FromString(found).retry_delay.seconds if found is not None else None


@dataclass(frozen=True)
class Caller:
    """A channel to a collector, and the token that is sent with each call."""

    channel: grpc.Channel
    token: str

    def call(
        self,
        body: bytes,
        signal: str = "traces",
        *,
        path: str | None = None,
        token: str | None = None,
        timeout: float = PATIENCE_S,
        compression: grpc.Compression | None = None,
    ) -> Ended:
        """Make one call and return how it ended."""
        method = self.channel.unary_unary(path or EXPORTS[signal])
        try:
            response, call = method.with_call(
                body, timeout=timeout, metadata=self.metadata(token), compression=compression
            )
        except grpc.RpcError as error:
            return ended(error)
        return Ended(call.code(), call.details(), dict(call.trailing_metadata()), response)

    def metadata(self, token: str | None = None) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call; an empty *token* leaves it out."""
        known = self.token if token is None else token
        return (("authorization", f"Bearer {known}"),) if known else ()


def ended(error: Any) -> Ended:
    """Return how a call ended that raised *error*."""
    return Ended(error.code(), error.details(), dict(error.trailing_metadata() or ()))


@contextmanager
def calling(tower: Tower, credentials: grpc.ChannelCredentials | None = None) -> Iterator[Caller]:
    """Open a channel to *tower* for the length of the block."""
    channel = (
        grpc.secure_channel(tower.grpc, credentials, OPTIONS)
        if credentials is not None
        else grpc.insecure_channel(tower.grpc, OPTIONS)
    )
    with channel:
        yield Caller(channel, tower.token)
