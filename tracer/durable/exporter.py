"""The exporter that stores spans in a journal on this machine's disk, from where they are sent to the collector."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from controltower.tracer.durable.bodies import Body, encoded, is_business
from controltower.tracer.durable.drain import FAILED, Drain, Sends
from controltower.tracer.durable.folders import Folders
from controltower.tracer.durable.limits import MOST_TAKEN_OVER, RECORD_BYTES, DurableLimits
from controltower.tracer.durable.spool import Kind, Spool, open_spool
from controltower.tracer.guard import Guard
from controltower.tracer.journal import JournalError, JournalFull
from controltower.tracer.journal.disk import Disk

DROPPED: Final = "dropped_spans"
SHED: Final = "shed_spans"  # no steps: given up to leave room for them
MEASURE_S: Final = 5.0  # how old the number of bytes of other processes may be
WRITE_TRIES: Final = 2  # a segment whose write failed is given up; the next one may be well


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the spans of this process."""

    acknowledged: int  # by the collector; those that were left behind by other processes included
    stored: int  # on the disk, and not acknowledged
    retries: int  # attempts that are made again
    problem: str | None  # why the last request was not taken; None after one that was


class DurableExporter(SpanExporter):
    """Stores spans on the disk; a thread of its own sends them. For one storing thread; nothing starts before the first span.

    A span that cannot be stored is counted, and never raised: other spans first, ``shed_spans``; then steps, ``dropped_spans``.
    """

    def __init__(
        self,
        root: Path,
        service: str,
        make_sender: Callable[[], Sends],
        guard: Guard,
        limits: DurableLimits,
        *,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
    ) -> None:
        """Keep below *root* what the collector does not take now; touches neither disk nor network."""
        self._limits = limits
        self._guard = guard
        self._past_the_disk = make_sender()  # of the storing thread; the drain's own may hang
        self._clock = clock
        self._monotonic = monotonic
        self._disk = disk or Disk()
        self._folders = Folders(root, service, self._disk)
        self._spool: Spool | None = None
        self._drain = Drain(
            make_sender(), guard, interval_s=limits.interval_s, take_over=self._take_over, monotonic=monotonic
        )
        self._beside = 0
        self._measured_at: float | None = None
        self._lost = self._reported_lost = 0
        self._lock = threading.Lock()

    # -- for the delivery

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store *spans*; returns when they are on the disk, or counted as lost. Blocks as long as the disk does."""
        business = [span for span in spans if is_business(span)]
        others = [span for span in spans if not is_business(span)] if len(business) < len(spans) else []
        for kind, those in (("steps", business), ("others", others)):
            if those:
                self._store_all("steps" if kind == "steps" else "others", those)
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is stored; return whether all of it, and all since the last flush, was acknowledged in time."""
        in_time = self._spool is None or self._drain.flush(timeout_millis / 1000)
        failed = self._lost + self._guard.counts().get(FAILED, 0)
        with self._lock:
            lossless, self._reported_lost = failed == self._reported_lost, failed
        return in_time and lossless

    def close(self, timeout_s: float) -> bool:
        """Send the rest while the collector takes it, until *timeout_s*; what is left stays on the disk. Twice is fine."""
        return self._drain.close(timeout_s)

    def shutdown(self) -> None:
        """As ``close``, for the OpenTelemetry provider."""
        self.close(5.0)

    def take_over(self) -> None:
        """Begin to send what was left behind, if anything was; not called in a forked child, whose parent does."""
        try:
            if self._folders.any():
                self._drain.start()
        except OSError as error:
            self._guard.warn("durable_folder", f"the folder for durable export cannot be read: {error.strerror}")

    def abandon(self) -> None:
        """In a forked child: leave everything to the parent."""
        self._drain.abandon()

    @property
    def kept(self) -> Kept:
        """What became of the spans so far."""
        return Kept(self._drain.acknowledged, self._drain.waiting, self._drain.retries, self._drain.problem)

    # -- storing

    def _store_all(self, kind: Kind, spans: Sequence[ReadableSpan]) -> None:
        for body in encoded(spans, RECORD_BYTES):
            if not body.data:
                self._lose(FAILED, body.spans, "a span cannot be encoded")
            elif (why := self._store(kind, body)) is not None and not self._sent_past_the_disk(body):
                if kind == "steps":
                    self._lose(DROPPED, body.spans, f"steps are lost: {why}")
                else:
                    self._lose(SHED, body.spans, f"spans that are no steps are given up: {why}")

    def _store(self, kind: Kind, body: Body) -> str | None:
        """Store *body* and return nothing, or why it cannot be stored. Steps make other spans give way."""
        tries = 0
        while True:
            try:
                why = self._refusal(len(body.data))
                if why is None:
                    self._spool_here().put(kind, body.data, self._stalled)
                    self._drain.stored(kind, body.spans)
                    return None
            except JournalFull as error:
                why = str(error)
            except (JournalError, OSError) as error:
                why, tries = str(error), tries + 1
                if tries < WRITE_TRIES:
                    continue
                return why
            if kind == "others" or not self._shed(why):
                return why

    def _stalled(self) -> None:
        self._guard.warn("durable_stalled", "the disk for durable export does not answer; spans wait in memory")

    def _refusal(self, size: int) -> str | None:
        """Return why *size* bytes more are too many for this machine. Raises OSError."""
        budget, reserve = self._limits.budget_bytes, self._limits.reserve_bytes
        own = self._spool.used_bytes if self._spool is not None else 0
        if own + self._bytes_beside() + size > budget:
            return f"{budget} bytes on the disk (durable_bytes) are used; bring the collector back or allow more"
        if self._spool is not None and self._disk.free(self._spool.path) - size < reserve:
            return f"less than {reserve} bytes (durable_reserve_bytes) are free on the disk"
        return None

    def _bytes_beside(self) -> int:
        now = self._monotonic()
        if self._measured_at is None or now - self._measured_at >= MEASURE_S:
            self._measured_at = now
            self._beside = self._folders.bytes_beside(self._spool.path if self._spool is not None else None)
        return self._beside

    def _spool_here(self) -> Spool:
        if self._spool is None:
            claim = self._folders.make(self._clock())
            spool = open_spool(
                claim,
                budget_bytes=self._limits.budget_bytes,
                segment_bytes=self._limits.segment_bytes,
                clock=self._clock,
                disk=self._disk,
            )
            self._spool = spool
            self._drain.start(spool)
        return self._spool

    def _shed(self, why: str) -> bool:
        """Give the oldest stored spans up that are no steps; return whether there were any."""
        if self._spool is None:
            return False
        try:
            spans = self._spool.give_up_others()
        except (JournalError, OSError) as error:
            self._guard.warn("durable_shed", f"no room could be made on the disk: {error}")
            return False
        if spans:
            self._drain.settled("others", spans)
            self._lose(SHED, spans, f"spans that are no steps are given up to make room for steps: {why}")
        return bool(spans)

    def _sent_past_the_disk(self, body: Body) -> bool:
        """Send *body* at once when the disk does not take it and the collector is known to answer."""
        if not self._drain.is_well:
            return False
        answer = self._past_the_disk.send(body.data)
        if answer.kind != "taken" or answer.rejected:
            return False
        self._drain.sent(body.spans)
        return True

    def _lose(self, kind: str, spans: int, sentence: str) -> None:
        self._lost += spans if kind != FAILED else 0
        self._guard.count(kind, spans)
        self._guard.warn(kind, sentence)

    def _take_over(self, already: int) -> list[Spool]:
        found: list[Spool] = []
        try:
            claims = self._folders.left_behind(MOST_TAKEN_OVER - already)
        except OSError as error:
            self._guard.warn("durable_folder", f"the folder for durable export cannot be read: {error.strerror}")
            return found
        for claim in claims:
            try:
                found.append(
                    open_spool(
                        claim,
                        budget_bytes=self._limits.budget_bytes,
                        segment_bytes=self._limits.segment_bytes,
                        clock=self._clock,
                        disk=self._disk,
                    )
                )
            except (JournalError, OSError) as error:  # it stays as it is, and is looked at again
                self._guard.warn("durable_take_over", f"{claim.path} cannot be taken over: {error}")
        return found
