"""Rows of what a resolution says of a step: where it belongs, where it belonged, or that it waits. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from controltower.store.flows.resolve import Resolution
from controltower.store.rows import ParkedStep, PastMembership, Step, TransactionStep


def past(row: TransactionStep, now: datetime, version: int) -> PastMembership:
    """Return *row* as it was known until now."""
    return PastMembership(
        flow=row.flow,
        anchor=row.anchor,
        trace_id=row.trace_id,
        span_id=row.span_id,
        stage=row.stage,
        evidence=row.evidence,
        via=row.via,
        through=row.through,
        anchors=row.anchors,
        known_at=row.known_at,
        known_until=now,
        version=version,
    )


def memberships(step: Step, resolution: Resolution, now: datetime, version: int) -> Iterable[TransactionStep]:
    """Yield the memberships that a resolution gives to *step*."""
    for membership in resolution.memberships:
        yield TransactionStep(
            flow=step.flow,
            anchor=membership.anchor,
            trace_id=step.trace_id,
            span_id=step.span_id,
            stage=step.stage,
            evidence=membership.evidence,
            via=membership.via,
            through=membership.through,
            anchors=len(resolution.memberships),
            known_at=now,
            version=version,
        )


def parking(step: Step, resolution: Resolution, before: ParkedStep | None, version: int) -> Iterable[ParkedStep]:
    """Yield what must be written of a step that is, or was, parked."""
    if resolution.parked is None:
        if before is not None:
            yield replace(before, is_deleted=True, version=version)
        return
    state, reason, candidates = resolution.parked
    now = ParkedStep(step.flow, step.trace_id, step.span_id, state, reason, candidates, version=version)
    if before is None or replace(before, version=version) != now:
        yield now


def differs(row: TransactionStep, before: TransactionStep | None) -> bool:
    """Whether a membership is not known as it is."""
    return before is None or replace(before, version=row.version, known_at=row.known_at) != row
