"""The simulated systems as senders: each is a ``System`` of the SDK with its own name, resource and traces."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from datetime import datetime
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from controltower.cli.demo.model import BusinessStep, PlannedRun, PlannedSpan, PlannedTrace, SpanRef
from controltower.cli.errors import CommandError
from controltower.tracer import Batch, Step, System
from controltower.tracer.step import StepOptions

# Small enough to start sending at once and to stop quickly, large enough that planning and sending overlap.
QUEUE_SPANS: Final = 8_192
EXPORT_TIMEOUT_S: Final = 60.0  # a collector whose journal is full says 503 for a while
FLUSH_S: Final = 120.0

TimeOf = Callable[[datetime], datetime]

_ERRORS: Final[Mapping[str, type[Exception]]] = {"ConnectionError": ConnectionError}


def as_planned(at: datetime) -> datetime:
    """Return a planned time as it is."""
    return at


class MappingError(Exception):
    """A document that a simulated gateway cannot translate."""

    __module__ = "edi"  # what error.type shows: the simulated program's module, not ours


class PlannedIds(IdGenerator):
    """Hands out the ids of the plan: a step has the ids that the truth knows it by."""

    def __init__(self) -> None:
        self._next = SpanRef("", "")

    def use(self, ref: SpanRef) -> None:
        """Take *ref* for the next span."""
        self._next = ref

    def generate_trace_id(self) -> int:
        """Return the planned trace id."""
        return int(self._next.trace_id, 16)

    def generate_span_id(self) -> int:
        """Return the planned span id."""
        return int(self._next.span_id, 16)


class _OpenRun:
    """A batch run whose records are still being sent, with the context that it is open in."""

    def __init__(self, batch: Batch, context: Context, left: int) -> None:
        self.batch = batch
        self.context = context
        self.left = left


class Network:
    """Sends planned spans through the SDK. Not for several threads: ids are handed over one by one."""

    def __init__(self, endpoint: str, token: str, instance: str) -> None:
        self._ids = PlannedIds()
        self._runs: dict[str, _OpenRun] = {}
        self._systems: dict[str, System] = {}
        self._endpoint = endpoint
        self._token = token
        self._instance = instance

    def _system(self, name: str) -> System:
        """Return the system of that name; each begins when it has something to send."""
        if name not in self._systems:
            self._systems[name] = self._new_system(name)
        return self._systems[name]

    def _new_system(self, name: str) -> System:
        return System(
            service=name,
            endpoint=self._endpoint,
            token=self._token,
            resource={
                "service.namespace": "demo",
                "service.version": "1.0",
                "service.instance.id": self._instance,
                "deployment.environment.name": "demo",
            },
            when_full="block",
            queue_size=QUEUE_SPANS,
            timeout_s=EXPORT_TIMEOUT_S,
            id_generator=self._ids,
        )

    # sending

    def send(self, planned: PlannedTrace, span: PlannedSpan, times: TimeOf = as_planned) -> None:
        """Send one span. A batch run opens with the first span below it that is sent, and ends with the last."""
        system = self._system(planned.system)
        if planned.run is None:
            self._send_span(system, None, span, times)
            return
        run = self._runs.get(span.ref.trace_id) or self._open(system, planned, planned.run, times)
        run.context.run(self._send_span, system, run.batch, span, times)
        run.left -= 1
        if run.left == 0:
            self._ids.use(planned.run.finished)
            run.context.run(run.batch.__exit__, None, None, None)
            del self._runs[span.ref.trace_id]

    def _open(self, system: System, planned: PlannedTrace, run: PlannedRun, times: TimeOf) -> _OpenRun:
        batch = system.batch(
            run.name,
            expected=run.expected,
            expected_total=run.expected_total,
            currency=run.currency,
            run_id=run.run_id,
            start_time=times(run.start),
            end_time=times(run.end),
        )
        opened = _OpenRun(batch, copy_context(), len(planned.spans))
        self._ids.use(run.started)
        opened.context.run(batch.__enter__)
        self._runs[run.started.trace_id] = opened
        return opened

    def _send_span(self, system: System, batch: Batch | None, span: PlannedSpan, times: TimeOf) -> None:
        self._ids.use(span.ref)
        if batch is not None and span.step is not None:
            self._send_step(batch.record(span.step.code, **_options(span, span.step, times)), span, span.step)
            return
        with _below(span):
            if span.step is not None:
                self._send_step(system.step(span.step.code, **_options(span, span.step, times)), span, span.step)
            else:
                _send_technical(system, span, times)

    @staticmethod
    def _send_step(step: Step, span: PlannedSpan, planned: BusinessStep) -> None:
        error = _ERRORS.get(span.error, MappingError)
        with suppress(error), step:
            for line in planned.lines:
                step.line(
                    line=line.number,
                    item=line.item,
                    quantity=line.quantity,
                    uom=line.uom,
                    unit_price=line.unit_price,
                    amount=line.amount,
                    keys={line.order.type: line.order.value} if line.named else None,
                )
            if span.error:
                raise error

    # delivery

    @property
    def acknowledged(self) -> int:
        """Spans that the collector has acknowledged."""
        return sum(system.health().exported for system in self._systems.values())

    def finish(self, sent: int) -> None:
        """Wait until every span is acknowledged. Raises CommandError when some of *sent* were not."""
        in_time = [system.flush(FLUSH_S) for system in self._systems.values()]  # every one, also after a failure
        lossless = [system.health().lossless for system in self._systems.values()]
        if not all(in_time) or not all(lossless) or self.acknowledged != sent:
            raise CommandError(
                f"The collector acknowledged {self.acknowledged} of {sent} spans; look at its log and its /readyz, "
                "then start again in an empty store."
            )

    def close(self) -> None:
        """Stop sending; can be called twice."""
        for system in self._systems.values():
            system.shutdown()


def _options(span: PlannedSpan, step: BusinessStep, times: TimeOf) -> StepOptions:
    options = StepOptions(
        keys=step.keys,
        scopes=step.scopes,
        context=step.context,
        amount=step.amount,
        currency=step.currency,
        outcome=step.outcome,
        reason=step.reason,
        actor=step.actor,
        interface=step.interface,
        style=step.style,
        replay_of=step.replay_of,
        name=span.name,
        kind=span.kind,
        links=[Link(_remote(link)) for link in span.links],
        attributes=span.attributes,
        start_time=times(span.start),
        end_time=times(span.end),
    )
    if step.business_time is not None:
        options["business_time"] = times(step.business_time)
    return options


def _send_technical(system: System, span: PlannedSpan, times: TimeOf) -> None:
    started = system.otel_tracer.start_span(
        span.name,
        kind=SpanKind[span.kind.upper()],
        attributes={**span.attributes, **({"error.type": span.error} if span.error else {})},
        links=[Link(_remote(link)) for link in span.links],
        start_time=_ns(times(span.start)),
    )
    if span.error:
        started.set_status(Status(StatusCode.ERROR))
    started.end(_ns(times(span.end)))


@contextmanager
def _below(span: PlannedSpan) -> Iterator[None]:
    """Make what starts inside a child of the planned parent, whether or not that one was sent already."""
    if not span.parent:
        yield
        return
    parent = NonRecordingSpan(_remote(SpanRef(span.ref.trace_id, span.parent)))
    token = otel_context.attach(trace.set_span_in_context(parent))
    try:
        yield
    finally:
        otel_context.detach(token)


def _remote(ref: SpanRef) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(ref.trace_id, 16), int(ref.span_id, 16), is_remote=True, trace_flags=flags)


def _ns(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000
