"""OTLP over HTTP: headers and bodies in, the intake's outcome out in the encoding of the request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from controltower.collector.body import ENCODINGS, JSON, content_coding, encoding_of
from controltower.collector.intake import Admission, Intake, Stored
from controltower.collector.otlp import Signal
from controltower.collector.peer import Peer
from controltower.collector.status import Refusal, status_of, token_in_query, unavailable, unsupported_type
from controltower.collector.wire import Message

logger = logging.getLogger(__name__)

# What is left of a refused body is read and dropped up to this size, so that the connection can be used again.
# Above it the connection is closed, because reading on would cost more than a new one.
DRAIN_BYTES: Final = 1024 * 1024

UNWRITABLE: Final = b'{"code": 13, "message": "failed to marshal error message"}'
TOKEN_FIELDS: Final = frozenset(
    {"access_token", "api_key", "api-key", "apikey", "auth", "authorization", "bearer", "token"}
)
MOST_DIGITS: Final = 20  # of a length


def receiver(intake: Intake, signal: Signal, body_timeout_s: float) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers a POST of *signal*: 200 after its bytes are on the disk, or the protocol's refusal."""

    async def post(request: Request) -> Response:
        try:
            outcome = await _receive(request, intake, signal, body_timeout_s)
        except ClientDisconnect:
            gone = unavailable("The connection was closed before the body was complete.", "disconnected")
            outcome = intake.counted(gone, signal, peer_of(request))
        except asyncio.CancelledError:  # the server stops; it would answer 500, which loses the batch at the client
            stopping = unavailable("The collector is stopping.", "stopping")
            outcome = intake.counted(stopping, signal, peer_of(request))
        except Exception:  # the last line: 500 would lose the batch at the client, 503 is tried again
            logger.exception("a %s request failed", signal.name)
            outcome = intake.counted(
                unavailable("The request could not be handled.", "failed"), signal, peer_of(request)
            )
        if isinstance(outcome, Refusal):
            return refusal_response(outcome, request)
        return _encoded(outcome.answer(signal), 200, {}, request)

    return post


async def _receive(request: Request, intake: Intake, signal: Signal, body_timeout_s: float) -> Stored | Refusal:
    peer = peer_of(request)
    encoding = encoding_of(request.headers.get("content-type", ""))
    coding = content_coding(request.headers.get("content-encoding", ""))
    expected = coding if isinstance(coding, str) else "identity"
    authorization = request.headers.get("authorization")
    if names_a_token(request.scope["query_string"]):
        return intake.counted(token_in_query(), signal, peer)
    admission = intake.admit(signal, authorization, _declared_length(request), peer, coding=expected)
    if isinstance(admission, Refusal):
        return await intake.turn_away(admission, signal, peer)
    with admission:
        if encoding is None:
            return intake.counted(unsupported_type(list(ENCODINGS)), signal, peer)
        if isinstance(coding, Refusal):
            return intake.counted(coding, signal, peer)
        body = await _read(request, intake, admission, body_timeout_s)
        if isinstance(body, Refusal):
            return intake.counted(body, signal, peer)
        return await intake.take(admission, body, encoding, coding)


async def _read(request: Request, intake: Intake, admission: Admission, timeout_s: float) -> bytes | Refusal:
    try:
        async with asyncio.timeout(timeout_s):
            return await intake.read(admission, request.stream())
    except TimeoutError:
        return unavailable(f"The body took longer than {timeout_s:g} seconds.", "slow_client")


def refusal_response(refusal: Refusal, request: Request) -> Response:
    """Return *refusal* as a Status in the encoding of *request*, or as text when it has none that is known here."""
    headers = dict(refusal.headers)
    if _declared_length(request) > DRAIN_BYTES or "transfer-encoding" in request.headers:
        headers["Connection"] = "close"
    if encoding_of(request.headers.get("content-type", "")) is None:
        return Response(refusal.message, refusal.http, headers, media_type="text/plain")
    return _encoded(status_of(refusal), refusal.http, headers, request)


def _encoded(message: Message, status: int, headers: dict[str, str], request: Request) -> Response:
    """Return *message* in the encoding of *request*, which has one."""
    encoding = encoding_of(request.headers.get("content-type", ""))
    assert encoding is not None
    try:
        body = encoding.dump(message)
    except Exception:  # the last line: the client is told in the words of the OpenTelemetry Collector
        logger.exception("an answer could not be written")
        return Response(UNWRITABLE, 500, headers, media_type=JSON.media_type)
    return Response(body, status, headers, media_type=encoding.media_type)


def names_a_token(query: bytes) -> bool:
    """Whether a query string holds a field in which a token is usually put."""
    return any(name.lower() in TOKEN_FIELDS for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def peer_of(request: Request) -> Peer:
    """Return who sent *request*."""
    return Peer("http", request.client.host if request.client else "")


def _declared_length(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text[:MOST_DIGITS]) if text.isascii() and text.isdecimal() else 0
