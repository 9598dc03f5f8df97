"""Celery: spans by OpenTelemetry's instrumentation, the run linked to its sender; ours adds the keys and the wait."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import context as otel_context
from opentelemetry import trace

from controltower.tracer import propagation
from controltower.tracer.integrations.arrival import READ, SENT_AT, Arrival, read_headers, sender_of
from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import turn_on
from controltower.tracer.integrations.patches import Function, Patches
from controltower.tracer.integrations.place import Place
from controltower.tracer.integrations.spans import now_ns

SYSTEM: Final = "celery"
UNKNOWN: Final = ("",)
HERE: Final = frozenset(
    {"", "amqp", "pyamqp", "redis", "memory", "filesystem"}
)  # brokers on this machine without a host
RESTORED: Final = "_controltower_restored"


_hosts: ContextVar[tuple[str, ...]] = ContextVar("controltower-celery-hosts", default=UNKNOWN)


def hook(patches: Patches, used: Used) -> None:
    """Trace the tasks that this process sends and runs."""
    import celery
    from celery import signals
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    keys = _Keys(used)
    patches.method(celery.Celery, "send_task", keys.sent_by)
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

    def sent_by(self, original: Function) -> Function:
        """Note whose broker a task goes to: the signal does not say."""

        def send_task(app: Any, *arguments: Any, **named: Any) -> Any:
            hosts: tuple[str, ...] = UNKNOWN
            with self._used().guard.around("Celery hook"):
                hosts = hosts_of(app, named.get("producer") or named.get("publisher"), named.get("connection"))
            token = _hosts.set(hosts)
            try:
                return original(app, *arguments, **named)
            finally:
                _hosts.reset(token)

        return send_task

    def write(self, headers: Any = None, **_: Any) -> None:
        """Put the keys and the time into the message of a task."""
        system = self._used()
        with system.guard.around("Celery hook"):
            if headers is None:
                return
            allowed = frozenset.intersection(*(system.keys_for(host) for host in _hosts.get()))
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


def hosts_of(app: Any, producer: Any, connection: Any) -> tuple[str, ...]:
    """Return the hosts of the brokers that a task may go to, with those to fail over to; an empty name for an unknown one."""
    used = connection or getattr(producer, "connection", None)
    if used is not None:
        urls = used.alt or [used.as_uri()]
    else:
        given = app.conf.broker_write_url or app.conf.broker_url or ""
        urls = given.split(";") if isinstance(given, str) else list(given)
    return tuple(map(_host_of, urls)) or UNKNOWN


def _host_of(url: str) -> str:
    at = urlsplit(url)
    if at.scheme.endswith("socket"):
        return at.path
    return at.hostname or ("localhost" if at.scheme in HERE else "")


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
