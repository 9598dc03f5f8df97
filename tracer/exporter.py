"""From the end of a span to the collector: a bounded queue that counts what it loses, and one sending thread.

The SDK's ``BatchSpanProcessor`` drops the oldest span when its queue is full, exposes no count of it, and its
``force_flush`` says yes even when every export failed. Business steps need to know, hence this one.
"""

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol, runtime_checkable

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESS_INSTRUMENTATION
from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.types import AnyValue

from controltower.tracer import attributes
from controltower.tracer.guard import Guard
from controltower.tracer.privacy import attributes_of
from controltower.tracer.propagation import ring_in

WhenFull = Literal["drop", "block"]
Clean = Callable[[ReadableSpan, Mapping[str, AnyValue]], ReadableSpan]  # a span and its attributes, read before

DROPPED: Final = "dropped_spans"
SHED: Final = "shed_spans"  # no steps: given up to leave room for them
FAILED: Final = "failed_spans"
CUT: Final = "dropped_lines_and_attributes"
BLOCK_LIMIT_S: Final = 60.0  # a blocked batch program goes on after this, and the span counts as dropped
MAX_REQUEST_BYTES: Final = 32 * 1024 * 1024  # half of what the collector takes
THREAD_NAME: Final = "controltower-export"
STEPS_ONLY: Final = 4  # the last quarter of the queue is for business steps


@runtime_checkable
class Keeping(Protocol):
    """An exporter that keeps what it was given, and takes it to the collector by itself."""

    def close(self, timeout_s: float) -> bool:
        """Send the rest, and stop; return whether that was done in time. What is left stays kept."""

    def abandon(self) -> None:
        """In a forked child: leave everything to the parent."""


class InheritKeys(SpanProcessor):
    """Writes the keys of the step above on every span that starts below it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add the inherited keys that the span does not carry itself."""
        ring = ring_in(parent_context)
        if not ring.keys:
            return
        with self._guard.around("copying keys to a span"):
            present = attributes_of(span)
            inherited = ring.span_attributes()
            if inherited.keys() <= present.keys() or attributes.STEP in present:
                return  # a hook's span has them from the start; a step has taken them over by itself
            own = {type_ for type_ in ring.keys if attributes.KEY + type_ in present}
            span.set_attributes(ring.without(own).span_attributes() if own else inherited)


