"""Rows of the derived tables: frozen values, and the only list of their columns.

Money and quantities are ``Decimal``, times are aware and UTC. ``version`` orders two writes of the same row (the engine
passes nanoseconds of its cycle); ``is_deleted`` takes a row away.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple

from controltower.store.missing import Missing, missing_of

UNKNOWN_SINCE: Final = datetime(1970, 1, 1, tzinfo=UTC)
SEVERITIES: Final = ("notice", "warning", "page")
"""Of deadlines, exceptions and alerts, the least first."""


class Key(NamedTuple):
    """A business key: type, scope (its issuer, may be empty) and normalised value."""

    type: str
    scope: str
    value: str


class Via(NamedTuple):
    """One hop of the explanation why a step belongs: this key, seen on that span, by that evidence.

    ``key``: the span says the key, with the one before. ``alias``: it says both as numbers of one document. ``trace``: the
    span is of the step's trace. ``link``: it is behind a span link of the step or its trace. ``confirm``: a person says so;
    then there is no trace, and the correction's id stands for the span.
    """

    type: str
    scope: str
    value: str
    evidence: str
    trace_id: str
    span_id: str


class TransactionState(StrEnum):
    """Where a transaction stands; the first that applies, in the order breached, exception, completed, stalled."""

    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    EXCEPTION = "exception"
    BREACHED = "breached"
    STALLED = "stalled"


class DeadlineState(StrEnum):
    """What became of a deadline."""

    RUNNING = "running"
    AT_RISK = "at risk"  # it runs, and half of what was still open at this point in the past was late
    MET = "met"
    MET_LATE = "met late"
    BREACHED = "breached"
    UNKNOWN = "unknown"  # it is over, and who would tell was not heard of since, or not all that it told
    WAIVED = "waived"


class MatchStatus(StrEnum):
    """Result of a reconciliation."""

    MATCHED = "matched"
    WITHIN_TOLERANCE = "matched_within_tolerance"
    PARTIAL = "partial"
    PENDING = "pending_timing"
    EXCEPTION = "exception"


@dataclass(frozen=True, slots=True)
class Step:
    """A span that is a business step of a flow. ``at`` is the business time when supplied, else the span's start."""

    TABLE: ClassVar = "steps"

    flow: str
    stage: str  # empty when the flow declares no stage for this step code
    step: str
    trace_id: str
    span_id: str
    at: datetime
    observed_at: datetime
    duration_ns: int
    system: str
    span_name: str
    failed: bool  # the span's status is an error: an attempt, it does not reach its stage
    outcome: str
    reason: str
    actor: str
    style: str
    interface: str
    amount: Decimal | None
    currency: str
    quantity: Decimal | None
    uom: str
    keys: tuple[Key, ...]
    ignored_keys: tuple[Key, ...]  # placeholder values
    context: dict[str, str]
    replay_of: str
    run_id: str
    loaded_at: datetime
    version: int = 0


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """One line of the document that a step carries."""

    TABLE: ClassVar = "document_lines"

    flow: str
    trace_id: str
    span_id: str
    position: int
    line: str
    item: str
    quantity: Decimal | None
    uom: str
    unit_price: Decimal | None
    amount: Decimal | None
    currency: str
    keys: tuple[Key, ...]
    version: int = 0


@dataclass(frozen=True, slots=True)
class KeyLink:
    """Two keys seen on one step, child below parent in the flow's key tree."""

    TABLE: ClassVar = "key_links"

    flow: str
    child: Key
    parent: Key
    trace_id: str
    span_id: str
    at: datetime
    version: int = 0


@dataclass(frozen=True, slots=True)
class SpanLink:
    """A link from a span to one of another trace: from the receipt of a message to its sending."""

    TABLE: ClassVar = "span_links"

    trace_id: str
    span_id: str
    linked_trace_id: str
    linked_span_id: str


class CorrectionAction(StrEnum):
    """What a person decided about a link, or about a deadline."""

    CUT = "cut"
    CONFIRM = "confirm"
    WAIVE = "waive"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person decided about two keys, about a step and a key, or about a deadline, and why.

    A deadline is a transaction's anchor as the key, and as the other one, without a type, its subject and rule.
    """

    TABLE: ClassVar = "corrections"

    id: str
    flow: str
    action: CorrectionAction
    key: Key  # empty when it is about a step
    trace_id: str  # empty when it is about two keys
    span_id: str
    other: Key
    undoes: str  # the correction that no longer holds; empty unless this is an undo
    user: str
    reason: str
    at: datetime

    @property
    def subject(self) -> tuple[Key, str, str, Key]:
        """What it is about: of two corrections about the same, the later one holds."""
        return self.key, self.trace_id, self.span_id, self.other

    @property
    def of_deadline(self) -> bool:
        """Whether it is about a deadline."""
        return not self.other.type

    @property
    def of_step(self) -> bool:
        """Whether it is about a step and a key."""
        return bool(self.span_id)


@dataclass(frozen=True, slots=True)
class TransactionStep:
    """A step's membership in a transaction, with its explanation."""

    TABLE: ClassVar = "transaction_steps"

    flow: str
    anchor: Key
    trace_id: str
    span_id: str
    stage: str
    evidence: str  # the first hop of via, on which the others rest: key | trace | link | confirm
    via: tuple[Via, ...]
    through: tuple[Key, ...] = ()  # keys above its own that lead from the step to this anchor
    anchors: int = 1  # number of transactions that share the step
    known_at: datetime = UNKNOWN_SINCE  # since when it is known as it is
    is_deleted: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class PastMembership:
    """A membership as it was known for a time, before it was replaced or taken away."""

    TABLE: ClassVar = "past_memberships"

    flow: str
    anchor: Key
    trace_id: str
    span_id: str
    stage: str
    evidence: str
    via: tuple[Via, ...]
    through: tuple[Key, ...]
    anchors: int
    known_at: datetime
    known_until: datetime
    version: int = 0


