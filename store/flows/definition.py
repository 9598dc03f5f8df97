"""Flow definitions: what the YAML of a flow may say."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from controltower.store.flows.calendar import BusinessCalendar, Close, Limit, due_at, due_by, parse_limit
from controltower.store.flows.example import Example
from controltower.store.flows.schedule import Every, Schedule

# Values that stand for "no number": they must never join two documents (domain: placeholder keys).
PLACEHOLDERS = frozenset(
    {
        "",
        "-",
        "?",
        "N/A",
        "NA",
        "NIL",
        "NONE",
        "NULL",
        "PENDING",
        "TBA",
        "TBD",
        "TEST",
        "UNKNOWN",
        "UNK",
        "X",
        "XX",
        "XXX",
    }
)
_LONGEST_PLACEHOLDER = max(map(len, PLACEHOLDERS))
_ALL_ZEROS_OR_PUNCTUATION = re.compile(r"[0\W_]*")
# One key may lead up to this many parents unless its definition says otherwise (domain: degree guard).
DEFAULT_FANOUT = 2000

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _limit(value: object) -> object:
    return parse_limit(value) if isinstance(value, str) else value


def _exact(value: object) -> object:
    if isinstance(value, float):
        message = "write a decimal in quotes: a bare one is read as a float, and money is never a float"
        raise ValueError(message)  # noqa: TRY004  # pydantic reports a ValueError with its place, a TypeError it does not
    return value


def _cut_off(value: object) -> object:
    if isinstance(value, int):
        message = 'write a time of the day in quotes, as "17:00": without them it is a number'
        raise ValueError(message)  # noqa: TRY004  # as above
    if value == "close" or not isinstance(value, str):
        return value
    if re.fullmatch(r"\d\d:\d\d", value) is None:
        raise ValueError(f'{value!r} is no cut-off; write a time of the day such as "17:00", or close')
    return time.fromisoformat(value)


def _every(value: object) -> object:
    if isinstance(value, list) and value:
        return tuple(sorted({_time_of_day(each) for each in value}))
    if value == "close" or isinstance(value, int) or (isinstance(value, str) and ":" in value):
        return value if value == "close" else (_time_of_day(value),)
    if isinstance(value, str):
        return parse_limit(value)
    raise ValueError(
        'write one or several times of the day such as ["06:00", "18:00"], an interval such as 15 minutes, or close'
    )


def _time_of_day(value: object) -> time:
    at = _cut_off(value)
    if not isinstance(at, time):
        raise ValueError(f"{value!r} is no time of the day")  # noqa: TRY004  # as above
    return at


NO_LIMIT: Final = Limit(0, "minute")
CutOff = Annotated[time | Literal["close"], BeforeValidator(_cut_off)]
TimeOfDay = Annotated[time, BeforeValidator(_cut_off)]
LimitField = Annotated[Limit, BeforeValidator(_limit)]
EveryField = Annotated[Every, BeforeValidator(_every)]
Exact = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=80)]
KeyType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Model(BaseModel):
    """Strict and frozen: an unknown field is a mistake, not a comment."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, ignored_types=(cached_property,)
    )


class KeySpec(Model):
    """How keys of one type join: below which parent, unique within which scope, shared or not, and for how long."""

    parent: KeyType | None = None
    shared: bool = False  # a bridge: belongs to many, joins none
    scope: Annotated[str, Field(pattern=r"^context\.[a-z][a-z0-9_]*$")] | None = None
    normalise: Literal["trim", "upper"] = "trim"
    fanout: Annotated[int, Field(ge=1, le=100_000)] = DEFAULT_FANOUT
    fence: LimitField | None = None  # the number is used again after this time


class SpanMatch(Model):
    """Recognise a span that nobody labelled."""

    service: Name
    span: Name


class Stage(Model):
    """A milestone of the flow, reached by a step."""

    name: Name
    title: str = ""
    step: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")]
    match: SpanMatch | None = None
    outcomes: tuple[Literal["ok", "rejected", "exception", "duplicate", "pending"], ...] = (
        "ok",
        "rejected",
        "exception",
        "pending",
    )
    final: bool = False
    cancels: bool = False
    told_by: tuple[Name, ...] = ()  # the sources that would tell: while one is silent, what is late is not known to be
    joined_by: tuple[KeyType, ...] = ()  # the only keys that say where its steps belong; all of them by default
    single: bool = False  # its steps are of one transaction each: a number that several have does not say of which


class Stated(Model):
    """A limit that the step states itself: seconds in one of its contexts, so many times."""

    context: KeyType
    times: Annotated[int, Field(ge=1, le=100)] = 1
    only: bool = False  # a step that states none has no such deadline


class Each(Model):
    """Whose steps a schedule waits for: each of these values of a context, or of a key."""

    context: KeyType | None = None
    key: KeyType | None = None
    values: Annotated[tuple[Name, ...], Field(min_length=1, max_length=200)]  # they travel in the address of a request


