"""Where the simulation writes down what happens: traces are drafted here and kept when they end before the horizon."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from controltower.cli.demo.model import (
    Anchor,
    Attributes,
    BusinessStep,
    Kind,
    Plan,
    PlannedRun,
    PlannedSpan,
    PlannedTrace,
    SpanRef,
)

PAUSE = timedelta(milliseconds=5)  # between the end of a span and the end of the one around it


class Tape:
    """The drafts so far. ``horizon`` is where the simulation is cut off: what ends later has not happened yet."""

    def __init__(self, ids: Random, horizon: datetime) -> None:
        self.horizon = horizon
        self.faults: Counter[str] = Counter()
        self._ids = ids
        self._traces: list[PlannedTrace] = []

    def trace(self, system: str) -> "Draft":
        """Return a draft of a new trace."""
        return Draft(self, system, self.new_id(128))

    def new_id(self, bits: int) -> str:
        """Return a random id as hexadecimal text; never zero, which OpenTelemetry calls invalid."""
        return f"{self._ids.getrandbits(bits) or 1:0{bits // 4}x}"

    def keep(self, trace: PlannedTrace) -> None:
        """Keep a trace that has ended before the horizon."""
        if max(span.end for span in trace.spans) <= self.horizon:
            self._traces.append(trace)

    def fault(self, name: str, at: datetime, count: int = 1) -> None:
        """Count a fault that shows at *at*."""
        if at <= self.horizon:
            self.faults[name] += count

    def plan(self, seed: int, flows: tuple[str, ...]) -> Plan:
        """Return everything kept, in the order of sending. A step belongs only to transactions that are known of."""
        known = frozenset(
            anchor
            for trace in self._traces
            for span in trace.spans
            if span.step
            for anchor in span.step.anchors
            if _names(span.step, anchor)
        )
        traces = sorted((_with_known(trace, known) for trace in self._traces), key=_sending_order)
        return Plan(seed, self.horizon, tuple(traces), Counter(dict(sorted(self.faults.items()))), flows)


def _names(step: BusinessStep, anchor: Anchor) -> bool:
    given = step.keys.get(anchor.type, ())
    return anchor.value.upper() in (value.upper() for value in ((given,) if isinstance(given, str) else given))


def _sending_order(trace: PlannedTrace) -> tuple[datetime, str]:
    return trace.send_at, trace.spans[0].ref.trace_id if trace.spans else ""


def _with_known(trace: PlannedTrace, known: frozenset[Anchor]) -> PlannedTrace:
    if all(anchor in known for span in trace.spans if span.step for anchor in span.step.anchors):
        return trace
    spans = tuple(_span_with_known(span, known) for span in trace.spans)
    return PlannedTrace(trace.system, spans, trace.send_at, trace.run)


def _span_with_known(span: PlannedSpan, known: frozenset[Anchor]) -> PlannedSpan:
    if span.step is None:
        return span
    anchors = tuple(anchor for anchor in span.step.anchors if anchor in known)
    return replace(span, step=replace(span.step, anchors=anchors or span.step.otherwise))


class Draft:
    """A trace in the making: spans are added in the order they start, parents before children."""

    def __init__(self, tape: Tape, system: str, trace_id: str) -> None:
        self._tape = tape
        self.system = system
        self.trace_id = trace_id
        self._spans: list[PlannedSpan] = []
        self._run: PlannedRun | None = None

    def add(
        self,
        name: str,
        start: datetime,
        lasts_ms: float = 10,
        *,
        parent: SpanRef | None = None,
        kind: Kind = "internal",
        attributes: Attributes | None = None,
        error: str = "",
        links: Sequence[SpanRef] = (),
        step: BusinessStep | None = None,
    ) -> SpanRef:
        """Add a span and return its ids, to hang others below it or to link to it."""
        ref = SpanRef(self.trace_id, self._tape.new_id(64))
        end = start + timedelta(milliseconds=max(1, round(lasts_ms)))
        self._spans.append(
            PlannedSpan(
                ref=ref,
                parent=parent.span_id if parent else "",
                name=name,
                kind=kind,
                start=start,
                end=end,
                attributes=attributes or {},
                error=error,
                links=tuple(links),
                step=step,
            )
        )
        return ref

    def run(self, name: str, run_id: str, start: datetime, currency: str) -> SpanRef:
        """Make the trace a batch run; its records go below the span returned."""
        started = SpanRef(self.trace_id, self._tape.new_id(64))
        finished = SpanRef(self.trace_id, self._tape.new_id(64))
        self._run = PlannedRun(name, run_id, started, finished, start, start, 0, Decimal(0), currency)
        return started

    def done(self, *, delay: timedelta = timedelta(0)) -> datetime:
        """Hand the trace in and return when it ended; its spans are sent *delay* after that."""
        end = max(span.end for span in self._spans)
        run = self._run
        if run is not None:
            end += PAUSE
            total = sum((span.step.amount for span in self._records() if span.step and span.step.amount), Decimal(0))
            run = PlannedRun(
                run.name, run.run_id, run.started, run.finished, run.start, end,
                len(self._records()), total, run.currency,
            )  # fmt: skip
        self._tape.keep(PlannedTrace(self.system, self._enclosed(), end + delay, run))
        return end

    def _records(self) -> list[PlannedSpan]:
        return [span for span in self._spans if span.step and self._run and span.parent == self._run.started.span_id]

    def _enclosed(self) -> tuple[PlannedSpan, ...]:
        """Return the spans, each lasting until those below it have ended."""
        ends: dict[str, datetime] = {}
        enclosed: list[PlannedSpan] = []
        for span in reversed(self._spans):
            below = ends.get(span.ref.span_id)
            end = max(span.end, below + PAUSE) if below else span.end
            if span.parent:
                ends[span.parent] = max(ends.get(span.parent, end), end)
            enclosed.append(replace(span, end=end) if end != span.end else span)
        return tuple(reversed(enclosed))