@dataclass(frozen=True, slots=True)
class ParkedStep:
    """A step without a way to an anchor (``parked``), or with more ways than may be true (``ambiguous``)."""

    TABLE: ClassVar = "parked_steps"

    flow: str
    trace_id: str
    span_id: str
    state: str
    reason: str
    candidates: tuple[Key, ...]
    is_deleted: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class Transaction:
    """An anchored view over steps."""

    TABLE: ClassVar = "transactions"

    flow: str
    anchor: Key
    flow_version: int
    state: TransactionState
    started_at: datetime
    last_step_at: datetime
    stage: str  # the furthest stage reached, in the flow's order
    stages: tuple[str, ...]  # stages reached, in the flow's order
    systems: tuple[str, ...]
    steps: int
    keys: tuple[Key, ...]
    context: dict[str, str]
    amount: Decimal | None  # the flow's primary amount
    currency: str
    amounts: dict[str, Decimal]  # stage -> sum of the amounts allocated to this transaction
    at_stake: Decimal
    open_deadlines: int
    breached_deadlines: int
    next_due_at: datetime | None
    open_exceptions: int
    evaluate_at: datetime | None  # when time alone may change the verdict
    attributed_steps: int = 0  # steps that say who did them
    human_steps: int = 0  # of these, the ones a person did
    is_deleted: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline that a stage created, and what became of it."""

    TABLE: ClassVar = "deadlines"

    flow: str
    anchor: Key
    rule: str
    subject: str  # value of the rule's `per` key, empty when the rule runs once per transaction
    from_stage: str
    to_stage: str
    from_at: datetime
    due_at: datetime
    met_at: datetime | None
    state: DeadlineState
    severity: str
    system: str  # where the last step before the deadline was seen
    at_stake: Decimal
    currency: str
    source: str = ""  # of an unknown one: the system that is silent, or the name of what is missing of it
    counterparty: str = ""  # whom it is about, where the flow says who that is
    waived_by: str = ""  # the person; empty when the transaction was cancelled
    waived_why: str = ""
    is_deleted: bool = False
    version: int = 0

    @property
    def missing(self) -> Missing | None:
        """Of an unknown one: the numbers that are missing of its source, which is silent when none are."""
        return missing_of(self.source)

    @property
    def told_by(self) -> str:
        """Of an unknown one: the system that would tell."""
        return self.missing.source if self.missing else self.source


@dataclass(frozen=True, slots=True)
class AwaitedDeadline:
    """A deadline that is unknown until its source is heard of again, or nothing is missing of it any more."""

    TABLE: ClassVar = "awaited_deadlines"

    flow: str
    source: str
    due_at: datetime
    anchor: Key
    rule: str
    subject: str
    is_deleted: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The result of matching one line (or document) across its sides."""

    TABLE: ClassVar = "reconciliations"

    flow: str
    anchor: Key
    rule: str
    line: str
    item: str
    status: MatchStatus
    reason: str
    quantities: dict[str, Decimal]  # side -> quantity
    prices: dict[str, Decimal]  # side -> unit price
    amounts: dict[str, Decimal]  # side -> extended amount
    difference: Decimal  # money that does not add up, signed: invoiced minus expected
    currency: str
    window_ends_at: datetime | None
    rule_version: int
    is_deleted: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    """Something that needs a person: a breached deadline, a match exception, a rejected or dead-lettered document."""

    TABLE: ClassVar = "exceptions"

    flow: str
    anchor: Key
    kind: str  # deadline | match | rejected | failed; silent, source, gap, schedule, of no transaction
    rule: str
    subject: str
    reason: str
    severity: str
    opened_at: datetime
    resolved_at: datetime | None
    amount: Decimal
    currency: str
    detail: str  # one sentence for people; no patient-linked value
    system: str = ""  # where it happened; of a deadline, where the last step before it was seen
    counterparty: str = ""  # whom it is about, where the flow says who that is
    batch: str = ""  # what its document travelled in together with others, where the flow says what that is
    is_deleted: bool = False
    version: int = 0


class Publication(StrEnum):
    """How far a flow that is being published came."""

    READY = "ready"  # history is evaluated in the shadow; the engine takes it over
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """A step in the publication of a flow."""

    TABLE: ClassVar = "flow_versions"

    flow: str
    version: int
    state: Publication
    text: str  # the YAML, as it was published
    shadow: str  # the database in which history was evaluated under it
    snapshot: int  # the newest version of the engine's rows when that began
    user: str
    at: datetime


GONE: Final = "gone"  # the state of what is no transaction any more


@dataclass(frozen=True, slots=True)
class Change:
    """What became known of a transaction, and when."""

    TABLE: ClassVar = "transaction_history"

    flow: str
    anchor: Key
    known_at: datetime
    state: str
    previous_state: str
    stage: str
    steps: int
    at_stake: Decimal
    verdicts: dict[str, str] = field(
        default_factory=dict
    )  # deadline, match or exception -> verdict, those that changed
    version: int = 0
    flow_version: int = 0  # of the rules that say so; 0 from before it was noted
