"""Everything known of one transaction, and the spans behind it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from clickhouse_connect.driver.client import Client

from controltower.store.queries import MEMBERS_AT_ONCE, checked, named, of_anchor, of_members, timestamp
from controltower.store.reads.answers import Member, Span, TransactionView
from controltower.store.reads.fetch import fetch
from controltower.store.reads.heard import heard
from controltower.store.rows import (
    Change,
    Deadline,
    DocumentLine,
    ExceptionRow,
    Key,
    Reconciliation,
    Step,
    Transaction,
    TransactionStep,
)

T = TypeVar("T")

MEMBERS_LIMIT = 5_000  # steps shown of one transaction; a blanket order of years stays below
LINES_LIMIT = 5_000
DETAILS_LIMIT = 2_000  # deadlines, matches, exceptions, changes: each list
TRACES_LIMIT = 200  # traces opened for one page
SPANS_LIMIT = 5_000
TRACE_MARGIN = timedelta(hours=1)  # a step's trace begins before and ends after the step


def read_transaction(client: Client, flow: str, anchor: Key, *, history: bool = True) -> TransactionView | None:
    """Return the transaction of *anchor*, or nothing when there is none; without *history*, nothing of its changes.

    Eight queries, one more when a deadline is unknown, and two more for each further ``MEMBERS_AT_ONCE`` of its steps.
    """

    def details(statement: str, kind: type[T], limit: int) -> tuple[T, ...]:
        return fetch(client, of_anchor(statement, flow, anchor, limit=limit), kind)

    found = details("select_transaction", Transaction, 1)
    if not found:
        return None
    memberships = details("select_transaction_steps", TransactionStep, MEMBERS_LIMIT)
    members = [(membership.trace_id, membership.span_id) for membership in memberships]
    steps = _of_members(client, "select_member_steps", flow, members, Step, MEMBERS_LIMIT)
    lines = _of_members(client, "select_member_lines", flow, members, DocumentLine, LINES_LIMIT)
    deadlines = details("select_deadlines", Deadline, DETAILS_LIMIT)
    reconciliations = details("select_reconciliations", Reconciliation, DETAILS_LIMIT)
    exceptions = details("select_exceptions", ExceptionRow, DETAILS_LIMIT)
    changes = details("select_history", Change, DETAILS_LIMIT) if history else ()
    return TransactionView(
        transaction=found[0],
        members=_members(steps, memberships),
        lines=lines,
        deadlines=deadlines,
        reconciliations=reconciliations,
        exceptions=exceptions,
        history=changes,
        heard=heard(client, {row.source for row in deadlines if row.source}),
        truncated=len(memberships) >= MEMBERS_LIMIT
        or len(lines) >= LINES_LIMIT
        or max(map(len, (deadlines, reconciliations, exceptions, changes))) >= DETAILS_LIMIT,
    )


def spans_of_traces(
    client: Client, traces: Sequence[str], *, since: datetime, until: datetime, limit: int = SPANS_LIMIT
) -> list[Span]:
    """Return the spans of a few *traces* in order of time, steps or not, each once.

    *since* and *until* are the first and last step of interest; an hour on either side is read as well.
    """
    asked = sorted(set(traces))
    checked(len(asked), TRACES_LIMIT, name="number of traces")
    if not asked:
        return []
    query = named(
        "select_spans_of_traces",
        traces=asked,
        since=timestamp(since - TRACE_MARGIN),
        until=timestamp(until + TRACE_MARGIN),
        limit=checked(limit, SPANS_LIMIT),
    )
    return list(fetch(client, query, Span))


def _of_members(
    client: Client, statement: str, flow: str, members: Sequence[tuple[str, str]], kind: type[T], limit: int
) -> tuple[T, ...]:
    """Return the rows of *members*, in their order, *limit* at most."""
    found: tuple[T, ...] = ()
    for start in range(0, len(members), MEMBERS_AT_ONCE):
        some = members[start : start + MEMBERS_AT_ONCE]
        found += fetch(client, of_members(statement, flow, some, limit=limit - len(found)), kind)
        if len(found) >= limit:
            break
    return found


def _members(steps: Sequence[Step], memberships: Sequence[TransactionStep]) -> tuple[Member, ...]:
    """Return each step with its membership, in order of time."""
    why = {(membership.trace_id, membership.span_id): membership for membership in memberships}
    by_time = sorted(steps, key=lambda step: (step.at, step.trace_id, step.span_id))
    return tuple(Member(step, why[step.trace_id, step.span_id]) for step in by_time)
