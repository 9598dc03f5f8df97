"""The way of one transaction: its stages against their deadlines, its hops between systems, and where it stands; pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from controltower.dashboard.format import duration, moment, money, plural, reason, relative, rule, words
from controltower.store.flows.deadlines import reaches
from controltower.store.flows.definition import Flow
from controltower.store.read import Member, TransactionView
from controltower.store.rows import Deadline, DeadlineState, ExceptionRow, TransactionState


class StageState(StrEnum):
    """What became of a stage."""

    REACHED = "reached"
    LATE = "reached late"
    BREACHED = "breached"
    WAITING = "waiting"
    SKIPPED = "not seen"  # a later stage was reached without it
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage of the flow, when it was reached and by what."""

    name: str
    title: str
    state: StageState
    reached: tuple[Member, ...]  # in order of time
    deadlines: tuple[Deadline, ...]  # those that this stage meets

    @property
    def first_at(self) -> datetime | None:
        """When the stage was first reached."""
        return self.reached[0].step.at if self.reached else None

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems it was seen in."""
        return tuple(dict.fromkeys(member.step.system for member in self.reached))


@dataclass(frozen=True, slots=True)
class Hop:
    """The transaction leaves one system and is next seen in another."""

    at: datetime
    source: str
    target: str
    step: str
    style: str
    interface: str
    took: timedelta  # from the end of the last step in the one to the first in the other


def titles(flow: Flow | None) -> Mapping[str, str]:
    """Return stage name -> title; nothing for a flow that this program does not know."""
    return {stage.name: stage.title or words(stage.name) for stage in flow.stages} if flow else {}


def stage_title(flow: Flow | None, stage: str) -> str:
    """Return the title of a stage, or its name in words."""
    return titles(flow).get(stage) or (words(stage) if stage else "No stage")


def step_title(flow: Flow | None, step: str, stage: str) -> str:
    """Return what a step is called: its stage's title, else its code in words (``invoice received``)."""
    return stage_title(flow, stage) if stage else words(step.split(".", 1)[-1].replace(".", " "))


def stage_rows(flow: Flow | None, view: TransactionView) -> tuple[StageRow, ...]:
    """Return the stages in the flow's order. A stage that only cancels is listed when it was reached."""
    reached = _reached(flow, view)
    due = _by_target(view.deadlines)
    order = _order(flow, reached)
    furthest = max((position for position, name in enumerate(order) if name in reached), default=-1)
    return tuple(
        StageRow(
            name,
            stage_title(flow, name),
            _state(bool(reached[name]), due[name], position < furthest),
            tuple(reached[name]),
            tuple(due[name]),
        )
        for position, name in enumerate(order)
    )


