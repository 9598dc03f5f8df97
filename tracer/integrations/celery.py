"""Celery: spans by OpenTelemetry's instrumentation, the run linked to its sender; ours adds the keys and the wait."""

from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace

from controltower.tracer import propagation
from controltower.tracer.integrations.messaging import (
    READ,
    SENT_AT,
    Arrival,
    Place,
    Used,
    now_ns,
    read_headers,
    sender_of,
)
from controltower.tracer.integrations.opentelemetry import turn_on
from controltower.tracer.integrations.patches import Patches

SYSTEM: Final = "celery"
RESTORED: Final = "_controltower_restored"


def hook(patches: Patches, used: Used) -> None:
    """Trace the tasks that this process sends and runs."""
    from celery import signals
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    keys = _Keys(used)
    # Receivers are called in the order in which they were connected: the keys are there before OpenTelemetry's span
    # starts, its facts are set while it is current, and they leave after it.
    _connect(patches, signals.task_prerun, keys.restore)
    turn_on(patches, CeleryInstrumentor(), used, use_span_links=True)
    _connect(patches, signals.before_task_publish, keys.write)
    _connect(patches, signals.task_prerun, keys.describe)
    _connect(patches, signals.task_postrun, keys.leave)


def _connect(patches: Patches, signal: Any, receiver: Callable[..., None]) -> None:
    signal.connect(receiver, weak=False)
    patches.later(lambda: signal.disconnect(receiver))


class _Keys:
    def __init__(self, used: Used) -> None:
        self._used = used

    def write(self, headers: Any = None, **_: Any) -> None:
        """Put the keys and the time into the message of a task; keys have no host to ask about: they go to the broker."""
        system = self._used()
        with system.guard.around("Celery hook"):
            if headers is None:
                return
            allowed = system.settings.propagate_keys if system.settings.propagate_hosts is None else frozenset[str]()
            former = headers.get(propagation.BAGGAGE_HEADER)
            if baggage := propagation.merge_baggage(former, propagation.ring_in(), allowed):
                headers[propagation.BAGGAGE_HEADER] = baggage
            elif former is not None:
                del headers[propagation.BAGGAGE_HEADER]
            headers[SENT_AT] = str(now_ns(system) // 1_000_000)

    def restore(self, task: Any = None, **_: Any) -> None:
        """Let the sender's keys hold for the run of a task."""
        system = self._used()
        with system.guard.around("Celery hook"):
            ring = sender_of(_arrival(task), system)[1]
            setattr(
                task.request,
                RESTORED,
                propagation.attach_ring(propagation.ring_in().below(ring.keys, ring.scopes, None)),
            )

    def describe(self, task: Any = None, **_: Any) -> None:
        """Say on the span of the run how its message arrived."""
        system = self._used()
        with system.guard.around("Celery hook"):
            trace.get_current_span().set_attributes(_arrival(task).facts(now_ns(system)))

    def leave(self, task: Any = None, **_: Any) -> None:
        """Take the keys off again."""
        with self._used().guard.around("Celery hook"):
            if (token := getattr(task.request, RESTORED, None)) is not None:
                setattr(task.request, RESTORED, None)
                otel_context.detach(token)


def _arrival(task: Any) -> Arrival:
    request = task.request
    delivery = request.delivery_info or {}
    return Arrival(
        Place(SYSTEM, delivery.get("routing_key") or ""),
        read_headers((name, getattr(request, name, None)) for name in READ),
        message_id=request.id,
        redelivered=bool(delivery.get("redelivered")),
        delivery_count=(request.retries or 0) + 1,
    )