class SlaRule(Model):
    """A deadline: once ``from`` is reached, ``to`` is due ``within`` the limit, once per transaction or per key.

    With ``at`` it is due at the first cut-off, or close, once the limit is over, which may be none. With ``every`` in place of
    ``from`` it is one of no transaction: ``to`` is due ``within`` the limit at each time of a schedule.
    """

    name: Name
    from_: Annotated[str, Field(alias="from")] = ""  # of a schedule none
    every: EveryField | None = None
    early: LimitField | None = None  # how long before its time a step already answers a slot
    each: Each | None = None  # a slot for each of these
    to: str
    within: LimitField = NO_LIMIT
    at: CutOff | None = None
    stated: Stated | None = None  # instead of ``within``, of a step that states it
    renewed_by: str | None = None  # a stage: each step that reaches it begins the time anew, as a heartbeat does
    calendar: str | None = None
    severity: Literal["page", "warning", "notice"] = "warning"
    per: KeyType | None = None

    @property
    def limit(self) -> str:
        """When it is due, in words: ``within 4 hours``, ``by 17:00``, ``within 1 business day, by the close``."""
        within = f"within {self.within}" if self.at is None or self.within.count else ""
        at = "" if self.at is None else "by the close" if self.at == "close" else f"by {self.at:%H:%M}"
        return ", ".join(filter(None, (within, at)))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose steps a schedule waits for, each by itself; one empty name when for anybody's."""
        return ("",) if self.each is None else self.each.values


class CloseSpec(Model):
    """The open day of the month on which its books close, from its end (-1 is the last), or of the next month (3 is the third)."""

    open_day: Annotated[int, Field(ge=-20, le=20)]
    at: TimeOfDay


class Source(Model):
    """A system that speaks often, and how long it may be silent: each span of it counts."""

    silent_after: LimitField
    calendar: str | None = None
    severity: Literal["page", "warning", "notice"] = "warning"


class Sequence(Model):
    """A number that counts up by one: how long after a later one an earlier one may come, and which source tells it."""

    missing_after: LimitField
    source: Name | None = None  # what it tells and is late is not known to be while a number is missing
    per_counterparty: bool = False  # its scope is the counterparty: a missing number is of no other one's transaction
    lost_after: LimitField | None = None  # of a source: nobody waits for the number any more
    severity: Literal["page", "warning", "notice"] = "warning"


class CalendarSpec(Model):
    """Open days, hours and holidays of one place."""

    time_zone: str
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ("mon", "tue", "wed", "thu", "fri")
    hours: Annotated[str, Field(pattern=r"^\d\d:\d\d-\d\d:\d\d$")] = "08:00-17:00"
    holidays: tuple[date, ...] = ()
    close: CloseSpec | None = None

    def build(self) -> BusinessCalendar:
        """Return the calendar; ValueError when zone or hours make no sense."""
        opens, closes = (time.fromisoformat(part) for part in self.hours.split("-"))
        if opens >= closes:
            raise ValueError(f"hours {self.hours}: opening must come before closing")
        if self.close is not None and not self.close.open_day:
            raise ValueError("close: open_day 0 is no day; 1 is the first of the next month, -1 the last of the month")
        if not self.days:
            raise ValueError("days: at least one day must be open")
        try:
            zone = ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as exc:
            raise ValueError(f"time_zone {self.time_zone!r} is not an IANA zone such as America/New_York") from exc
        return BusinessCalendar(
            zone=zone,
            days=frozenset(_DAYS.index(day) for day in self.days),
            opens=opens,
            closes=closes,
            holidays=frozenset(self.holidays),
            close=Close(self.close.open_day, self.close.at) if self.close else None,
        )


class Side(Model):
    """One side of a reconciliation: the lines of the documents that reach a stage."""

    stage: str
    document: KeyType | None = None  # the key that tells two documents of the stage apart


class Tolerance(Model):
    """What may differ: a percentage, an absolute amount, and whether both or one of them must hold."""

    pct: Exact | None = None
    abs: Exact | None = None
    combine: Literal["all", "any"] = "all"

    def allows(self, difference: Decimal, expected: Decimal) -> bool:
        """Whether *difference* from *expected* is within the tolerance; without limits only zero is."""
        if not difference:
            return True
        checks = []
        if self.pct is not None:
            checks.append(abs(difference) <= abs(expected) * self.pct / 100)
        if self.abs is not None:
            checks.append(abs(difference) <= self.abs)
        if not checks:
            return False
        return all(checks) if self.combine == "all" else any(checks)


class Tolerances(Model):
    """Limits per compared field."""

    unit_price: Tolerance = Tolerance()
    quantity: Tolerance = Tolerance()
    amount: Tolerance = Tolerance()


class Window(Model):
    """How long a difference may still be a matter of timing."""

    within: LimitField
    calendar: str | None = None