def hops(members: Sequence[Member]) -> tuple[Hop, ...]:
    """Return each change of system in order of time. Attempts that failed did not arrive and are left out."""
    arrived = [member.step for member in members if not member.step.failed]
    return tuple(
        Hop(
            at=after.at,
            source=before.system,
            target=after.system,
            step=after.step,
            style=after.style,
            interface=after.interface,
            took=max(after.at - before.at - timedelta(microseconds=before.duration_ns // 1_000), timedelta(0)),
        )
        for before, after in pairwise(arrived)
        if before.system != after.system
    )


def standing(flow: Flow | None, view: TransactionView, now: datetime) -> str:
    """Return in one or two sentences where the transaction stands and what it waits for."""
    state = view.transaction.state
    if state == TransactionState.COMPLETED:
        return _completed(view)
    reached = f"Reached “{stage_title(flow, view.transaction.stage)}”." if view.transaction.stage else "No stage yet."
    open_exceptions = [row for row in view.exceptions if row.resolved_at is None and row.kind != "deadline"]
    late = _first(view.deadlines, DeadlineState.BREACHED)
    parts = [reached]
    if late is not None:
        parts.append(_waits(flow, view, late, now, "was due"))
    if open_exceptions:
        parts.append(_open(open_exceptions))
    unknown = _first(view.deadlines, DeadlineState.UNKNOWN)
    if unknown is not None:
        parts.append(_untold(flow, view, unknown))
    running = _first(view.deadlines, DeadlineState.AT_RISK) or _first(view.deadlines, DeadlineState.RUNNING)
    if late is None and running is not None:
        parts.append(_waits(flow, view, running, now, "is due"))
    if running is not None and running.state == DeadlineState.AT_RISK:
        parts.append("It is at risk: half of what was still open at this point in the past was late.")
    if len(parts) == 1:
        parts.append("Nothing is due: no deadline runs, and the documents are still partly open.")
    return " ".join(parts)


def _reached(flow: Flow | None, view: TransactionView) -> defaultdict[str, list[Member]]:
    """Return stage -> the steps that reached it, by the engine's own rule; without the flow, every step of the stage."""
    counted = set(view.transaction.stages)
    found: defaultdict[str, list[Member]] = defaultdict(list)
    for member in view.members:
        if member.step.stage in counted and (flow is None or reaches(flow, member.step)):
            found[member.step.stage].append(member)
    return found


def _by_target(deadlines: Iterable[Deadline]) -> defaultdict[str, list[Deadline]]:
    found: defaultdict[str, list[Deadline]] = defaultdict(list)
    for deadline in deadlines:
        found[deadline.to_stage].append(deadline)
    return found


def _order(flow: Flow | None, reached: Mapping[str, object]) -> list[str]:
    if flow is None:
        return list(reached)
    return [stage.name for stage in flow.stages if not stage.cancels or stage.name in reached]


def _state(reached: bool, due: Sequence[Deadline], passed: bool) -> StageState:
    states = {deadline.state for deadline in due}
    if DeadlineState.BREACHED in states:
        return StageState.BREACHED
    if not states.isdisjoint((DeadlineState.RUNNING, DeadlineState.AT_RISK, DeadlineState.UNKNOWN)):
        return StageState.WAITING
    if reached:
        return StageState.LATE if DeadlineState.MET_LATE in states else StageState.REACHED
    return StageState.SKIPPED if passed else StageState.AHEAD


def _first(deadlines: Iterable[Deadline], state: DeadlineState) -> Deadline | None:
    found = [deadline for deadline in deadlines if deadline.state == state]
    return min(found, key=lambda deadline: (deadline.due_at, deadline.rule), default=None)


def _completed(view: TransactionView) -> str:
    transaction = view.transaction
    took = duration(transaction.last_step_at - transaction.started_at)
    late = sum(deadline.state == DeadlineState.MET_LATE for deadline in view.deadlines)
    timing = f"{plural(late, 'deadline')} met late" if late else "every deadline met in time"
    lines = f", {plural(len(view.reconciliations), 'line')} matched" if view.reconciliations else ""
    return f"Completed {took} after its first step: {timing}{lines}."


def _waits(flow: Flow | None, view: TransactionView, deadline: Deadline, now: datetime, verb: str) -> str:
    what = stage_title(flow, deadline.to_stage)
    about = f" of {deadline.subject}" if deadline.subject else ""
    source = stage_title(flow, deadline.from_stage)
    others = sum(other.state == deadline.state for other in view.deadlines) - 1
    more = f", and {plural(others, 'more deadline')}" if others else ""
    return (
        f"It waits for “{what}”{about}, which {verb} {relative(deadline.due_at, now)} "
        f"({moment(deadline.due_at)} UTC; clock started with “{source}”){more}."
    )


def _untold(flow: Flow | None, view: TransactionView, deadline: Deadline) -> str:
    about = f" of {deadline.subject}" if deadline.subject else ""
    what = stage_title(flow, deadline.to_stage)
    known = f"Whether “{what}”{about} came by {moment(deadline.due_at)} UTC is unknown"
    if gap := deadline.missing:
        return f"{known}: {gap.numbers} of {gap.source} {gap.verb} missing since {moment(gap.since)} UTC."
    heard = view.heard.get(deadline.source)
    since = f" since {moment(heard)} UTC" if heard else ""
    return f"{known}: {deadline.source} is silent{since}."


def _open(rows: Sequence[ExceptionRow]) -> str:
    """Return the open exception with the most money behind it, and how many more there are."""
    worst = max(rows, key=lambda row: (row.amount, row.rule, row.subject))
    detail = worst.detail.strip() or f"{rule(worst.rule)}: {reason(worst.reason).lower()}"
    value = f" ({money(worst.amount, worst.currency)})" if worst.kind != "match" and worst.amount else ""
    more = f" And {plural(len(rows) - 1, 'more open exception')}." if len(rows) > 1 else ""
    return f"{detail.rstrip('.')}{value}.{more}"
