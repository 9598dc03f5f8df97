"""One request: admitted before it is read, checked before it is stored, answered when it is on the disk."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from controltower.collector.auth import Sender, Tokens
from controltower.collector.body import ENCODINGS, Encoding, content_coding, encoding_of, inflate
from controltower.collector.metrics import Metrics
from controltower.collector.otlp import Admitted, Signal, admit, answer
from controltower.collector.settings import Settings
from controltower.collector.status import (
    Refusal,
    bad_request,
    status_of,
    too_large,
    unauthenticated,
    unavailable,
    unsupported_type,
)
from controltower.tracer.journal import Journal, JournalError, JournalFull, Receipt, digest_of, envelope

logger = logging.getLogger(__name__)

# Bodies up to these sizes are handled on the event loop: it takes a millisecond, and a thread is not worth it.
# A compressed one can grow a hundredfold.
INLINE_BYTES: Final = 256 * 1024
INLINE_COMPRESSED_BYTES: Final = 16 * 1024

# What is left of a refused body is read and dropped up to this size, so that the connection can be used again.
# Above it the connection is closed, because reading on would cost more than a new one.
DRAIN_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """A request that is on its way to the disk, and what had to be left out of it."""

    items: int
    rejected: int
    receipt: Future[Receipt] | None  # None when there was nothing to store


class Receiver:
    """Takes requests of every signal into the journal."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        tokens: Tokens,
        metrics: Metrics,
        executor: Executor,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Use *executor* for bodies that would hold up the event loop; the caller ends it."""
        self._settings = settings
        self._journal = journal
        self._tokens = tokens
        self._metrics = metrics
        self._executor = executor
        self._clock = clock
        self._in_flight_bytes = 0

    async def receive(self, request: Request, signal: Signal) -> Response:
        """Answer a POST of *signal*: 200 after its bytes are on the disk, or the protocol's refusal."""
        try:
            outcome = await self._take(request, signal)
        except ClientDisconnect:
            outcome = unavailable("The connection was closed before the body was complete.", "disconnected")
        except Exception:  # the last line: 500 would lose the batch at the client, 503 is tried again
            logger.exception("a %s request failed", signal.name)
            outcome = unavailable("The request could not be handled.", "failed")
        if isinstance(outcome, Refusal):
            self._metrics.refused(outcome.reason)
            return refusal_response(outcome, request)
        encoding = encoding_of(request.headers.get("content-type", ""))
        assert encoding is not None  # checked before the body was read
        return Response(encoding.dump(answer(signal, outcome.rejected)), media_type=encoding.media_type)

    async def _take(self, request: Request, signal: Signal) -> Stored | Refusal:
        admitted = self._admit_headers(request)
        if isinstance(admitted, Refusal):
            return admitted
        sender, encoding, coding = admitted
        body = await self._read(request)
        if isinstance(body, Refusal):
            return body
        received_ns = self._clock()

        def store() -> Stored | Refusal:
            return self._store(signal, encoding, coding, body, sender, received_ns)

        try:
            async with asyncio.timeout(self._settings.deadline_s):
                if len(body) <= (INLINE_BYTES if coding == "identity" else INLINE_COMPRESSED_BYTES):
                    stored = store()
                else:
                    stored = await asyncio.get_running_loop().run_in_executor(self._executor, store)
                return stored if isinstance(stored, Refusal) else await self._acknowledge(stored)
        except TimeoutError:
            return unavailable("The disk did not confirm in time.", "slow")

    def _admit_headers(self, request: Request) -> tuple[Sender, Encoding, str] | Refusal:
        """Decide what can be decided before the body is read."""
        sender = self._tokens.sender(request.headers.get("authorization"))
        if sender is None:
            return unauthenticated()
        encoding = encoding_of(request.headers.get("content-type", ""))
        if encoding is None:
            return unsupported_type(list(ENCODINGS))
        coding = content_coding(request.headers.get("content-encoding", ""))
        if isinstance(coding, Refusal):
            return coding
        if _declared_length(request) > self._settings.body_bytes:
            return too_large(f"The body is larger than {self._settings.body_bytes} bytes.")
        return sender, encoding, coding

    async def _read(self, request: Request) -> bytes | Refusal:
        """Read the body while it stays within the limits of one request and of all requests together."""
        reserved = 0
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                refusal = self._beyond(_declared_length(request), reserved)
                if refusal:
                    return refusal
                async for piece in request.stream():
                    pieces.append(piece)
                    reserved += len(piece)
                    self._in_flight_bytes += len(piece)
                    refusal = self._beyond(0, reserved)
                    if refusal:
                        return refusal
            return b"".join(pieces)
        except TimeoutError:
            return unavailable(f"The body took longer than {self._settings.body_timeout_s:g} seconds.", "slow_client")
        finally:
            self._in_flight_bytes -= reserved

    def _beyond(self, announced: int, read: int) -> Refusal | None:
        if read > self._settings.body_bytes:
            return too_large(f"The body is larger than {self._settings.body_bytes} bytes.")
        if self._in_flight_bytes + announced > self._settings.in_flight_bytes:
            return unavailable("Too many bodies are being received at the same time.", "overload")
        return None

    def _store(
        self, signal: Signal, encoding: Encoding, coding: str, body: bytes, sender: Sender, received_ns: int
    ) -> Stored | Refusal:
        """Decode and check *body*, and hand it to the journal; any thread."""
        try:
            admitted = self._decode(signal, encoding, coding, body)
        except Exception:  # whatever a decoder trips over will trip it again
            logger.exception("a %s request of %s bytes could not be decoded", signal.name, len(body))
            return bad_request(f"The body is not a valid OTLP {signal.name} request.")
        if isinstance(admitted, Refusal):
            return admitted
        if not admitted.items:
            return Stored(0, admitted.rejected, None)
        message = admitted.body + envelope(received_ns, sender.tenant)
        digest = digest_of(admitted.body)
        receipt = self._journal.append(message, tenant=sender.tenant, received_ns=received_ns, digest=digest)
        return Stored(admitted.items, admitted.rejected, receipt)

    def _decode(self, signal: Signal, encoding: Encoding, coding: str, body: bytes) -> Admitted | Refusal:
        plain = inflate(body, self._settings.body_bytes) if coding == "gzip" else body
        if isinstance(plain, Refusal):
            return plain
        protobuf = encoding.to_protobuf(signal, plain)
        return protobuf if isinstance(protobuf, Refusal) else admit(signal, protobuf, self._settings.items)

    async def _acknowledge(self, stored: Stored) -> Stored | Refusal:
        """Wait until the disk has it."""
        if stored.receipt is not None:
            try:
                receipt = await asyncio.wrap_future(stored.receipt)
            except JournalFull as error:
                return unavailable(str(error), "journal_full")
            except JournalError as error:
                return unavailable(str(error), "journal_failed")
            if receipt.duplicate:
                self._metrics.add("requests_duplicate")
            else:
                self._metrics.add("items_accepted", stored.items)
        self._metrics.add("requests_accepted")
        self._metrics.add("items_rejected", stored.rejected)
        return stored


def refusal_response(refusal: Refusal, request: Request) -> Response:
    """Return *refusal* as a Status in the encoding of *request*, or as text when it has none that is known here."""
    headers = dict(refusal.headers)
    if _declared_length(request) > DRAIN_BYTES or "transfer-encoding" in request.headers:
        headers["Connection"] = "close"
    encoding = encoding_of(request.headers.get("content-type", ""))
    if encoding is None:
        return Response(refusal.message, refusal.http, headers, media_type="text/plain")
    return Response(encoding.dump(status_of(refusal)), refusal.http, headers, media_type=encoding.media_type)


def _declared_length(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() else 0
