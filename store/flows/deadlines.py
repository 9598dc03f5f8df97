"""Deadlines: a stage creates them, another one meets them, and time alone breaks them. Pure."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final, NamedTuple

from controltower.store.flows.corrections import Waived
from controltower.store.flows.definition import Flow, SlaRule
from controltower.store.missing import Missing
from controltower.store.rows import UNKNOWN_SINCE, Correction, DeadlineState, Key, Step, TransactionStep

MOST_STATED_S: Final = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Member:
    """A step of a transaction, and why it belongs."""

    step: Step
    membership: TransactionStep


@dataclass(frozen=True, slots=True)
class About:
    """Whose deadlines these are."""

    anchor: Key
    counterparty: str = ""
    cancelled: datetime | None = None


class Course(NamedTuple):
    """What the past is asked about: a rule of a flow, for one counterparty, or for all of them when it is empty."""

    flow: str
    rule: str
    counterparty: str


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides about the deadlines of a transaction besides its steps and the time."""

    heard: Mapping[str, datetime] = field(default_factory=dict)  # system -> when it was last heard of
    missing: Mapping[str, Iterable[Missing]] = field(default_factory=dict)  # flow -> of who tells its stages
    # The part of the allowed time from which on at least half of what was still open was late, where enough is known.
    at_risk_from: Mapping[Course, float] = field(default_factory=dict)

    waivers: Mapping[Waived, Correction] = field(default_factory=dict)

    def part_at_risk(self, flow: str, rule: str, counterparty: str) -> float:
        """Return from which part of the allowed time on a deadline is at risk: by the past of its counterparty where enough
        is known of it, else of all; 1 when never."""
        if not self.at_risk_from:
            return 1.0
        of_all = self.at_risk_from.get(Course(flow, rule, ""), 1.0)
        return self.at_risk_from.get(Course(flow, rule, counterparty), of_all)


class Standing(NamedTuple):
    """How it stands with a deadline."""

    state: DeadlineState
    source: str = ""  # of an unknown one: who would tell and is silent, or the name of what is missing
    turns_at: datetime | None = None  # of a running one: when time alone changes it next
    waiver: Correction | None = None  # of one that a person waived


@dataclass(frozen=True, slots=True)
class Due:
    """One deadline of one transaction."""

    rule: SlaRule
    subject: str
    from_at: datetime
    due_at: datetime
    met_at: datetime | None
    standing: Standing
    created_by: Member
    stated: timedelta | None  # the limit that the step stated itself

    @property
    def state(self) -> DeadlineState:
        """What became of it."""
        return self.standing.state

    @property
    def limit(self) -> str:
        """The limit in words: within 4 hours, by 17:00."""
        return f"within {self.stated.total_seconds():.0f} seconds" if self.stated else self.rule.limit


def reaches(flow: Flow, step: Step) -> bool:
    """Whether a step reaches its stage: not a failed attempt, and with an outcome that counts there."""
    stage = flow.stage_by_name.get(step.stage)
    return stage is not None and not step.failed and step.outcome in stage.outcomes


def cancelled_at(flow: Flow, reached: Iterable[Member]) -> datetime | None:
    """Return when the transaction was cancelled, or None; *reached* are the members that reach their stages."""
    return min((member.step.at for member in reached if flow.stage_by_name[member.step.stage].cancels), default=None)


def deadlines(
    flow: Flow,
    about: About,
    reached: Iterable[Member],
    now: datetime,
    around: Circumstances,
) -> list[Due]:
    """Return every deadline that the stages reached created, as of *now*; *reached* are in order of time.

    A rule runs once per transaction, or once per value of its ``per`` key. It is created by the first step that reaches
    ``from`` and met by the first that reaches ``to``, whenever that was: an early answer is an answer. What is still
    open when the transaction is cancelled, or a person waives it, is waived. What is over is unknown, and not broken, as long as a source that
    would tell was not heard of since it was due, or a number of it is missing that may be the answer.
    """
    by_stage: dict[str, list[Member]] = defaultdict(list)
    for member in reached:
        by_stage[member.step.stage].append(member)
    return [
        due for rule in flow.sla if rule.from_ in by_stage for due in _of_rule(flow, about, rule, by_stage, now, around)
    ]