class Delivery(SpanProcessor):
    """Queues ended spans and exports them in batches from its own thread.

    With ``when_full="block"`` the end of a span waits for room (batch programs); otherwise the new span is dropped and
    counted. The thread starts with the first span, and again in a forked child, which leaves its parent's spans alone.
    """

    def __init__(
        self,
        make_exporter: Callable[[], SpanExporter],
        guard: Guard,
        *,
        queue_size: int,
        batch_size: int,
        interval_s: float,
        when_full: WhenFull,
        clean: Clean,
        fits: Callable[[Sequence[ReadableSpan]], bool] = lambda _: True,
    ) -> None:
        self._fits = fits
        self._clean = clean
        self._make_exporter = make_exporter
        self._guard = guard
        self._queue_size = queue_size
        self._others_size = max(1, queue_size - queue_size // STEPS_ONLY)
        self._batch_size = batch_size
        self._interval_s = interval_s
        self._when_full = when_full
        self._exporter = make_exporter()  # a bad certificate or endpoint shows at configure
        self._closed = False
        self._successor: Delivery | None = None
        self._reset()
        if hasattr(os, "register_at_fork"):
            reset = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (method := reset()) and method())

    def _reset(self) -> None:
        self._queue: deque[ReadableSpan] = deque()
        self._lock = threading.RLock()
        self._state = threading.Condition(self._lock)
        self._accepted = self._finished = 0
        self._exported = self._lost = self._reported_lost = 0
        self._hurry = False
        self._unsaid: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        self._guard.after_fork()
        self._reset()
        if isinstance(self._exporter, Keeping):
            self._exporter.abandon()
        self._exporter = self._make_exporter()  # two processes must not write to one connection

    # -- the caller's side

    def on_end(self, span: ReadableSpan) -> None:
        """Queue an ended span."""
        if self._successor is not None:
            self._successor.on_end(span)
            return
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._guard.around("queueing a span"):
            if cut := span.dropped_events + span.dropped_attributes + span.dropped_links:
                self._guard.count(CUT, cut)
                self._guard.warn(CUT, "a span lost lines, links or attributes to the limits; use a record per document")
            given = attributes_of(span)
            business = attributes.STEP in given or attributes.RUN_ID in given
            if self._queued(self._clean(span, given), self._queue_size if business else self._others_size):
                return
            if business:
                self._drop(1, "the export queue is full or closed; steps are lost")
            else:
                self._drop(1, "the export queue is nearly full or closed; spans that are no steps are lost", SHED)

    def _queued(self, span: ReadableSpan, size: int) -> bool:
        with self._lock:
            if self._closed or not (len(self._queue) < size or self._wait_for_room(size)):
                return False
            self._queue.append(span)
            self._accepted += 1
            if self._thread is None:
                self._start()
            if len(self._queue) in (1, self._batch_size):
                self._state.notify_all()
            return True

    def _wait_for_room(self, size: int) -> bool:
        if self._when_full != "block" or threading.current_thread() is self._thread:
            return False
        self._state.notify_all()
        return self._state.wait_for(lambda: len(self._queue) < size or self._closed, BLOCK_LIMIT_S) and (
            not self._closed
        )

    def hand_over(self, successor: "Delivery") -> None:
        """Pass later spans on: libraries keep the provider that they found first."""
        if successor is not self:
            self._successor = successor

    def flush(self, timeout_s: float, *, to_disk: bool = False) -> bool:
        """Send what is queued; return whether all of it, and all since the last flush, was acknowledged in time.

        With *to_disk*, and an exporter that keeps what it is given, it is enough that it is kept.
        """
        deadline = time.monotonic() + timeout_s
        complete = self._emptied(timeout_s)
        self._say()
        if to_disk or not isinstance(self._exporter, Keeping):
            return complete
        return self._exporter.force_flush(int(max(0.0, deadline - time.monotonic()) * 1000)) and complete

    def _emptied(self, timeout_s: float) -> bool:
        with self._state:
            target = self._accepted
            self._hurry = True
            self._state.notify_all()
            in_time = self._state.wait_for(lambda: self._finished >= target, max(timeout_s, 0.0))
            lossless = self._lost == self._reported_lost
            self._reported_lost = self._lost
        return in_time and lossless

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As ``flush``, for the OpenTelemetry provider."""
        return self.flush(timeout_millis / 1000)

    def close(self, timeout_s: float) -> bool:
        """Refuse new spans, send the rest until *timeout_s*, and stop; can be called twice."""
        deadline = time.monotonic() + timeout_s
        complete = self.flush(timeout_s, to_disk=True)
        with self._state:
            already, self._closed = self._closed, True
            self._state.notify_all()
        if already:
            return complete
        if isinstance(self._exporter, Keeping):
            self._exporter.close(max(0.0, deadline - time.monotonic()))  # what is not sent stays on the disk
        else:
            self._exporter.shutdown()
        if self._thread is not None:
            self._thread.join(1.0)
        with self._state:
            left = len(self._queue)
            self._queue.clear()
        if left:
            self._drop(left, "the program ended before all steps were sent")
        return complete and not left

    def shutdown(self) -> None:
        """As ``close``, for the OpenTelemetry provider."""
        self.close(5.0)

    @property
    def exporter(self) -> SpanExporter:
        """The exporter of this process; another one in a forked child."""
        return self._exporter

    @property
    def exported(self) -> int:
        """Spans that the collector acknowledged."""
        return self._exported

    @property
    def queued(self) -> int:
        """Spans that wait in the queue or are on their way."""
        return self._accepted - self._finished

    # -- the sending thread's side

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # The exporter's own HTTP calls must not become spans.
        token = attach(set_value(SUPPRESS_INSTRUMENTATION, True))
        try:
            while batch := self._next_batch():
                self._deliver(batch)
                self._say()
        finally:
            detach(token)

    def _next_batch(self) -> list[ReadableSpan]:
        """Wait for a full batch, for the interval after the first span, or for a flush; empty when closed."""
        with self._state:
            while not self._queue:
                if self._closed:
                    return []
                self._hurry = False
                self._state.wait()
            self._state.wait_for(self._is_due, self._interval_s)
            batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
            self._state.notify_all()
            return batch

    def _is_due(self) -> bool:
        return self._hurry or self._closed or len(self._queue) >= self._batch_size

    def _deliver(self, batch: Sequence[ReadableSpan]) -> None:
        sent = self._export(batch)
        if not sent and len(batch) > 1 and not self._fits(batch):
            # One span that cannot be encoded, or all together too large, must not take the others with it.
            middle = len(batch) // 2
            self._deliver(batch[:middle])
            self._deliver(batch[middle:])
            return
        with self._state:
            self._finished += len(batch)
            if sent:
                self._exported += len(batch)
            else:
                self._lost += len(batch)
            self._state.notify_all()
        if not sent:
            self._guard.count(FAILED, len(batch))
            self._guard.warn(FAILED, "the collector did not take steps; check the endpoint and the token")

    def _export(self, batch: Sequence[ReadableSpan]) -> bool:
        try:
            return self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - an exporter given by the host may do anything; counted
            self._guard.warn("exporter", f"the exporter raised {type(error).__name__}")
            return False

    def _drop(self, spans: int, sentence: str, kind: str = DROPPED) -> None:
        with self._state:
            self._lost += spans
            self._unsaid[kind] = sentence  # logging may write to a disk: that is not for the caller's path
            closed = self._closed
        self._guard.count(kind, spans)
        if closed:
            self._say()  # nobody else does

    def _say(self) -> None:
        """Log what was lost since."""
        with self._state:
            unsaid, self._unsaid = self._unsaid, {}
        for kind, sentence in unsaid.items():
            self._guard.warn(kind, sentence)


class _OwnThreadsQuiet(logging.Filter):
    """Silences the stock exporter on our threads: it logs every attempt, and we log once a minute."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record comes from another exporter of the host."""
        return record.threadName != THREAD_NAME


def quieten_stock_exporter() -> None:
    """Keep the stock exporter from logging each failed attempt on our threads."""
    for name in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.exporter.otlp.common.http"):
        stock = logging.getLogger(name)
        if not any(isinstance(present, _OwnThreadsQuiet) for present in stock.filters):
            stock.addFilter(_OwnThreadsQuiet())


def fits_one_request(batch: Sequence[ReadableSpan]) -> bool:
    """Return whether OTLP can encode *batch* into a request that collectors accept."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    try:
        return bool(encode_spans(batch).ByteSize() <= MAX_REQUEST_BYTES)
    except Exception:  # noqa: BLE001 - what protobuf raises depends on its implementation; the caller counts
        return False
