"""Refusals as values, and the ``google.rpc.Status`` that every error body is."""

from dataclasses import dataclass
from dataclasses import field as defaults
from typing import Final

from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]  # generated, published without a marker
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]  # the same
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # the same

from controltower.collector.wire import Message

# What clients of every kind keep trying longest with: 8 s in the OpenTelemetry exporter for Python (measured; no value
# gives 7.1 s, 1 gives 5 s, above 10 it drops the batch at once).
RETRY_AFTER_S: Final = "2"

# Long enough to say why and what to change, and far below the 4 MiB that a response may have.
MESSAGE_CHARACTERS: Final = 1_024

_CODES: Final = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    413: Code.RESOURCE_EXHAUSTED,
    415: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    503: Code.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken: the answer's status, words for the sender, and headers that belong to it."""

    http: int
    reason: str  # one word for counters
    message: str
    headers: dict[str, str] = defaults(default_factory=dict)
    field: str = "body"  # what of the request is to blame
    delay_s: float = 0.0  # before it is answered: who guesses tokens waits


def bad_request(message: str, field: str = "body") -> Refusal:
    """The body cannot be read because of *field*; sending it again cannot help."""
    return Refusal(400, "malformed", message, field=field)


def unauthenticated() -> Refusal:
    """There is no token, or none that is known."""
    message = "A known token is needed: send the header 'Authorization: Bearer TOKEN'."
    return Refusal(401, "unauthenticated", message, {"WWW-Authenticate": 'Bearer realm="controltower"'})


def token_in_query() -> Refusal:
    """A token stands in the address, where proxies and logs keep it; whether it is known is not even looked at."""
    message = "A token does not belong into the address: send it as a header, and replace it, because it was seen."
    challenge = 'Bearer realm="controltower", error="invalid_request"'
    return Refusal(401, "token_in_query", message, {"WWW-Authenticate": challenge})


def over_quota(message: str) -> Refusal:
    """The sender sent more than it may; it can come back, and others are not concerned."""
    return Refusal(429, "rate", message, {"Retry-After": RETRY_AFTER_S})


def forbidden(message: str) -> Refusal:
    """The token is known, and what it sent is not among what it may send."""
    return Refusal(403, "forbidden", message)


def not_found(message: str) -> Refusal:
    """There is nothing here that takes such a request."""
    return Refusal(404, "unknown_path", message)


def too_large(message: str) -> Refusal:
    """The request is beyond a limit; the message names it."""
    return Refusal(413, "too_large", message)


def unsupported_type(supported: list[str]) -> Refusal:
    """The body is of a type that is not read here; the text is the one of the OpenTelemetry Collector."""
    return Refusal(415, "unsupported_type", f"415 unsupported media type, supported: [{', '.join(supported)}]")


def unavailable(message: str, reason: str = "unavailable") -> Refusal:
    """Nothing was stored, and trying again can help; the only answer for trouble on this side."""
    return Refusal(503, reason, message, {"Retry-After": RETRY_AFTER_S})


def status_of(refusal: Refusal) -> Message:
    """Return the message that tells a client why it was refused."""
    status = Status(code=_CODES.get(refusal.http, Code.UNKNOWN), message=refusal.message[:MESSAGE_CHARACTERS])
    if refusal.http == 400:
        violation = BadRequest.FieldViolation(field=refusal.field, description=status.message)
        status.details.add().Pack(BadRequest(field_violations=[violation]))
    answered: Message = status
    return answered
