"""Which slots of schedules no step answered in time: an exception for each, until a step comes late. Pure.

Where something must come at an interval, slots that are missed one after another are one exception: what comes next ends it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Final

from controltower.store.flows.calendar import Limit
from controltower.store.flows.classify import normalise
from controltower.store.flows.deadlines import Circumstances, untold
from controltower.store.flows.definition import Flow, SlaRule
from controltower.store.flows.schedule import MINUTE, MOST, Slot
from controltower.store.flows.told import Known, stamped
from controltower.store.rows import ExceptionRow, Key, Step

KIND: Final = "schedule"
JUDGED: Final = 20_000  # slots of one rule, over all of whom it waits for
_IT_CAME: Final = " It came "  # what follows is said of a slot once it is answered

Answers = Mapping[tuple[str, datetime], datetime]  # whose, and when the slot opens -> when the first step of it came


@dataclass(frozen=True, slots=True)
class Came:
    """When the first step of a while came, and whose it is."""

    subject: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Looked:
    """What is known of a rule: its slots, since when it waits for each of whom it waits for, and what came."""

    slots: Sequence[Slot]
    since: Mapping[str, datetime]
    came: Answers

    def slots_of(self, subject: str) -> Sequence[Slot]:
        """Return the slots that one must answer."""
        return self.slots[bisect_left(self.slots, self.since[subject], key=attrgetter("at")) :]

    def has(self, row: ExceptionRow) -> bool:
        """Whether the slot that an exception is about is one of these."""
        slots = self.slots_of(row.subject) if row.subject in self.since else ()
        return bool(slots) and row.opened_at >= slots[0].due

    def reached_by(self, row: ExceptionRow) -> bool:
        """Whether an exception about slots before these lasted until them."""
        slots = self.slots_of(row.subject) if row.subject in self.since else ()
        if not slots or self.has(row) or row.opened_at < self.since[row.subject]:
            return False
        return row.resolved_at is None or row.resolved_at >= slots[0].opens


def most(rule: SlaRule) -> int:
    """Return how many slots of a rule are looked at, which is fewer of one that waits for many."""
    return min(MOST, JUDGED // len(rule.subjects))


def whose(rule: SlaRule, step: Step) -> Iterable[str]:
    """Return whose a step is of all that a rule may wait for, as it is stored."""
    if rule.each is None:
        return ("",)
    if rule.each.context is not None:
        return (step.context.get(rule.each.context, ""),)
    return {key.value for key in step.keys if key.type == rule.each.key}


def as_stored(flow: Flow, rule: SlaRule) -> dict[str, str]:
    """Return whom a rule waits for, by how steps call them."""
    spec = flow.keys.get(rule.each.key or "") if rule.each else None
    return {normalise(name, spec): name for name in rule.subjects}


def answers(
    slots: Sequence[Slot], end: datetime, came: Iterable[Came], before: Answers
) -> dict[tuple[str, datetime], datetime]:
    """Return which slots, of which the last is over at *end*, were answered when: those that were *before*, and by what *came*."""
    found = dict(before)
    for row in came:
        if slots[0].opens <= row.at < end:
            place = row.subject, slots[bisect_right(slots, row.at, key=attrgetter("opens")) - 1].opens
            found[place] = min(found.get(place, row.at), row.at)
    return found


def changes(
    flow: Flow, looked: Mapping[str, Looked], around: Circumstances, before: Known, now: datetime
) -> list[ExceptionRow]:
    """Return what must be written of the slots *looked* at by rule: those that are missed, those that were answered late, and those that
    were not missed after all. What is too old, or of a rule that is no more, is closed. Pure."""
    known = [row for row in before.values() if not row.is_deleted]
    begun = {
        (row.rule, row.subject): replace(row, resolved_at=None, detail=row.detail.partition(_IT_CAME)[0])
        for row in known
        if row.rule in looked and looked[row.rule].reached_by(row)
    }
    rows = [
        row
        for rule in flow.sla
        if rule.name in looked
        for subject in rule.subjects
        for row in _missed(flow, rule, subject, looked[rule.name], around, begun.get((rule.name, subject)), now)
    ]
    still = {row.anchor for row in rows}
    for row in known:
        if row.anchor not in still:
            rows += _over(row, looked, now)
    return stamped(rows, before, now)


def _over(row: ExceptionRow, looked: Mapping[str, Looked], now: datetime) -> Iterator[ExceptionRow]:
    """Yield what becomes of an exception whose slot is not missed, or not looked at any more."""
    if row.rule in looked and looked[row.rule].has(row):
        yield replace(row, is_deleted=True)
    elif row.resolved_at is None:
        yield replace(row, resolved_at=now, detail=f"{row.detail} Nobody waits for it any more.")


def _missed(
    flow: Flow,
    rule: SlaRule,
    subject: str,
    looked: Looked,
    around: Circumstances,
    begun: ExceptionRow | None,
    now: datetime,
) -> Iterator[ExceptionRow]:
    """Yield an exception for each slot that one missed; at an interval for each time on end that it did, of which one may have
    *begun* before the slots looked at."""
    at_interval = isinstance(rule.every, Limit)
    counterparty = subject if rule.each and rule.each.context == flow.counterparty else ""
    begun = begun if at_interval else None
    for slot in looked.slots_of(subject):
        came = looked.came.get((subject, slot.opens))
        if came is None and (now < slot.due or untold(flow, rule.to, counterparty, slot.opens, slot.due, around)):
            continue
        if came is None or came > slot.due:
            begun = begun or _row(flow, rule, subject, counterparty, slot)
        if begun and (came or not at_interval):
            yield _answered(begun, came)
            begun = None
    if begun:
        yield begun


def _row(flow: Flow, rule: SlaRule, subject: str, counterparty: str, slot: Slot) -> ExceptionRow:
    of = f" of {subject}" if subject else ""
    return ExceptionRow(
        flow=flow.flow,
        anchor=Key(KIND, subject, f"{rule.name} {slot.at:%Y-%m-%d %H:%M} UTC"),
        kind=KIND,
        rule=rule.name,
        subject=subject,
        reason="missed",
        severity=rule.severity,
        opened_at=slot.due,
        resolved_at=None,
        amount=Decimal(0),
        currency="",
        detail=f"{rule.name.capitalize()}{of}: nothing came for {slot.at:%Y-%m-%d %H:%M} UTC by {slot.due:%Y-%m-%d %H:%M} UTC.",
        counterparty=counterparty,
    )


def _answered(row: ExceptionRow, came: datetime | None) -> ExceptionRow:
    if came is None:
        return row
    hours, minutes = divmod((came - row.opened_at) // MINUTE, 60)
    late = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    return replace(row, resolved_at=came, detail=f"{row.detail}{_IT_CAME}{came:%Y-%m-%d %H:%M} UTC, {late} late.")
