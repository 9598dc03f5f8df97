"""A transaction as it was known at a time, and what became known since: restated, retracted, or simply later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.queries import (
    ANCHORS_LIMIT,
    KEY_STEPS_LIMIT,
    MEMBERS_AT_ONCE,
    checked,
    key_values,
    named,
    of_anchor,
    of_members,
    timestamp,
)
from controltower.store.reads.answers import AnchorRef, Member
from controltower.store.reads.fetch import fetch, fetch_records
from controltower.store.rows import GONE, Change, Key, Step, TransactionStep

MEMBERS_LIMIT: Final = 5_000
CHANGES_LIMIT: Final = 10_000
# Verdicts that a person may have acted on, and those that say that there was nothing to act on.
_ALARMING: Final = ("breached", "exception", "open")
_HARMLESS: Final = ("met", "withdrawn", "retracted")
_UNSETTLED: Final = ("running", "at risk", "unknown", "pending_timing", "partial", "breached", "exception", "open")


@dataclass(frozen=True, slots=True)
class Restated:
    """A verdict that was known then and is another one now."""

    about: str
    then: str
    now: str
    word: str  # retracted: it never was; restated: it was otherwise; settled: it went on from there


@dataclass(frozen=True, slots=True)
class KnownThen:
    """What was known of one transaction at a time."""

    flow: str
    anchor: Key
    at: datetime
    last: Change  # the last that was known
    verdicts: Mapping[str, str]
    members: tuple[Member, ...]
    restated: tuple[Restated, ...]
    since: tuple[Change, ...]  # what became known later


def find_anchors_then(
    client: Client, value: str, at: datetime, *, type: str | None = None, flow: str | None = None, limit: int = 50
) -> list[AnchorRef]:
    """Return the transactions that the key *value* led to at a time."""
    if not key_values(value):
        return []
    query = named(
        "select_anchors_then",
        values=key_values(value),
        then=timestamp(at),
        type=type or "",
        flow=flow or "",
        steps=KEY_STEPS_LIMIT,
        limit=checked(limit, ANCHORS_LIMIT),
    )
    return [
        AnchorRef(row["flow"], Key(row["type"], row["scope"], row["value"])) for row in fetch_records(client, query)
    ]


def known_then(client: Client, flow: str, anchor: Key, at: datetime) -> KnownThen | None:
    """Return what was known of a transaction at *at*; nothing when it was not known, or known to be gone."""
    changes = fetch(client, of_anchor("select_history", flow, anchor, limit=CHANGES_LIMIT), Change)
    before = [change for change in changes if change.known_at <= at]
    if not before or before[-1].state == GONE:
        return None
    last = before[-1]
    verdicts = folded(before)
    return KnownThen(
        flow=flow,
        anchor=anchor,
        at=at,
        last=last,
        verdicts=verdicts,
        members=_members(client, flow, anchor, at),
        restated=restated(verdicts, folded(changes)),
        since=tuple(change for change in changes if change.known_at > at),
    )


def folded(changes: Sequence[Change]) -> dict[str, str]:
    """Return the verdicts that stand after *changes*, in order of time."""
    verdicts: dict[str, str] = {}
    for change in changes:
        verdicts |= change.verdicts
    return verdicts


def restated(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[Restated, ...]:
    """Return which verdicts of *then* are others *now*, and what that means."""
    return tuple(
        Restated(about, verdict, now[about], _word(verdict, now[about]))
        for about, verdict in sorted(then.items())
        if now[about] != verdict
    )


def _word(then: str, now: str) -> str:
    """A breach that was met in time after all never was one; what was final and is otherwise was reported wrong."""
    if then.startswith(_ALARMING) and now.startswith(_HARMLESS):
        return "retracted"
    return "settled" if then.startswith(_UNSETTLED) else "restated"


def _members(client: Client, flow: str, anchor: Key, at: datetime) -> tuple[Member, ...]:
    query = of_anchor("select_members_then", flow, anchor, limit=MEMBERS_LIMIT)
    then = named("select_members_then", **{**query.parameters, "then": timestamp(at)})
    rows = {(row.trace_id, row.span_id): row for row in fetch(client, then, TransactionStep)}
    ids = sorted(rows)
    steps: list[Step] = []
    for start in range(0, len(ids), MEMBERS_AT_ONCE):
        some = ids[start : start + MEMBERS_AT_ONCE]
        steps.extend(fetch(client, of_members("select_member_steps", flow, some, limit=len(some)), Step))
    in_order = sorted(steps, key=lambda step: (step.at, step.trace_id, step.span_id))
    return tuple(Member(step, rows[step.trace_id, step.span_id]) for step in in_order)
