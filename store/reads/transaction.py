"""Everything known of one transaction, and the spans behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from clickhouse_connect.driver.client import Client

from controltower.store.queries import MEMBERS_AT_ONCE, checked, named, of_anchor, of_members, timestamp
from controltower.store.reads.answers import Member, Span, TransactionView
from controltower.store.reads.beside import Aside, at_once
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


@dataclass(frozen=True, slots=True)
class _Rest:
    transaction: Transaction
    lines: tuple[DocumentLine, ...]
    deadlines: tuple[Deadline, ...]
    reconciliations: tuple[Reconciliation, ...]
    exceptions: tuple[ExceptionRow, ...]
    history: tuple[Change, ...]
    heard: Mapping[str, datetime]


def read_transaction(client: Client, flow: str, anchor: Key, *, history: bool = True) -> TransactionView | None:
    """Return the transaction of *anchor*, or nothing when there is none; without *history*, nothing of its changes.

    Eight queries, one more when a deadline is unknown, and two more for each further ``MEMBERS_AT_ONCE`` of its steps; twice
    as many when what is stored was replaced meanwhile.
    """
    view, _ = read_beside(client, at_once(client), flow, anchor, lambda _: None, history=history)
    return view


def read_beside(
    client: Client,
    aside: Aside,
    flow: str,
    anchor: Key,
    meanwhile: Callable[[tuple[Member, ...]], T],
    *,
    history: bool = True,
) -> tuple[TransactionView | None, T]:
    """Read the steps of a transaction over *client* and the rest of it aside, and return it as ``read_transaction`` does;
    and what is made of the steps *meanwhile*.

    A flow that is published puts all tables of its transactions in the place of others. What was read of both is read again,
    once: by then there are none but the new ones.
    """
    view, made, is_torn = _read(client, aside, flow, anchor, meanwhile, history=history)
    if is_torn:
        view, made, _ = _read(client, aside, flow, anchor, meanwhile, history=history)
    return view, made


def _read(
    client: Client,
    aside: Aside,
    flow: str,
    anchor: Key,
    meanwhile: Callable[[tuple[Member, ...]], T],
    *,
    history: bool,
) -> tuple[TransactionView | None, T, bool]:
    """Return the transaction, what was made of its steps, and whether the first that was read does not fit the last."""
    memberships = _details(client, "select_transaction_steps", flow, anchor, TransactionStep, MEMBERS_LIMIT)
    ids = [(membership.trace_id, membership.span_id) for membership in memberships]
    rest = aside(lambda other: _rest(other, flow, anchor, ids, history=history))
    members = _members(_of_members(client, "select_member_steps", flow, ids, Step, MEMBERS_LIMIT), memberships)
    made = meanwhile(members)
    if (read := rest()) is None:
        return None, made, bool(memberships)
    is_cut = len(memberships) >= MEMBERS_LIMIT
    is_torn = not is_cut and len(memberships) != read.transaction.steps
    return _view(read, members, truncated=is_cut), made, is_torn


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


def _rest(client: Client, flow: str, anchor: Key, members: Sequence[tuple[str, str]], *, history: bool) -> _Rest | None:
    """Return all of a transaction but its steps, itself last, or nothing when there is none."""

    def details(statement: str, kind: type[T]) -> tuple[T, ...]:
        return _details(client, statement, flow, anchor, kind, DETAILS_LIMIT)

    lines = _of_members(client, "select_member_lines", flow, members, DocumentLine, LINES_LIMIT)
    deadlines = details("select_deadlines", Deadline)
    reconciliations = details("select_reconciliations", Reconciliation)
    exceptions = details("select_exceptions", ExceptionRow)
    changes = details("select_history", Change) if history else ()
    told = heard(client, {row.source for row in deadlines if row.source and not row.missing})
    found = _details(client, "select_transaction", flow, anchor, Transaction, 1)
    return _Rest(found[0], lines, deadlines, reconciliations, exceptions, changes, told) if found else None


def _view(rest: _Rest, members: tuple[Member, ...], *, truncated: bool) -> TransactionView:
    details = (rest.deadlines, rest.reconciliations, rest.exceptions, rest.history)
    return TransactionView(
        transaction=rest.transaction,
        members=members,
        lines=rest.lines,
        deadlines=rest.deadlines,
        reconciliations=rest.reconciliations,
        exceptions=rest.exceptions,
        history=rest.history,
        heard=rest.heard,
        truncated=truncated or len(rest.lines) >= LINES_LIMIT or max(map(len, details)) >= DETAILS_LIMIT,
    )


def _details(client: Client, statement: str, flow: str, anchor: Key, kind: type[T], limit: int) -> tuple[T, ...]:
    return fetch(client, of_anchor(statement, flow, anchor, limit=limit), kind)


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
