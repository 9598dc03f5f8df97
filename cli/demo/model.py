"""The plan of a simulation: traces of spans, business steps with their documents, and what they truly belong to."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple

ORDER: Final = "purchase_order"
INVOICE: Final = "invoice"
RUNS: Final = "batch_and_file"

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Outcome = Literal["ok", "rejected", "exception", "duplicate", "pending"]
Style = Literal["api", "event", "queue", "file", "batch", "edi"]
Actor = Literal["human", "system"]
Attributes = Mapping[str, str | int | bool]
Values = str | tuple[str, ...]


class Anchor(NamedTuple):
    """The key that a transaction stands on."""

    type: str
    scope: str
    value: str


class SpanRef(NamedTuple):
    """A planned span."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """One line of a document. ``order`` is what it is about; ``named`` says that the document tells so itself."""

    number: str
    item: str
    quantity: Decimal
    uom: str
    unit_price: Decimal
    amount: Decimal | None
    order: Anchor
    named: bool = False

    @property
    def value(self) -> Decimal:
        """The exact extended amount."""
        return self.quantity * self.unit_price


@dataclass(frozen=True, slots=True)
class BusinessStep:
    """What a system says of a business step, and, below the line, what the simulator knows of it."""

    code: str
    keys: Mapping[str, Values]
    scopes: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    amount: Decimal | None = None
    currency: str | None = None
    outcome: Outcome = "ok"
    reason: str | None = None
    business_time: datetime | None = None
    actor: Actor = "system"
    style: Style = "api"
    interface: str | None = None
    replay_of: str | None = None
    lines: tuple[PlannedLine, ...] = ()
    # -- the truth
    anchors: tuple[Anchor, ...] = ()  # the transactions it belongs to
    otherwise: tuple[Anchor, ...] = ()  # those it belongs to as long as nobody names one of the others
    about: Mapping[str, str] = field(default_factory=dict)  # key type -> the one document of this type that it is about
    document: str = ""  # identity of the document: sent again, it is still one


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """One span. ``parent`` is empty for the root of its trace."""

    ref: SpanRef
    parent: str
    name: str
    kind: Kind
    start: datetime
    end: datetime
    attributes: Attributes
    error: str  # error.type; empty when all went well
    links: tuple[SpanRef, ...]
    step: BusinessStep | None

    @property
    def at(self) -> datetime:
        """When it happened in business terms."""
        stated = self.step.business_time if self.step else None
        return stated or self.start


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A batch run: the SDK's two spans about it. Its records are the spans below ``started``."""

    name: str
    run_id: str
    started: SpanRef
    finished: SpanRef
    start: datetime
    end: datetime
    expected: int
    expected_total: Decimal
    currency: str


def _of_run(run: PlannedRun | None) -> Iterator[PlannedSpan]:
    """Yield the two spans of a run: both begin with it, and the second tells when it ended."""
    if run is None:
        return
    named = BusinessStep(
        "batch.run.started", {"run": run.run_id}, style="batch", anchors=(Anchor("run", "", run.run_id),)
    )
    ended = replace(named, code="batch.run.completed", business_time=run.end)
    for ref, parent, end, step in (
        (run.started, "", run.start, named),
        (run.finished, run.started.span_id, run.end, ended),
    ):
        yield PlannedSpan(ref, parent, run.name, "internal", run.start, end, {}, "", (), step)


@dataclass(frozen=True, slots=True)
class PlannedTrace:
    """What one system does in one go. ``send_at`` is when its spans leave for the collector."""

    system: str
    spans: tuple[PlannedSpan, ...]
    send_at: datetime
    run: PlannedRun | None = None

    @property
    def size(self) -> int:
        """Number of spans on the wire."""
        return len(self.spans) + (2 if self.run else 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that happens, in the order of sending."""

    seed: int
    end: datetime
    traces: tuple[PlannedTrace, ...]
    faults: Counter[str]
    flows: tuple[str, ...]  # what it tells of, and the truth of

    def steps(self) -> list[tuple[PlannedTrace, PlannedSpan, BusinessStep]]:
        """Return every business step with its span and trace."""
        return [(trace, span, span.step) for trace in self.traces for span in trace.spans if span.step]

    def all_steps(self) -> list[tuple[PlannedTrace, PlannedSpan, BusinessStep]]:
        """Return every business step, and what the SDK says of the runs themselves when the plan tells of runs."""
        if RUNS not in self.flows:
            return self.steps()
        runs = [(trace, span, step) for trace in self.traces for span in _of_run(trace.run) if (step := span.step)]
        return [*self.steps(), *runs]

    @property
    def span_count(self) -> int:
        """Number of spans on the wire."""
        return sum(trace.size for trace in self.traces)

    @property
    def anchors(self) -> frozenset[Anchor]:
        """The transactions that some step names."""
        return frozenset(anchor for _, _, step in self.steps() for anchor in step.anchors)
