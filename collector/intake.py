"""What every transport does with a request: admitted before its body is read, checked, and stored before it is answered.

HTTP and gRPC call ``admit`` with what they know of the request, ``read`` the body within the claim they were given, and
``take`` it. Both answer with what comes back.
"""

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from controltower.collector.admission import Admitted, Limits, Redact, RedactFor, admit
from controltower.collector.auth import Sender, Tokens
from controltower.collector.body import PROTOBUF, Encoding, inflate
from controltower.collector.cut import RecordLimits
from controltower.collector.door import Door
from controltower.collector.gauges import of_number
from controltower.collector.memory import MemoryWatch
from controltower.collector.metrics import Metrics
from controltower.collector.otlp import SIGNALS, Signal
from controltower.collector.peer import TRANSPORTS, Peer
from controltower.collector.profiles import ProfileWatch
from controltower.collector.rates import Quota, Rates
from controltower.collector.redaction.errors import RedactionError
from controltower.collector.room import EXPECTED_RATIO, Claim, Room
from controltower.collector.settings import Settings
from controltower.collector.status import (
    MESSAGE_CHARACTERS,
    Refusal,
    bad_request,
    forbidden,
    not_found,
    over_quota,
    too_large,
    unavailable,
)
from controltower.collector.wire import Message
from controltower.tracer.journal import (
    Journal,
    JournalError,
    JournalFull,
    JournalTooLarge,
    Receipt,
    digest_of,
    envelope,
)

logger = logging.getLogger(__name__)

# Bodies up to these sizes are handled on the event loop: it takes a millisecond, and a thread is not worth it.
# A compressed one can grow a hundredfold, and JSON takes ten times as long.
INLINE_BYTES: Final = 256 * 1024
INLINE_DEAR_BYTES: Final = 16 * 1024

# Larger bodies are parsed one after the other: several at once would not be faster, and each takes its size many times.
LARGE_BYTES: Final = 4 * 1024 * 1024

UNKNOWN_PEER: Final = Peer()


@dataclass(frozen=True, slots=True)
class Stored:
    """A request that is on the disk, what had to be left out of it, and words about that for its sender."""

    items: int
    rejected: int = 0
    words: str = ""
    duplicate: bool = False  # it was stored before: the client saw no answer then

    def answer(self, signal: Signal) -> Message:
        """Return the response of *signal*."""
        return signal.respond(self.rejected, self.words[:MESSAGE_CHARACTERS])


