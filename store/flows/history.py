"""What became known of transactions, and when: the difference between two verdicts. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from controltower.store.flows.neighbourhood import Known
from controltower.store.flows.transaction import Verdict
from controltower.store.rows import (
    GONE,
    Change,
    Deadline,
    DeadlineState,
    ExceptionRow,
    Key,
    MatchStatus,
    Reconciliation,
    Transaction,
)

# Verdicts that say "wait": the first time they stand there nothing became known.
_WAITING = frozenset({DeadlineState.RUNNING.value, MatchStatus.PENDING.value})


def changes(verdicts: Iterable[Verdict], known: Known, now: datetime, version: int) -> list[Change]:
    """Return one change per transaction that differs from what is *known*: its state, stage, steps, money at stake, or the
    verdict on a deadline, a match or an exception. One that is no longer there is ``gone``."""
    before_rows = {row.anchor: row for row in known.transactions}
    before = _by_anchor(known.deadlines, known.reconciliations, known.exceptions)
    found, there = [], set()
    for verdict in verdicts:
        transaction = verdict.transaction
        there.add(transaction.anchor)
        after = _by_anchor(verdict.deadlines, verdict.reconciliations, verdict.exceptions)[transaction.anchor]
        differing = _differing(before[transaction.anchor], after)
        previous = before_rows.get(transaction.anchor)
        if differing or previous is None or _facts(previous) != _facts(transaction):
            found.append(_change(transaction, transaction.state, previous, differing, now, version))
    gone = (row for row in known.transactions if row.anchor not in there)
    found.extend(
        _change(replace(row, steps=0), GONE, row, _differing(before[row.anchor], {}), now, version) for row in gone
    )
    return found


def _facts(row: Transaction) -> tuple[object, ...]:
    return row.state, row.stage, row.steps, row.at_stake, row.flow_version


def _change(
    row: Transaction, state: str, previous: Transaction | None, verdicts: dict[str, str], now: datetime, version: int
) -> Change:
    return Change(
        flow=row.flow,
        anchor=row.anchor,
        known_at=now,
        state=state,
        previous_state=previous.state if previous else "",
        stage=row.stage,
        steps=row.steps,
        at_stake=row.at_stake,
        flow_version=row.flow_version,
        verdicts=verdicts,
        version=version,
    )


def _differing(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    named = {name: after.get(name) or _withdrawn(name) for name in {*before, *after}}
    return {
        name: verdict
        for name, verdict in sorted(named.items())
        if verdict != before.get(name) and (name in before or verdict not in _WAITING)
    }


def _withdrawn(name: str) -> str:
    """An exception that never was, as we know now, is retracted; another verdict is about nothing any more."""
    return "retracted" if name.startswith("exception: ") else "withdrawn"


def _by_anchor(
    deadlines: Iterable[Deadline], matches: Iterable[Reconciliation], exceptions: Iterable[ExceptionRow]
) -> dict[Key, dict[str, str]]:
    found: dict[Key, dict[str, str]] = defaultdict(dict)
    for due in deadlines:
        found[due.anchor][" ".join(filter(None, ("deadline:", due.rule, due.subject)))] = due.state.value
    for match in matches:
        reason = f" ({match.reason})" if match.reason else ""
        found[match.anchor][f"match: {match.rule} line {match.line}"] = match.status.value + reason
    for row in exceptions:
        if row.kind != "deadline":  # the deadline says it
            name = " ".join(filter(None, ("exception:", row.kind, row.rule, row.subject)))
            found[row.anchor][name] = "open" if row.resolved_at is None else "resolved"
    return found
