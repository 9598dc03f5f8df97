"""OTLP over gRPC: one message in, the intake's outcome out as a response or a status.

A call is served as one that streams its request: on the wire there is no difference, and so its sender is known, and
admitted or not, before anything of the message is read. The message comes as bytes, and as it was compressed, so that
the limits that hold for HTTP are the ones that hold here; no class of the protocol's parses in front of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import unquote

import grpc

from controltower.collector.grpc_status import ending_of
from controltower.collector.intake import Admission, Intake, Stored
from controltower.collector.otlp import SIGNALS, Signal
from controltower.collector.peer import Peer
from controltower.collector.settings import Settings
from controltower.collector.status import Refusal, unavailable
from controltower.collector.turns import Turns

logger = logging.getLogger(__name__)

# Calls under way; each costs some 20 kB besides its message.
MOST_CALLS: Final = 2_000

# A message is seen when it is whole. One that takes longer than this may be of any size by then, and is counted as
# the largest that is taken until it is there. What can arrive sooner is bounded by the network: 125 MB at 10 Gbit/s.
UNSEEN_S: Final = 0.1

# Messages whose size is not known, as long as that is so. Small ones are there at once, for the library holds up to
# 64 KiB of a message before it is asked for.
MOST_UNSEEN: Final = 4

_GZIP: Final = b"\x1f\x8b"  # no protobuf message begins so: there is no wire type 7
_ZLIB: Final = 0x78  # nor does a request: there is no field 15

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Call: TypeAlias = Callable[[object, Context], Awaitable[bytes]]


class Exports(grpc.GenericRpcHandler):
    """Takes the calls of every signal's ``Export``; the library answers UNIMPLEMENTED to any other."""

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._settings = settings
        self._intake = intake
        self._calls = 0
        self._turns = Turns(MOST_UNSEEN)
        self._handlers = {f"/{signal.service}/Export": self._handler(signal) for signal in SIGNALS.values()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return what answers a call, None when there is no such method."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, signal: Signal) -> grpc.RpcMethodHandler:
        handler: grpc.RpcMethodHandler = grpc.stream_unary_rpc_method_handler(self._export(signal))
        return handler

    def _export(self, signal: Signal) -> Call:
        async def export(_: object, context: Context) -> bytes:
            self._calls += 1
            try:
                outcome = await self._outcome(signal, context)
            finally:
                self._calls -= 1
            if isinstance(outcome, Stored):
                return outcome.answer(signal).SerializeToString()
            ending = ending_of(outcome)
            await context.abort(ending.code, ending.words, ending.metadata)
            raise AssertionError("abort raises")

        return export

    async def _outcome(self, signal: Signal, context: Context) -> Stored | Refusal:
        try:
            return await self._receive(signal, context)
        except asyncio.CancelledError:  # by the client, its deadline, or the end of the server
            self._intake.counted(unavailable("The call was cancelled.", "disconnected"), signal, peer_of(context))
            raise
        except Exception:  # the last line: UNKNOWN would lose the batch at the client, UNAVAILABLE is tried again
            logger.exception("a %s call failed", signal.name)
            return self._intake.counted(
                unavailable("The request could not be handled.", "failed"), signal, peer_of(context)
            )

    async def _receive(self, signal: Signal, context: Context) -> Stored | Refusal:
        peer = peer_of(context)
        if self._calls > MOST_CALLS:
            return self._intake.counted(unavailable("Too many calls are under way.", "overload"), signal, peer)
        admission = self._intake.admit(signal, _authorization(context), peer=peer)
        if isinstance(admission, Refusal):
            return await self._intake.turn_away(admission, signal, peer)
        with admission:
            message = await self._read(context, admission)
            if isinstance(message, Refusal):
                return self._intake.counted(message, signal, peer)
            deadline_s = context.time_remaining()
            return await self._intake.take(admission, message, coding=coding_of(message), deadline_s=deadline_s)

    async def _read(self, context: Context, admission: Admission) -> bytes | Refusal:
        """Read the message while it stays within the limits of one request and of all requests together."""
        if not await self._turns.take(self._settings.deadline_s):
            return unavailable("Too many messages are being received at the same time.", "overload")
        reading: asyncio.Future[object] = asyncio.ensure_future(context.read())
        try:
            refusal = await self._wait(reading, admission)
        finally:
            if not reading.done():
                reading.add_done_callback(_forget)
        if refusal is not None:
            return refusal
        message = reading.result()
        admission.settle()
        if not isinstance(message, bytes):
            return Refusal(400, "unread", "There was no message, or one that is larger than what is taken.")
        return admission.read(len(message)) or message

    async def _wait(self, reading: "asyncio.Future[object]", admission: Admission) -> Refusal | None:
        """Wait for the message; returns why waiting for it must end."""
        try:
            await asyncio.wait([reading], timeout=UNSEEN_S)
        finally:
            self._turns.give_back()
        if reading.done():
            return None
        refusal = admission.expect(self._settings.body_bytes)
        if refusal is not None:
            return refusal
        timeout_s = self._settings.body_timeout_s
        if (await asyncio.wait([reading], timeout=timeout_s))[0]:
            return None
        return unavailable(f"The message took longer than {timeout_s:g} seconds.", "slow_client")


def coding_of(message: bytes) -> str:
    """Return how *message* is compressed; the library knows, and does not tell."""
    if message.startswith(_GZIP):
        return "gzip"
    is_zlib = message[:1] == bytes([_ZLIB]) and int.from_bytes(message[:2], "big") % 31 == 0  # RFC 1950
    return "deflate" if is_zlib else "identity"


def peer_of(context: Context) -> Peer:
    """Return who makes a call; the library writes ``ipv4:127.0.0.1:4711`` or ``ipv6:%5B::1%5D:4711``."""
    family, _, address = unquote(context.peer()).partition(":")
    return Peer("grpc", address.rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else "")


def _authorization(context: Context) -> str | None:
    for name, value in context.invocation_metadata() or ():
        if name == "authorization":
            return value if isinstance(value, str) else value.decode(errors="surrogateescape")
    return None


def _forget(reading: "asyncio.Future[object]") -> None:
    """Let go of a read whose call has ended."""
    if not reading.cancelled():
        reading.exception()
