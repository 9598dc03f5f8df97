"""What the read API answers with: frozen values, times aware and UTC, money as ``Decimal`` with its currency."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Literal, NamedTuple

from controltower.store.rows import (
    Change,
    Deadline,
    DocumentLine,
    ExceptionRow,
    Key,
    ParkedStep,
    Reconciliation,
    Step,
    Transaction,
    TransactionState,
    TransactionStep,
)

Sort = Literal["last_step_at", "started_at", "at_stake", "amount", "next_due_at", "anchor"]


class Money(NamedTuple):
    """An amount in one currency; amounts of different currencies are never added."""

    amount: Decimal
    currency: str


class AnchorRef(NamedTuple):
    """Names one transaction."""

    flow: str
    anchor: Key


@dataclass(frozen=True, slots=True)
class Member:
    """A step of a transaction, and why it belongs."""

    step: Step
    membership: TransactionStep


@dataclass(frozen=True, slots=True)
class TransactionView:
    """Everything known of one transaction. Members are in order of time, then of trace and span id."""

    transaction: Transaction
    members: tuple[Member, ...]
    lines: tuple[DocumentLine, ...]
    deadlines: tuple[Deadline, ...]
    reconciliations: tuple[Reconciliation, ...]
    exceptions: tuple[ExceptionRow, ...]
    history: tuple[Change, ...]
    truncated: bool = False  # one of the lists reached its limit: more is stored than shown
    heard: Mapping[str, datetime] = field(
        default_factory=dict
    )  # source of an unknown deadline -> when it was last heard of


@dataclass(frozen=True, slots=True)
class KeySpan:
    """A span that carries a business key, whether or not it is a step of a flow."""

    type: str
    scope: str
    value: str
    trace_id: str
    span_id: str
    system: str
    span_name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it was received."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: str
    system: str
    at: datetime
    duration_ns: int
    status: str
    status_message: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A log record as it was received; a long body is cut. ``by_key``: it carries a key of the transaction itself."""

    at: datetime
    system: str
    severity: str
    severity_number: int
    event: str
    body: str
    trace_id: str
    span_id: str
    attributes: Mapping[str, str]
    by_key: bool


class Logs(NamedTuple):
    """Log records in order of time; ``truncated`` when more is stored than shown."""

    records: tuple[LogRecord, ...]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class SearchFilters:
    """What to look for; an empty field does not filter. The time range is over the transaction's last step."""

    text: str = ""  # a business key of any type
    type: str = ""  # the type of that key, when known
    flow: str = ""
    states: tuple[TransactionState, ...] = ()
    stage: str = ""
    context: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # for example vendor
    since: datetime | None = None
    until: datetime | None = None
    min_amount: Decimal | None = None
    late_only: bool = False
    open_only: bool = False  # with an open exception
    rule: str = ""  # with an open exception of this rule
    reason: str = ""  # and for this reason
    cause: str = ""  # with an alert that this cause tells of
    sort: Sort = "last_step_at"
    descending: bool = True
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of transactions, and how many there are in all."""

    rows: tuple[Transaction, ...]
    total: int


@dataclass(frozen=True, slots=True)
class StateCount:
    """Transactions of one state; the money in them is per currency."""

    state: TransactionState
    transactions: int
    amounts: tuple[Money, ...]
    at_stake: tuple[Money, ...]


@dataclass(frozen=True, slots=True)
class StageCount:
    """Transactions in flight whose furthest stage is this one."""

    flow: str
    stage: str
    transactions: int
    late: int
    at_stake: tuple[Money, ...]


@dataclass(frozen=True, slots=True)
class RuleCount:
    """Deadlines of one rule that are open now."""

    flow: str
    rule: str
    severity: str
    breached: int
    unknown: int  # over, while the source that would tell is silent or numbers of it are missing
    at_risk: int  # of the running, those that will be late as the past goes
    running: int
    due_soon: int  # of the running, those due within a day
    oldest_due_at: datetime | None  # of the breached
    next_due_at: datetime | None  # of the running
    at_stake: tuple[Money, ...]  # of the breached


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Open exceptions of one reason; ``amounts`` is the money they are about."""

    kind: str
    rule: str
    reason: str
    exceptions: int
    transactions: int
    oldest_at: datetime
    amounts: tuple[Money, ...]


@dataclass(frozen=True, slots=True)
class DayCount:
    """Transactions that began and ended on one day (UTC), and deadlines that were broken on it."""

    day: date
    started: int
    completed: int
    breached: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Where everything stands.

    In flight, late, at stake, stages, breaches and exceptions are as of now, whatever the time range: what is stuck the
    longest must not drop out of view. The time range bounds ``days`` and the completed transactions of ``states``.
    """

    states: tuple[StateCount, ...]
    in_flight: int
    late: int
    due_soon: int  # deadlines that run out within a day
    at_stake: tuple[Money, ...]
    stages: tuple[StageCount, ...]
    breaches: tuple[RuleCount, ...]
    exceptions: tuple[ReasonCount, ...]
    days: tuple[DayCount, ...]


@dataclass(frozen=True, slots=True)
class Freshness:
    """When a system was last heard of; the one called ``OVERFLOW`` is all those there is no room for."""

    system: str
    last_span_at: datetime
    last_loaded_at: datetime
    spans: int
    systems: int = 1


@dataclass(frozen=True, slots=True)
class Parked:
    """A step that belongs to no transaction yet, and why."""

    step: Step
    parked: ParkedStep


@dataclass(frozen=True, slots=True)
class Facets:
    """The values to filter by."""

    flows: tuple[str, ...]
    vendors: tuple[str, ...]
    stages: tuple[tuple[str, str], ...]  # (flow, stage)