@dataclass(frozen=True, slots=True)
class Admission:
    """Leave to send one body, and the room that is held for it; a context manager that gives the room back."""

    signal: Signal
    sender: Sender
    claim: Claim
    peer: Peer = UNKNOWN_PEER

    def __enter__(self) -> Self:
        """Hold the room until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the room back."""
        self.claim.close()

    def read(self, size: int) -> Refusal | None:
        """Note that *size* more bytes of the body are in memory; returns the refusal when there is no room for them."""
        return self.claim.use(size)

    def settle(self) -> None:
        """Give back the room that was expected to be needed for reading, and was not: the body is there."""
        self.claim.settle()

    def expect(self, size: int) -> Refusal | None:
        """Hold room for *size* bytes that may be there already, though nobody can see them yet."""
        return self.claim.expect(size)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that is on its way to the disk."""

    admitted: Admitted
    receipt: Future[Receipt] | None  # None when there was nothing to store


class Intake:
    """Takes requests of every signal into the journal of the signal."""

    def __init__(
        self,
        settings: Settings,
        journals: Mapping[str, Journal],
        tokens: Tokens,
        metrics: Metrics,
        executor: Executor,
        *,
        redact: RedactFor | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the signals that have a journal, by their names.

        *executor* is for bodies that would hold up the event loop; the caller ends it. *redact* is called for what
        senders of class ``phi`` send, before it is written.
        """
        unknown = journals.keys() - SIGNALS.keys()
        if unknown:
            raise ValueError(f"no such signals: {sorted(unknown)}")
        self._settings = settings
        self._journals = journals
        self.door = Door(tokens, monotonic=monotonic)
        self._profiles = ProfileWatch()
        self._rates = Rates(Quota(settings.source_items_per_s, settings.source_bytes_per_s, settings.source_burst_s))
        self._counting = {
            (signal, transport): metrics.of(signal=signal, transport=transport)
            for signal in SIGNALS
            for transport in TRANSPORTS
        }
        self._executor = executor
        self._redact = redact
        self._clock = clock
        self._monotonic = monotonic
        self._room = Room(settings.in_flight_bytes, MemoryWatch(settings.memory_bytes).is_short)
        self._limits = Limits(
            settings.items,
            RecordLimits(settings.record_attributes, settings.record_value_bytes, settings.record_name_bytes),
        )
        self._one_at_a_time = threading.Lock()
        metrics.watch(of_number("in_flight_bytes", lambda: self._room.held_bytes))

    def admit(
        self,
        signal: Signal,
        authorization: str | None,
        declared_bytes: int = 0,
        peer: Peer = UNKNOWN_PEER,
        *,
        coding: str = "identity",
    ) -> Admission | Refusal:
        """Decide what can be decided before the body is read; *declared_bytes* is its length, 0 when not known."""
        sender = self.door.sender(authorization, peer)
        if isinstance(sender, Refusal):
            return sender
        if signal.name not in self._journals:
            return not_found(f"This collector does not take {signal.name}.")
        if sender.signals and signal.name not in sender.signals:
            return forbidden(f"This token may not send {signal.name}.")
        if sender.phi and self._redact is None:
            return unavailable("This token needs redaction, which is not set up here.", "no_redaction")
        if declared_bytes > self._settings.body_bytes:
            return self._too_large()
        wait_s = self._rates.wait_s(sender, self._monotonic())
        if wait_s:
            return over_quota(f"This token has sent more than it may; it is taken again in {wait_s:.1f} s.")
        expected = declared_bytes if coding == "identity" else declared_bytes * EXPECTED_RATIO
        claim = self._room.claim(min(expected, self._settings.body_bytes))
        return claim if isinstance(claim, Refusal) else Admission(signal, sender, claim, peer)

    async def read(self, admission: Admission, pieces: AsyncIterator[bytes]) -> bytes | Refusal:
        """Read a body while it stays within the limits of one request and of all requests together."""
        read: list[bytes] = []
        size = 0
        async for piece in pieces:
            size += len(piece)
            refusal = self._too_large() if size > self._settings.body_bytes else admission.read(len(piece))
            if refusal:
                return refusal
            read.append(piece)
        return b"".join(read)

    def _too_large(self) -> Refusal:
        return too_large(f"The body is larger than {self._settings.body_bytes} bytes.")

    async def take(
        self,
        admission: Admission,
        body: bytes,
        encoding: Encoding = PROTOBUF,
        coding: str = "identity",
        *,
        deadline_s: float | None = None,
    ) -> Stored | Refusal:
        """Check and store *body*; returns when it is on the disk, or why it is not. Counts the outcome.

        What was not handed to the journal within *deadline_s* (by default that of the settings) is dropped; what was
        stays, and is recognised when it is sent again.
        """
        limit_s = self._settings.deadline_s if deadline_s is None else min(deadline_s, self._settings.deadline_s)
        began_at = self._monotonic()
        ends_at = began_at + limit_s
        received_ns = self._clock()
        self._rates.charge(admission.sender, 0, len(body), began_at)

        def hand_over() -> _Waiting | Refusal:
            return self._hand_over(admission, encoding, coding, body, received_ns, ends_at)

        try:
            async with asyncio.timeout(limit_s):
                plain = coding == "identity" and encoding is PROTOBUF
                if len(body) <= (INLINE_BYTES if plain else INLINE_DEAR_BYTES):
                    waiting = hand_over()
                else:
                    waiting = await self._in_thread(admission.claim, hand_over)
                outcome = waiting if isinstance(waiting, Refusal) else await self._acknowledge(waiting)
        except TimeoutError:
            outcome = unavailable("The disk did not confirm in time.", "slow")
        except Exception:  # the last line: any other answer than "come back" would lose the batch at the client
            logger.exception("a %s request failed", admission.signal.name)
            outcome = unavailable("The request could not be handled.", "failed")
        metrics = self._metrics_of(admission.signal, admission.peer)
        metrics.add("body_bytes", len(body))
        if isinstance(outcome, Stored):
            self._rates.charge(admission.sender, outcome.items + outcome.rejected, 0, self._monotonic())
            metrics.observe("request_duration_seconds", self._monotonic() - began_at)
            _count_stored(metrics, outcome, admission.sender.name)
            return outcome
        return self.counted(outcome, admission.signal, admission.peer)

    async def _in_thread(self, claim: Claim, work: Callable[[], _Waiting | Refusal]) -> _Waiting | Refusal:
        """Do *work* in a thread, which holds *claim* for as long as it holds the body, also when nobody waits any more."""
        claim.share()
        job = asyncio.get_running_loop().run_in_executor(self._executor, work)
        job.add_done_callback(lambda _: claim.close())
        return await asyncio.shield(job)

    async def turn_away(self, refusal: Refusal, signal: Signal, peer: Peer) -> Refusal:
        """Count what ``admit`` refused and return it, after as long as its answer is to be held back."""
        self.counted(refusal, signal, peer)
        await self.door.hold(refusal)
        return refusal

    def counted(self, refusal: Refusal, signal: Signal, peer: Peer = UNKNOWN_PEER) -> Refusal:
        """Count *refusal* and return it; transports pass what they refuse themselves."""
        self._metrics_of(signal, peer).refused(refusal.reason)
        return refusal

    def _metrics_of(self, signal: Signal, peer: Peer) -> Metrics:
        return self._counting[signal.name, peer.transport]

    def _hand_over(
        self, admission: Admission, encoding: Encoding, coding: str, body: bytes, received_ns: int, ends_at: float
    ) -> _Waiting | Refusal:
        """Decode and check *body*, and hand it to the journal; any thread."""
        signal, sender = admission.signal, admission.sender
        if self._monotonic() > ends_at:  # it waited for a thread, and its client was told to come back
            return _late()
        try:
            admitted = self._decode(admission, encoding, coding, body)
        except RedactionError as error:  # never stored as it came
            logger.error("%s", error)
            return unavailable("The request could not be redacted, so it was not stored.", "redaction_failed")
        except Exception as error:  # noqa: BLE001 - the last line: whatever a decoder trips over will trip it again
            return self._undecodable(admission, coding, body, error)
        if isinstance(admitted, Refusal):
            return admitted
        metrics = self._metrics_of(signal, admission.peer)
        for (field, rule), times in admitted.redacted.items():
            metrics.add("values_redacted", times, field=field, rule=rule)
        if admitted.trimmed:
            metrics.add("records_trimmed", admitted.trimmed)
        if absent := self._profiles.words(signal, sender, admitted.body, self._monotonic()):
            logger.warning("sender %s, %s: %s", sender.name, signal.name, absent)
            admitted = replace(admitted, words=f"{admitted.words} {absent}".strip())
        if not admitted.items:
            return _Waiting(admitted, None)
        if self._monotonic() > ends_at:
            return _late()
        message = admitted.body + envelope(received_ns, sender.tenant)
        receipt = self._journals[signal.name].append(
            message, tenant=sender.tenant, received_ns=received_ns, digest=digest_of(admitted.body)
        )
        return _Waiting(admitted, receipt)

    def _decode(self, admission: Admission, encoding: Encoding, coding: str, body: bytes) -> Admitted | Refusal:
        claim, sender = admission.claim, admission.sender
        plain = body if coding == "identity" else inflate(body, self._settings.body_bytes, coding, claim.use)
        if isinstance(plain, Refusal):
            return plain
        if len(plain) > self._settings.body_bytes:
            return self._too_large()
        with self._one_at_a_time if len(plain) > LARGE_BYTES else nullcontext():
            converted = encoding.convert(admission.signal, plain)
            if isinstance(converted, Refusal):
                return converted
            redact = self._redacting(sender)
            admitted = admit(admission.signal, converted.body, self._limits, sources=sender.sources, redact=redact)
        if converted.words and isinstance(admitted, Admitted):
            return replace(admitted, words=f"{converted.words} {admitted.words}".strip())
        return admitted

    def _redacting(self, sender: Sender) -> Redact | None:
        """Return what redacts a request of *sender*; None when that is done by the load. Without any it is not admitted."""
        redact = self._redact
        if not sender.phi or redact is None:
            return None
        return lambda signal, request: redact(signal, request, sender.tenant)

    def _undecodable(self, admission: Admission, coding: str, body: bytes, error: Exception) -> Refusal:
        """Keep a body that a decoder of ours failed on, for whoever mends it; the sender is told not to try again.

        Neither the log nor the reason holds the error's text: it can quote the body. What a sender of class phi sent
        is not kept.
        """
        signal, sender = admission.signal, admission.sender
        *_, frame = traceback.extract_tb(error.__traceback__)
        reason = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
        logger.error("a %s request of %s bytes could not be decoded: %s", signal.name, len(body), reason)
        if not sender.phi:
            try:
                self._journals[signal.name].set_aside(body, reason, tenant=sender.tenant, coding=coding)
            except (JournalError, OSError) as problem:
                logger.error("the body could not be kept, either: %s", problem)
        return bad_request(f"The body is not a valid OTLP {signal.name} request.")

    async def _acknowledge(self, waiting: _Waiting) -> Stored | Refusal:
        """Wait until the disk has it."""
        admitted = waiting.admitted
        if waiting.receipt is None:
            return Stored(0, admitted.rejected, admitted.words)
        try:
            receipt = await asyncio.wrap_future(waiting.receipt)
        except JournalTooLarge as error:
            return too_large(str(error))
        except JournalFull as error:
            return unavailable(str(error), "journal_full")
        except JournalError as error:
            return unavailable(str(error), "journal_failed")
        return Stored(admitted.items, admitted.rejected, admitted.words, receipt.duplicate)


def _count_stored(metrics: Metrics, stored: Stored, sender: str) -> None:
    metrics.add("requests_accepted")
    if stored.rejected:
        metrics.add("items_rejected", stored.rejected, sender=sender)
    if stored.duplicate:
        metrics.add("requests_duplicate")
    metrics.add("items_duplicate" if stored.duplicate else "items_accepted", stored.items, sender=sender)


def _late() -> Refusal:
    return unavailable("The request could not be handled in time.", "slow")
