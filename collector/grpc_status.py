"""How a gRPC call ends that was not taken: a code, words, and the delay in the two places where clients look for it."""

from dataclasses import dataclass
from typing import Final

import grpc
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # generated, without a marker
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # the same

from controltower.collector.status import Refusal, status_of

# Read by the OpenTelemetry Collector and everything else that knows google.rpc.Status.
DETAILS: Final = "grpc-status-details-bin"

# The only place where the OpenTelemetry exporter for Python looks for the delay.
RETRY_INFO: Final = "google.rpc.retryinfo-bin"

_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """The status of a call, and the trailing metadata that goes with it."""

    code: grpc.StatusCode
    words: str
    metadata: tuple[tuple[str, bytes], ...]


def ending_of(refusal: Refusal) -> Ending:
    """Return how a call ends that *refusal* refuses.

    What may be tried again is UNAVAILABLE and says when; RESOURCE_EXHAUSTED never does, so that it is final.
    """
    retry = _retry_info(refusal)
    code = grpc.StatusCode.UNAVAILABLE if retry else _CODES.get(refusal.http, grpc.StatusCode.INTERNAL)
    status = Status.FromString(status_of(refusal).SerializeToString())
    status.code = code.value[0]
    metadata = []
    if retry:
        status.details.add().Pack(retry)
        metadata.append((RETRY_INFO, retry.SerializeToString()))
    metadata.append((DETAILS, status.SerializeToString()))
    return Ending(code, status.message, tuple(metadata))


def _retry_info(refusal: Refusal) -> RetryInfo | None:
    seconds = refusal.headers.get("Retry-After")
    if seconds is None:
        return None
    info = RetryInfo()
    info.retry_delay.seconds = int(seconds)
    return info
