"""OTLP over HTTP: headers and bodies in, the intake's outcome out in the encoding of the request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from controltower.collector.body import ENCODINGS, content_coding, encoding_of
from controltower.collector.intake import Admission, Intake, Stored
from controltower.collector.otlp import Signal
from controltower.collector.peer import Peer
from controltower.collector.status import Refusal, status_of, unavailable, unsupported_type

logger = logging.getLogger(__name__)

# What is left of a refused body is read and dropped up to this size, so that the connection can be used again.
# Above it the connection is closed, because reading on would cost more than a new one.
DRAIN_BYTES: Final = 1024 * 1024


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
        encoding = encoding_of(request.headers.get("content-type", ""))
        assert encoding is not None  # checked before the body was read
        return Response(encoding.dump(outcome.answer(signal)), media_type=encoding.media_type)

    return post


async def _receive(request: Request, intake: Intake, signal: Signal, body_timeout_s: float) -> Stored | Refusal:
    peer = peer_of(request)
    admission = intake.admit(signal, request.headers.get("authorization"), _declared_length(request), peer)
    if isinstance(admission, Refusal):
        return intake.counted(admission, signal, peer)
    with admission:
        encoding = encoding_of(request.headers.get("content-type", ""))
        if encoding is None:
            return intake.counted(unsupported_type(list(ENCODINGS)), signal, peer)
        coding = content_coding(request.headers.get("content-encoding", ""))
        if isinstance(coding, Refusal):
            return intake.counted(coding, signal, peer)
        body = await _read(request, admission, body_timeout_s)
        if isinstance(body, Refusal):
            return intake.counted(body, signal, peer)
        return await intake.take(admission, body, encoding, coding)


async def _read(request: Request, admission: Admission, timeout_s: float) -> bytes | Refusal:
    """Read the body while it stays within the limits of one request and of all requests together."""
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in request.stream():
                refusal = admission.read(len(piece))
                if refusal:
                    return refusal
                pieces.append(piece)
    except TimeoutError:
        return unavailable(f"The body took longer than {timeout_s:g} seconds.", "slow_client")
    return b"".join(pieces)


def refusal_response(refusal: Refusal, request: Request) -> Response:
    """Return *refusal* as a Status in the encoding of *request*, or as text when it has none that is known here."""
    headers = dict(refusal.headers)
    if _declared_length(request) > DRAIN_BYTES or "transfer-encoding" in request.headers:
        headers["Connection"] = "close"
    encoding = encoding_of(request.headers.get("content-type", ""))
    if encoding is None:
        return Response(refusal.message, refusal.http, headers, media_type="text/plain")
    return Response(encoding.dump(status_of(refusal)), refusal.http, headers, media_type=encoding.media_type)


def peer_of(request: Request) -> Peer:
    """Return who sent *request*."""
    return Peer("http", request.client.host if request.client else "")


def _declared_length(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() else 0
