"""From the steps of one anchor to its transaction, deadlines, matches and exceptions. Pure: *now* is passed in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from controltower.store.flows.deadlines import About, Circumstances, Due, Member, cancelled_at, deadlines, reaches
from controltower.store.flows.definition import Flow, ReconciliationRule, Stage
from controltower.store.flows.definition import Side as SideRule
from controltower.store.reconcile import Match, SideLine, extended, healed, three_way
from controltower.store.rows import (
    Deadline,
    DeadlineState,
    DocumentLine,
    ExceptionRow,
    Key,
    MatchStatus,
    Reconciliation,
    Step,
    Transaction,
    TransactionState,
)

ZERO = Decimal(0)
CLOSED = frozenset({MatchStatus.MATCHED, MatchStatus.WITHIN_TOLERANCE})
# A payment run can put thousands of keys on a transaction; what a page or a search can use is far less.
KEYS_KEPT = 500

StepId = tuple[str, str]
_NONE: Final = Circumstances()
_RUNNING: Final = frozenset({DeadlineState.RUNNING, DeadlineState.AT_RISK})
_OPEN: Final = _RUNNING | {DeadlineState.UNKNOWN, DeadlineState.BREACHED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that is derived of one transaction."""

    transaction: Transaction
    deadlines: tuple[Deadline, ...]
    reconciliations: tuple[Reconciliation, ...]
    exceptions: tuple[ExceptionRow, ...]


def judge(
    flow: Flow,
    anchor: Key,
    members: Sequence[Member],
    lines: Mapping[StepId, tuple[DocumentLine, ...]],
    now: datetime,
    version: int,
    around: Circumstances = _NONE,
) -> Verdict:
    """Return the verdict on one transaction as of *now*; *members* may come in any order and must not be empty."""
    return _Case(flow, anchor, sorted(members, key=_by_time), lines, now, version, around).verdict()


def _by_time(member: Member) -> tuple[datetime, str, str]:
    return member.step.at, member.step.trace_id, member.step.span_id


