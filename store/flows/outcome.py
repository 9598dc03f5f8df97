"""What a cycle found of one flow, gathered table by table and written at its end."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

from clickhouse_connect.driver.client import Client

from controltower.store.flows.history import changes
from controltower.store.flows.neighbourhood import Known
from controltower.store.flows.transaction import Verdict
from controltower.store.rows import (
    AwaitedDeadline,
    Change,
    Deadline,
    DocumentLine,
    ExceptionRow,
    KeyLink,
    ParkedStep,
    PastMembership,
    Reconciliation,
    Step,
    Transaction,
    TransactionStep,
)
from controltower.store.write import Row, insert

# What tells two rows of one table apart.
TRANSACTION = attrgetter("anchor")
DEADLINE = attrgetter("anchor", "rule", "subject")
MATCH = attrgetter("anchor", "rule", "line")
EXCEPTION = attrgetter("anchor", "kind", "rule", "subject")

AWAITED = attrgetter("source", "due_at", "anchor", "rule", "subject")

R = TypeVar("R", Transaction, Deadline, Reconciliation, ExceptionRow, AwaitedDeadline)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows to write, in this order: wherever the writing is cut off, the next cycle finds what is left to do.

    What was known of a membership is kept before it is replaced. A step has its new place before it loses its old one: one
    that has none would not be found again. Memberships name the transactions concerned, so they come before the verdicts.
    What waits for a source is noted before the verdict says so, and forgotten after the verdict that is better. The history is the difference to the verdicts that are stored, so it comes before the new ones. A span is new as long as
    its step is missing, so steps come last.
    """

    links: list[KeyLink] = field(default_factory=list)
    past: list[PastMembership] = field(default_factory=list)
    memberships: list[TransactionStep] = field(default_factory=list)
    parked: list[ParkedStep] = field(default_factory=list)
    left: list[TransactionStep] = field(default_factory=list)  # memberships that are no more
    unparked: list[ParkedStep] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    awaited: list[AwaitedDeadline] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)
    reconciliations: list[Reconciliation] = field(default_factory=list)
    exceptions: list[ExceptionRow] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    arrived: list[AwaitedDeadline] = field(default_factory=list)  # what waits no more
    lines: list[DocumentLine] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def add(self, verdicts: Sequence[Verdict], known: Known, now: datetime, version: int) -> None:
        """Add the *verdicts* on some transactions, and take away what is *known* of them and no longer holds."""
        transactions = [verdict.transaction for verdict in verdicts]
        deadlines = [row for verdict in verdicts for row in verdict.deadlines]
        matches = [row for verdict in verdicts for row in verdict.reconciliations]
        exceptions = [row for verdict in verdicts for row in verdict.exceptions]
        awaited = _awaited(deadlines, version)
        self.history.extend(changes(verdicts, known, now, version))
        self.awaited.extend(awaited)
        self.arrived.extend(_gone(_awaited(known.deadlines, version), awaited, AWAITED, version))
        self.deadlines.extend([*deadlines, *_gone(known.deadlines, deadlines, DEADLINE, version)])
        self.reconciliations.extend([*matches, *_gone(known.reconciliations, matches, MATCH, version)])
        self.exceptions.extend([*exceptions, *_gone(known.exceptions, exceptions, EXCEPTION, version)])
        self.transactions.extend([*transactions, *_gone(known.transactions, transactions, TRANSACTION, version)])

    def no_more(self, waited: Sequence[AwaitedDeadline], version: int) -> None:
        """Take away what *waited* for a source that was heard of, as far as it does not wait for another one."""
        self.arrived.extend(_gone(waited, self.awaited, AWAITED, version))

    def write(self, client: Client) -> None:
        """Store everything, and keep nothing. Blocks until it is stored; raises the engine's errors."""
        for table in fields(self):
            rows: list[Row] = getattr(self, table.name)
            insert(client, rows)
            rows.clear()


def _awaited(deadlines: Iterable[Deadline], version: int) -> list[AwaitedDeadline]:
    """Return what to look at again when a source is heard of, of these deadlines."""
    return [
        AwaitedDeadline(row.flow, row.source, row.due_at, row.anchor, row.rule, row.subject, version=version)
        for row in deadlines
        if row.source
    ]


def _gone(before: Sequence[R], after: Sequence[R], name: Callable[[R], object], version: int) -> list[R]:
    """Return the rows of *before* that never were, as we know now: what truly happened and was healed is in *after*."""
    current = set(map(name, after))
    return [replace(row, is_deleted=True, version=version) for row in before if name(row) not in current]
