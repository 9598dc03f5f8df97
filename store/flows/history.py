"""What became known of transactions, and when: the difference between two verdicts. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from controltower.store.flows.neighbourhood import Known
from controltower.store.flows.transaction import Verdict
from controltower.store.rows import (
    Change,
    Deadline,
    DeadlineState,
    Key,
    MatchStatus,
    Reconciliation,
)

# Verdicts that say "wait": the first time they stand there nothing became known.
_WAITING = frozenset({DeadlineState.RUNNING.value, MatchStatus.PENDING.value})


def changes(verdicts: Iterable[Verdict], known: Known, now: datetime, version: int) -> list[Change]:
    """Return one change per transaction whose state, or verdict on a deadline or a match, differs from *known*."""
    before_states = {row.anchor: row.state for row in known.transactions}
    before = _by_anchor(known.deadlines, known.reconciliations)
    found = []
    for verdict in verdicts:
        transaction = verdict.transaction
        after = _by_anchor(verdict.deadlines, verdict.reconciliations)[transaction.anchor]
        differing = _differing(before[transaction.anchor], after)
        previous = before_states.get(transaction.anchor)
        if differing or previous != transaction.state:
            found.append(
                Change(
                    flow=transaction.flow,
                    anchor=transaction.anchor,
                    known_at=now,
                    state=transaction.state,
                    previous_state=previous or "",
                    stage=transaction.stage,
                    steps=transaction.steps,
                    at_stake=transaction.at_stake,
                    verdicts=differing,
                    version=version,
                )
            )
    return found


def _differing(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    named = {name: after.get(name, "withdrawn") for name in {*before, *after}}
    return {
        name: verdict
        for name, verdict in sorted(named.items())
        if verdict != before.get(name) and (name in before or verdict not in _WAITING)
    }


def _by_anchor(deadlines: Iterable[Deadline], matches: Iterable[Reconciliation]) -> dict[Key, dict[str, str]]:
    found: dict[Key, dict[str, str]] = defaultdict(dict)
    for due in deadlines:
        found[due.anchor][" ".join(filter(None, ("deadline:", due.rule, due.subject)))] = due.state.value
    for match in matches:
        reason = f" ({match.reason})" if match.reason else ""
        found[match.anchor][f"match: {match.rule} line {match.line}"] = match.status.value + reason
    return found
