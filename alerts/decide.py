"""From what was decided before and what is seen now to a decision; pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from controltower.alerts.evaluate import Condition, dedup_key, evaluate, notification_id
from controltower.alerts.rules import severity_rank
from controltower.store.alert_rows import Alert, AlertState
from controltower.store.rows import ExceptionRow

OPEN = (AlertState.FIRING, AlertState.HISTORIC)


class Reason(StrEnum):
    """Why a decision was taken; stored, shown and sent."""

    FIRST = "first"  # an episode begins
    MORE = "more"  # it became more severe
    REPEAT = "repeat"  # still open, told again
    RESOLVED = "resolved"  # what was missing arrived after all, or a person settled it
    RETRACTED = "retracted"  # a correction took the exception back
    HISTORIC = "historic"  # opened too long ago to tell anyone
    SHARED = "shared"  # several have one cause, and an alert of its own tells of that
    NONE = "none"  # nothing to decide


@dataclass(frozen=True, slots=True)
class Policy:
    """What decisions depend on beside the rows."""

    now: datetime
    max_age: timedelta
    announce: bool  # somebody is there to be told
    least: int = 0  # so many exceptions with one cause are told as one; 0 never


@dataclass(frozen=True, slots=True)
class Decision:
    """A reason, the alert as it is from now on (nothing when nothing is to be kept), and whether somebody is told."""

    reason: Reason
    alert: Alert | None = None

    @property
    def notifies(self) -> bool:
        """Whether a notification follows."""
        return self.reason is not Reason.NONE and self.alert is not None and bool(self.alert.notification_id)


NOTHING = Decision(Reason.NONE)


def decide(before: Alert | None, row: ExceptionRow, policy: Policy) -> Decision:
    """Decide about the exception *row*, of which *before* was known. The same row twice decides nothing the second time."""
    if before is not None and row.version < before.exception_version:
        return NOTHING  # an older row than the one decided about
    condition = evaluate(row)
    if before is None or before.state not in OPEN:
        return _begin(before, row, policy) if condition is Condition.FIRING else NOTHING
    if condition is not Condition.FIRING:
        return _end(before, row, condition, policy)
    if before.state is AlertState.HISTORIC and row.opened_at > before.opened_at and not _is_old(row, policy):
        return _begin(before, row, policy)
    worse = severity_rank(row.severity) > severity_rank(before.announced_severity)
    if worse and before.state is AlertState.FIRING and not before.cause:
        return _tell(_follow(before, row), Reason.MORE, policy)
    followed = _follow(before, row)
    return Decision(Reason.NONE, followed) if followed != before else NOTHING


def repeat(alert: Alert, policy: Policy) -> Decision:
    """Tell an open alert again."""
    return _tell(alert, Reason.REPEAT, policy)


def _begin(before: Alert | None, row: ExceptionRow, policy: Policy) -> Decision:
    begun = _follow(before, row) if before else _unseen(row, policy)
    begun = replace(
        begun,
        episode=begun.episode + 1,
        announced=False,
        announced_severity="",
        cause="",
        first_seen_at=policy.now,
        exception_version=row.version,
    )
    if _is_old(row, policy):
        return Decision(Reason.HISTORIC, _decided(begun, AlertState.HISTORIC, Reason.HISTORIC, policy))
    return _tell(replace(begun, state=AlertState.FIRING), Reason.FIRST, policy)


def _end(before: Alert, row: ExceptionRow, condition: Condition, policy: Policy) -> Decision:
    reason, state = Reason(condition.value), AlertState(condition.value)
    followed = replace(_follow(before, row), resolved_at=row.resolved_at or policy.now, exception_version=row.version)
    ended = _decided(followed, state, reason, policy)
    return Decision(reason, _numbered(ended) if before.announced and policy.announce else ended)


def _tell(alert: Alert, reason: Reason, policy: Policy) -> Decision:
    told = replace(_decided(alert, AlertState.FIRING, reason, policy), announced_severity=alert.severity)
    if not policy.announce:
        return Decision(reason, told)
    return Decision(reason, _numbered(replace(told, announced=True)))


def _numbered(alert: Alert) -> Alert:
    sequence = alert.sequence + 1
    return replace(alert, sequence=sequence, notification_id=notification_id(alert.dedup_key, sequence))


def _decided(alert: Alert, state: AlertState, reason: Reason, policy: Policy) -> Alert:
    return replace(
        alert, state=state, decision=reason.value, decided_at=policy.now, notification_id="", version=alert.version + 1
    )


def _follow(before: Alert, row: ExceptionRow) -> Alert:
    """Return *before* with what *row* says; one version further when that differs."""
    followed = replace(
        before,
        reason=row.reason,
        severity=row.severity,
        amount=row.amount,
        currency=row.currency,
        detail=row.detail,
        system=row.system,
        counterparty=row.counterparty,
        batch=row.batch,
        opened_at=row.opened_at,
        resolved_at=row.resolved_at,
    )
    if followed == before:
        return before
    return replace(followed, exception_version=row.version, version=before.version + 1)


def _unseen(row: ExceptionRow, policy: Policy) -> Alert:
    return Alert(
        dedup_key=dedup_key(row),
        flow=row.flow,
        anchor=row.anchor,
        kind=row.kind,
        rule=row.rule,
        subject=row.subject,
        state=AlertState.FIRING,
        decision=Reason.NONE.value,
        episode=0,
        sequence=0,
        announced=False,
        announced_severity="",
        notification_id="",
        reason=row.reason,
        severity=row.severity,
        amount=row.amount,
        currency=row.currency,
        detail=row.detail,
        opened_at=row.opened_at,
        resolved_at=row.resolved_at,
        first_seen_at=policy.now,
        decided_at=policy.now,
        exception_version=row.version,
        system=row.system,
        counterparty=row.counterparty,
        batch=row.batch,
    )


def _is_old(row: ExceptionRow, policy: Policy) -> bool:
    return policy.now - row.opened_at > policy.max_age