class Windows(Model):
    """The timing windows of a three-way match."""

    receipt_after_invoice: Window
    invoice_after_receipt: Window


class Sides(Model):
    """The sides of a three-way match."""

    ordered: Side
    received: Side
    invoiced: Side


class ReconciliationRule(Model):
    """Which documents must agree, by what, and how exactly."""

    name: Name
    title: str = ""
    by: Literal["line"] = "line"
    mode: Literal["three_way"] = "three_way"
    sides: Sides
    tolerances: Tolerances = Tolerances()
    windows: Windows
    severity: Literal["page", "warning", "notice"] = "warning"


class Flow(Model):
    """A flow: how its spans are recognised, how keys join them, what is due when, and what must agree."""

    flow: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    version: Annotated[int, Field(ge=1)]
    title: Name
    prefix: KeyType
    anchors: Annotated[tuple[KeyType, ...], Field(min_length=1)]
    keys: dict[KeyType, KeySpec]
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    sources: dict[Name, Source] = {}
    sequences: dict[KeyType, Sequence] = {}
    amount: str | None = None
    counterparty: KeyType | None = None
    batch: KeyType | None = None  # the key of what documents travel in together
    sla: tuple[SlaRule, ...] = ()
    calendars: dict[str, CalendarSpec] = {}
    reconciliations: tuple[ReconciliationRule, ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def rules(self) -> str:
        """What decides, as text: without what only tests it. Equal for flows that come to the same results."""
        return self.model_dump_json(by_alias=True, exclude={"examples"})

    @cached_property
    def stage_by_step(self) -> dict[str, Stage]:
        """Step code -> the stage that it reaches."""
        return {stage.step: stage for stage in self.stages}

    @cached_property
    def stage_by_name(self) -> dict[str, Stage]:
        """Name -> stage."""
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def stage_order(self) -> dict[str, int]:
        """Name -> position in the flow."""
        return {stage.name: position for position, stage in enumerate(self.stages)}

    @cached_property
    def counted(self) -> dict[str, Sequence]:
        """Key type -> its sequence, of those that a source tells."""
        return {name: sequence for name, sequence in self.sequences.items() if sequence.source is not None}

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        """Name of a rule with ``every`` -> its schedule."""
        return {
            rule.name: Schedule(rule.every, rule.within, rule.early, self.calendar(rule.calendar))
            for rule in self.sla
            if rule.every is not None
        }

    @cached_property
    def told_by(self) -> frozenset[str]:
        """The sources that tell of its stages."""
        return frozenset(source for stage in self.stages for source in stage.told_by)

    def stages_told_by(self, source: str) -> list[str]:
        """Return the names of the stages that a source tells of."""
        return [stage.name for stage in self.stages if source in stage.told_by]

    def joins(self, key_type: str, stage: str) -> bool:
        """Whether keys of a type say where a step of *stage* belongs."""
        if key_type not in self.keys:
            return False
        known = self.stage_by_name.get(stage)
        return known is None or not known.joined_by or key_type in known.joined_by

    @cached_property
    def matches(self) -> dict[tuple[str, str], str]:
        """(service, span name) -> step code, for spans nobody labelled."""
        return {(stage.match.service, stage.match.span): stage.step for stage in self.stages if stage.match}

    @cached_property
    def built_calendars(self) -> dict[str, BusinessCalendar]:
        """Name -> calendar."""
        return {name: spec.build() for name, spec in self.calendars.items()}

    def due(self, rule: SlaRule, start: datetime) -> datetime:
        """Return when what began at *start* is due by *rule* (UTC)."""
        calendar = self.calendar(rule.calendar)
        if rule.at is None or calendar is None:
            return due_at(start, rule.within, calendar)
        return due_by(start, rule.within, rule.at, calendar)

    def calendar(self, name: str | None) -> BusinessCalendar | None:
        """Return the named calendar, or None for plain time."""
        return self.built_calendars[name] if name else None

    @cached_property
    def fences(self) -> dict[str, timedelta]:
        """Key type -> how far from its time a number that is used again still means the same; without those it is not."""
        return {name: spec.fence.span for name, spec in self.keys.items() if spec.fence is not None}

    @cached_property
    def ancestors(self) -> dict[str, frozenset[str]]:
        """Key type -> the types above it in the key tree."""
        return {key: frozenset(self._up(key)) for key in self.keys}

    def _up(self, key: str) -> Iterator[str]:
        seen = {key}
        parent = self.keys[key].parent
        while parent is not None and parent in self.keys and parent not in seen:
            yield parent
            seen.add(parent)
            parent = self.keys[parent].parent


def is_placeholder(value: str) -> bool:
    """Whether a normalised key value stands for "no number" (``N/A``, ``0000``, ``TBD``)."""
    short = len(value) <= _LONGEST_PLACEHOLDER
    return (short and value.upper() in PLACEHOLDERS) or _ALL_ZEROS_OR_PUNCTUATION.fullmatch(value) is not None