def _of_rule(
    flow: Flow,
    about: About,
    rule: SlaRule,
    by_stage: Mapping[str, Sequence[Member]],
    now: datetime,
    around: Circumstances,
) -> Iterable[Due]:
    for subject, start, end, renewed in _spoken_of(rule, by_stage):
        begun = max(start.step, renewed.step, key=attrgetter("at")) if renewed else start.step
        stated = _stated(rule, begun)
        if stated is None and rule.stated is not None and rule.stated.only:
            continue
        due = begun.at + stated if stated else flow.due(rule, begun.at)
        met = end.step.at if end else None
        standing = _met(met, due) if met else _unmet(flow, about, rule, subject, begun.at, due, now, around)
        yield Due(rule, subject, begun.at, due, met, standing, start, stated)


def _spoken_of(
    rule: SlaRule, by_stage: Mapping[str, Sequence[Member]]
) -> Iterable[tuple[str, Member, Member | None, Member | None]]:
    """Return each subject of a rule with the first member that reaches ``from`` for it, the first that reaches ``to``, and
    the last that renews it."""
    started, ended = by_stage[rule.from_], by_stage.get(rule.to, ())
    renewing = by_stage.get(rule.renewed_by, ()) if rule.renewed_by else ()
    if rule.per is None:
        return [("", started[0], ended[0] if ended else None, renewing[-1] if renewing else None)]
    starts, ends, renewed = (_first_per_subject(rule.per, each) for each in (started, ended, renewing[::-1]))
    return [(subject, starts[subject], ends.get(subject), renewed.get(subject)) for subject in sorted(starts)]


def _stated(rule: SlaRule, step: Step) -> timedelta | None:
    """Return the limit that a step states, none where it states no number of seconds up to a year."""
    if rule.stated is None:
        return None
    try:
        seconds = float(step.context.get(rule.stated.context, ""))
    except ValueError:
        return None
    return timedelta(seconds=seconds * rule.stated.times) if 0 < seconds <= MOST_STATED_S else None


def _first_per_subject(key_type: str, reached: Sequence[Member]) -> dict[str, Member]:
    """Return subject -> the first of *reached* that speaks of it."""
    first: dict[str, Member] = {}
    for member in reached:
        for subject in _subjects(key_type, member):
            first.setdefault(subject, member)
    return first


def _subjects(key_type: str, member: Member) -> Iterable[str]:
    """Return the subjects a step speaks of: its own keys of this type, else those above it, the anchor included."""
    own = {key.value for key in member.step.keys if key.type == key_type}
    above = (*member.membership.through, member.membership.anchor)
    return own or {key.value for key in above if key.type == key_type}


def untold(flow: Flow, stage: str, counterparty: str, begun: datetime, due: datetime, around: Circumstances) -> str:
    """Return why it is not known whether *stage* was reached after *begun* and until *due*: who tells it and was not heard of since, or
    the name of what is missing of who tells it; nothing when it is known."""
    told_by = flow.stage_by_name[stage].told_by
    silent = next((name for name in told_by if around.heard.get(name, UNKNOWN_SINCE) < due), "")
    return silent or _missing(flow, told_by, counterparty, begun, due, around)


def _missing(
    flow: Flow, told_by: Container[str], counterparty: str, begun: datetime, due: datetime, around: Circumstances
) -> str:
    """Return the name of what is missing the longest of what may be the answer, or none: numbers of who tells the awaited
    stage, told after the deadline began and before it was due."""
    found = (
        gap
        for gap in around.missing.get(flow.flow, ())
        if gap.source in told_by
        and begun <= gap.until
        and gap.since <= due
        and (gap.counterparty in ("", counterparty) or not counterparty)
    )
    first = min(found, default=None)
    return first.name if first else ""


def _met(met: datetime, due: datetime) -> Standing:
    return Standing(DeadlineState.MET if met <= due else DeadlineState.MET_LATE)


def _unmet(
    flow: Flow,
    about: About,
    rule: SlaRule,
    subject: str,
    begun: datetime,
    due: datetime,
    now: datetime,
    around: Circumstances,
) -> Standing:
    waiver = around.waivers.get(Waived(flow.flow, about.anchor, rule.name, subject)) if around.waivers else None
    if waiver is not None or about.cancelled is not None:
        return Standing(DeadlineState.WAIVED, waiver=waiver)
    if now >= due:
        source = untold(flow, rule.to, about.counterparty, begun, due, around)
        return Standing(DeadlineState.UNKNOWN if source else DeadlineState.BREACHED, source)
    part = around.part_at_risk(flow.flow, rule.name, about.counterparty)
    risk = due if part >= 1 else begun + part * (due - begun)
    if now < risk:
        return Standing(DeadlineState.RUNNING, turns_at=risk)
    return Standing(DeadlineState.AT_RISK, turns_at=due)
