"""The life of a notification in the outbox: decided, tried, sent or given up; pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from controltower.alerts.notify import Outcome, next_attempt_at
from controltower.alerts.payload import build, event
from controltower.alerts.rules import severity_rank
from controltower.store.alert_rows import Alert, Delivery, DeliveryState
from controltower.store.outbox import EXPIRES_AFTER

ERROR_LIMIT: Final = 500  # characters


def enqueue(alert: Alert, channel: str, dashboard_url: str) -> Delivery:
    """Return the notification of the alert's last decision; the same decision gives the same row."""
    return Delivery(
        id=alert.notification_id,
        channel=channel,
        dedup_key=alert.dedup_key,
        sequence=alert.sequence,
        event=event(alert),
        decision=alert.decision,
        severity=alert.severity,
        severity_rank=severity_rank(alert.severity),
        amount=abs(alert.amount),
        body=build(alert, dashboard_url),
        state=DeliveryState.PENDING,
        attempt=0,
        next_attempt_at=alert.decided_at,
        last_error="",
        response_status=None,
        created_at=alert.decided_at,
        updated_at=alert.decided_at,
        sent_at=None,
        version=1,
    )


def after_attempt(delivery: Delivery, outcome: Outcome, now: datetime) -> Delivery:
    """Return what an attempt made of *delivery*."""
    tried = replace(
        delivery,
        attempt=delivery.attempt + 1,
        response_status=outcome.status,
        last_error=outcome.error[:ERROR_LIMIT],
        updated_at=now,
        version=delivery.version + 1,
    )
    if outcome.delivered:
        return replace(tried, state=DeliveryState.SENT, sent_at=now)
    again = None if outcome.gone else next_attempt_at(tried.attempt, now, outcome.retry_after)
    if again is None:
        return replace(tried, state=DeliveryState.DEAD)
    return replace(tried, next_attempt_at=again)


def given_up(delivery: Delivery, now: datetime) -> Delivery:
    """Return *delivery* as one that waited too long."""
    days = EXPIRES_AFTER // timedelta(days=1)
    why = f"Not delivered within {days} days" + (f"; {delivery.last_error}" if delivery.last_error else ".")
    return replace(
        delivery,
        state=DeliveryState.DEAD,
        last_error=why[:ERROR_LIMIT],
        updated_at=now,
        version=delivery.version + 1,
    )