class _Case:
    """The work of judging one transaction: what several parts of the verdict need is worked out once."""

    def __init__(
        self,
        flow: Flow,
        anchor: Key,
        members: list[Member],
        lines: Mapping[StepId, tuple[DocumentLine, ...]],
        now: datetime,
        version: int,
        around: Circumstances,
    ) -> None:
        self.flow = flow
        self.anchor = anchor
        self.members = members
        self.lines = lines
        self.now = now
        self.version = version
        self.reached = [member for member in members if reaches(flow, member.step)]
        self.cancelled = cancelled_at(flow, self.reached)
        self.amounts = self._amounts()
        self.currency = next((member.step.currency for member in members if member.step.currency), "")
        self.value = self._value()
        self.context = self._context()
        self.counterparty = self.context.get(flow.counterparty, "") if flow.counterparty else ""
        self.due = deadlines(flow, About(anchor, self.counterparty, self.cancelled), self.reached, now, around)
        self.sides = [(rule, self._sides(rule)) for rule in self._rules()]
        self.matches = [(rule, match) for rule, sides in self.sides for match in three_way(flow, rule, *sides, now)]

    def verdict(self) -> Verdict:
        """Return the whole verdict."""
        exceptions = (*self._late(), *self._unmatched(), *self._refused(), *self._failed())
        return Verdict(
            transaction=self._transaction(exceptions),
            deadlines=tuple(self._deadline(due) for due in self.due),
            reconciliations=tuple(self._reconciliation(rule, match) for rule, match in self.matches),
            exceptions=exceptions,
        )

    # what the documents say

    def _rules(self) -> Iterable[ReconciliationRule]:
        """Only the flow's first anchor is ordered, received and invoiced; a cancelled order owes nothing."""
        if self.anchor.type == self.flow.anchors[0] and self.cancelled is None:
            yield from self.flow.reconciliations

    def _sides(self, rule: ReconciliationRule) -> tuple[list[SideLine], list[SideLine], list[SideLine]]:
        sides = rule.sides
        return self._side(sides.ordered), self._side(sides.received), self._side(sides.invoiced)

    def _side(self, side: SideRule) -> list[SideLine]:
        """Return the side's lines that concern this transaction; a document that came twice counts once."""
        seen: set[frozenset[Key]] = set()
        found: list[SideLine] = []
        for member in self.reached:
            if member.step.stage != side.stage:
                continue
            document = self._document(side, member.step)
            if document and document in seen:
                continue
            seen.add(document)
            found.extend(SideLine(line, member.step.at) for line in self._own_lines(member))
        return found

    @staticmethod
    def _document(side: SideRule, step: Step) -> frozenset[Key]:
        return frozenset(key for key in step.keys if key.type == side.document)

    def _own_lines(self, member: Member) -> list[DocumentLine]:
        """Return a step's lines that are about this anchor: those that say so, else all when the step is not shared."""
        lines = self.lines.get((member.step.trace_id, member.step.span_id), ())
        named = any(key.type == self.anchor.type for line in lines for key in line.keys)
        if named:
            return [line for line in lines if any(self._is_anchor(key) for key in line.keys)]
        return list(lines) if member.membership.anchors == 1 else []

    def _is_anchor(self, key: Key) -> bool:
        return (key.type, key.value) == (self.anchor.type, self.anchor.value) and key.scope in ("", self.anchor.scope)

    def _amounts(self) -> dict[str, Decimal]:
        """Return stage -> money: the transaction's own lines of shared documents, whole amounts of others, each once."""
        total: dict[str, Decimal] = {}
        seen: set[tuple[str, frozenset[Key]]] = set()
        for member in self.reached:
            document = member.step.stage, frozenset(member.step.keys)
            if document in seen:
                continue
            seen.add(document)
            amount = self._amount_of(member)
            if amount is not None:
                total[member.step.stage] = total.get(member.step.stage, ZERO) + amount
        return total

    def _amount_of(self, member: Member) -> Decimal | None:
        if member.membership.anchors == 1:
            return member.step.amount
        own = self._own_lines(member)
        return sum((extended(line) for line in own), ZERO) if own else None

    # what follows

    def _deadline(self, due: Due) -> Deadline:
        return Deadline(
            flow=self.flow.flow,
            anchor=self.anchor,
            rule=due.rule.name,
            subject=due.subject,
            from_stage=due.rule.from_,
            to_stage=due.rule.to,
            from_at=due.from_at,
            due_at=due.due_at,
            met_at=due.met_at,
            state=due.state,
            severity=due.rule.severity,
            system=due.created_by.step.system,
            at_stake=self.value if due.state in _OPEN else ZERO,
            currency=self.currency,
            source=due.standing.source,
            counterparty=self.counterparty,
            waived_by=due.standing.waiver.user if due.standing.waiver else "",
            waived_why=due.standing.waiver.reason if due.standing.waiver else "",
            version=self.version,
        )

    def _value(self) -> Decimal:
        """Return what the transaction is worth: the flow's amount, else the largest that any stage names."""
        if self.flow.amount in self.amounts:
            return self.amounts[self.flow.amount]
        return max(self.amounts.values(), default=ZERO)

    def _reconciliation(self, rule: ReconciliationRule, match: Match) -> Reconciliation:
        sides = {"ordered": match.ordered, "received": match.received, "invoiced": match.invoiced}
        return Reconciliation(
            flow=self.flow.flow,
            anchor=self.anchor,
            rule=rule.name,
            line=match.line,
            item=match.item,
            status=match.status,
            reason=match.reason,
            quantities={name: side.quantity for name, side in sides.items() if side.quantity is not None},
            prices={name: price for name, side in sides.items() if (price := side.price)},
            amounts={name: side.value for name, side in sides.items() if side.value},
            difference=match.difference,
            currency=self.currency,
            window_ends_at=match.window_ends_at,
            rule_version=self.flow.version,
            version=self.version,
        )

    def _late(self) -> Iterable[ExceptionRow]:
        for due in self.due:
            waiver = due.standing.waiver
            if waiver is not None and waiver.at < due.due_at:
                waiver = None  # it was never late
            if waiver is None and due.state not in (DeadlineState.BREACHED, DeadlineState.MET_LATE):
                continue
            about = f" for {due.rule.per} {due.subject}" if due.subject else ""
            target = self._title(due.rule.to)
            ended = f"was waived by {waiver.user}" if waiver else "came late" if due.met_at else "has not come"
            yield self._exception(
                kind="deadline",
                rule=due.rule.name,
                subject=due.subject,
                reason="late" if due.met_at else "missing",
                severity=due.rule.severity,
                opened_at=due.due_at,
                resolved_at=waiver.at if waiver else due.met_at,
                amount=self.value,
                detail=f"{target}{about} was due {due.limit} and {ended}.",
                member=due.created_by,
            )

    def _unmatched(self) -> Iterable[ExceptionRow]:
        """Yield one row per line: the exception that is open, else the last one that a later document healed."""
        rows: dict[tuple[str, str], ExceptionRow] = {}
        for rule, sides in self.sides:
            for match, resolved_at in healed(self.flow, rule, *sides, self.now):
                rows[rule.name, match.line] = self._mismatch(rule, match, resolved_at)
        for rule, match in self.matches:
            if match.status is MatchStatus.EXCEPTION:
                rows[rule.name, match.line] = self._mismatch(rule, match, None)
        return rows.values()

    def _mismatch(self, rule: ReconciliationRule, match: Match, resolved_at: datetime | None) -> ExceptionRow:
        assert match.decided_at is not None
        words = match.reason.replace("_", " ")
        return self._exception(
            kind="match",
            rule=rule.name,
            subject=match.line,
            reason=match.reason,
            severity=rule.severity,
            opened_at=match.decided_at,
            resolved_at=resolved_at,
            amount=abs(match.difference),
            detail=f"Line {match.line}: {words} of {abs(match.difference):.2f} {self.currency}".rstrip() + ".",
        )

    def _refused(self) -> Iterable[ExceptionRow]:
        """A document that a partner refused stays open until it is accepted after all, or the order is cancelled."""
        for member in self._first_of("rejected"):
            step = member.step
            yield self._exception(
                kind="rejected",
                rule=step.step,
                subject="",
                reason=step.reason or "rejected",
                severity="page",
                opened_at=step.at,
                resolved_at=self._healed(step),
                amount=self.value,
                detail=f"{self._title(step.stage) or step.step} was rejected by {step.system}.",
                member=member,
            )

    def _failed(self) -> Iterable[ExceptionRow]:
        """A failed attempt stays open until the same step succeeds."""
        for member in self._first_of("failed"):
            step = member.step
            yield self._exception(
                kind="failed",
                rule=step.step,
                subject="",
                reason=step.reason or "failed",
                severity="warning",
                opened_at=step.at,
                resolved_at=self._healed(step),
                amount=self.value,
                detail=f"{self._title(step.stage) or step.step} failed in {step.system}.",
                member=member,
            )

    def _first_of(self, what: str) -> Iterable[Member]:
        """Yield the first failed, or the first rejected, step of each step code."""
        seen: set[str] = set()
        for member in self.members:
            step = member.step
            hit = step.failed if what == "failed" else not step.failed and step.outcome == "rejected"
            if hit and step.step not in seen:
                seen.add(step.step)
                yield member

    def _healed(self, step: Step) -> datetime | None:
        """Return when the same step succeeded later, or the transaction was cancelled."""
        later = [
            member.step.at
            for member in self.members
            if member.step.step == step.step
            and member.step.at >= step.at
            and not member.step.failed
            and member.step.outcome not in ("rejected", "duplicate")
        ]
        if self.cancelled is not None:
            later.append(max(self.cancelled, step.at))
        return min(later, default=None)

    def _exception(
        self,
        *,
        kind: str,
        rule: str,
        subject: str,
        reason: str,
        severity: str,
        opened_at: datetime,
        resolved_at: datetime | None,
        amount: Decimal,
        detail: str,
        member: Member | None = None,
    ) -> ExceptionRow:
        return ExceptionRow(
            flow=self.flow.flow,
            anchor=self.anchor,
            kind=kind,
            rule=rule,
            subject=subject,
            reason=reason,
            severity=severity,
            opened_at=opened_at,
            resolved_at=resolved_at,
            amount=amount,
            currency=self.currency,
            detail=detail,
            system=member.step.system if member else "",
            counterparty=self.counterparty,
            batch=self._batch(member) if member else "",
            version=self.version,
        )

    def _batch(self, member: Member) -> str:
        """Return what the document of a step travelled in together with others."""
        if self.flow.batch is None:
            return ""
        return next((key.value for key in member.step.keys if key.type == self.flow.batch), "")

    def _title(self, stage: str) -> str:
        known = self.flow.stage_by_name.get(stage)
        return (known.title or known.name) if known else ""

    # the transaction itself

    def _transaction(self, exceptions: Sequence[ExceptionRow]) -> Transaction:
        breached = [due for due in self.due if due.state is DeadlineState.BREACHED]
        running = [due.due_at for due in self.due if due.state in _RUNNING]
        still_open = sum(due.state in _OPEN for due in self.due)
        open_other = [row for row in exceptions if row.resolved_at is None and row.kind != "deadline"]
        stages = self._stages()
        return Transaction(
            flow=self.flow.flow,
            anchor=self.anchor,
            flow_version=self.flow.version,
            state=self._state(bool(breached), bool(open_other), bool(still_open)),
            started_at=self.members[0].step.at,
            last_step_at=max(member.step.at for member in self.members),
            stage=stages[-1].name if stages else "",
            stages=tuple(stage.name for stage in stages),
            systems=tuple(dict.fromkeys(member.step.system for member in self.members)),
            steps=len(self.members),
            keys=self._keys(),
            context=self.context,
            amount=self.amounts.get(self.flow.amount) if self.flow.amount else None,
            currency=self.currency,
            amounts=self.amounts,
            at_stake=self._at_stake(bool(breached), open_other),
            open_deadlines=still_open,
            breached_deadlines=len(breached),
            next_due_at=min(running, default=None),
            open_exceptions=len(open_other) + len(breached),
            evaluate_at=self._evaluate_at(),
            attributed_steps=sum(bool(member.step.actor) for member in self.members),
            human_steps=sum(member.step.actor == "human" for member in self.members),
            version=self.version,
        )

    def _stages(self) -> list[Stage]:
        names = {member.step.stage for member in self.reached}
        return [stage for stage in self.flow.stages if stage.name in names]

    def _state(self, breached: bool, exceptional: bool, waits: bool) -> TransactionState:
        if breached:
            return TransactionState.BREACHED
        if exceptional:
            return TransactionState.EXCEPTION
        final = any(self.flow.stage_by_name[member.step.stage].final for member in self.reached)
        settled = all(match.status in CLOSED for _, match in self.matches)
        if (final or self.cancelled is not None) and not waits and settled:
            return TransactionState.COMPLETED
        return TransactionState.IN_PROGRESS

    def _at_stake(self, breached: bool, open_other: Sequence[ExceptionRow]) -> Decimal:
        """Return the whole amount when late or refused, else the money that does not add up."""
        if breached or any(row.kind != "match" for row in open_other):
            return self.value
        return sum((row.amount for row in open_other), ZERO)

    def _evaluate_at(self) -> datetime | None:
        """Return when time alone changes the verdict next."""
        windows = (match.window_ends_at for _, match in self.matches)
        turns = (due.standing.turns_at for due in self.due)
        ahead = [at for at in (*turns, *windows) if at is not None and at > self.now]
        return min(ahead, default=None)

    def _keys(self) -> tuple[Key, ...]:
        """Return the keys of the steps, without other transactions' anchors on shared documents."""
        first = self.flow.anchors[0]
        keys = dict.fromkeys(
            key
            for member in self.members
            for key in (*member.step.keys, *member.membership.through)
            if key.type != first or self._is_anchor(key)
        )
        return tuple(sorted(keys))[:KEYS_KEPT]

    def _context(self) -> dict[str, str]:
        context: dict[str, str] = {}
        for member in self.members:
            for name, said in member.step.context.items():
                context.setdefault(name, said)  # the first that says something
        return context
