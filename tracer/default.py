"""The system of this process, and the functions that use it, so that a service needs one line to be set up."""

import logging
import os
import threading
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Unpack

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from controltower.tracer.batch import Batch, BatchOptions
from controltower.tracer.configure import Mode, Options, Settings, key_from, resolve
from controltower.tracer.ending import finish_at_sigterm
from controltower.tracer.errors import SettingError
from controltower.tracer.guard import Guard, under_pytest
from controltower.tracer.propagation import KeyRing, ring_in, started_by
from controltower.tracer.pseudonyms import Pseudonyms
from controltower.tracer.step import KeyValues, Step, StepOptions
from controltower.tracer.system import EXIT_FLUSH_S, SCOPE_NAME, Health, System

logger = logging.getLogger("controltower.tracer")

NOT_CONFIGURED = "not_configured"
NO_STEP = "no_current_step"


class HostSystem(System):
    """What is used before ``configure``: the OpenTelemetry set-up of the host, if it has one."""

    def __init__(self) -> None:
        mode: Mode = "development" if under_pytest() else "production"
        self.settings = Settings(service="", endpoint="", mode=mode, own_traces=False)
        self.guard = Guard(development=mode == "development")

    @cached_property
    def pseudonyms(self) -> Pseudonyms:  # type: ignore[override]  # made when it is asked for: this is a module's global
        """Tokens by the variables alone; a bad key is none, which is counted and logged."""
        try:
            return Pseudonyms(key_from(None, os.environ), self.guard)
        except SettingError as error:
            self.guard.note("bad_redaction_key", str(error))
            return Pseudonyms((), self.guard)

    @cached_property
    def otel_tracer(self) -> trace.Tracer:
        """The tracer of the host's global provider; it sends nothing when there is none."""
        return trace.get_tracer(SCOPE_NAME)

    def current(self) -> System:
        """Return the configured system: functions are decorated at import, before ``configure`` runs."""
        return system()

    def flush(self, timeout_s: float = 10.0, *, to_disk: bool = False) -> bool:
        """Return ``False``: nothing is known of what the host's own provider sent."""
        self.guard.count(NOT_CONFIGURED)
        self.guard.warn(NOT_CONFIGURED, "steps are not sent: call tracer.configure(service=..., endpoint=...) first")
        return False

    def shutdown(self, timeout_s: float = 0.0) -> bool:
        """Return ``True``: there is nothing to stop."""
        return True

    def health(self) -> Health:
        """Return the counters of misuse; the others are unknown and 0."""
        return Health(0, 0, 0, 0, 0, 0, self.guard.counts())


class ProcessSystem(System):
    """The system that ``configure`` made. What has no span above it continues the trace of who started the process."""

    def __init__(self, *, settings: Settings) -> None:
        super().__init__(settings=settings)
        self._above, self._ring_above = started_by(os.environ, settings.propagate_keys)

    def parent(self) -> tuple[Context | None, KeyRing]:
        """Return the context that a new step starts in, and the keys that it inherits."""
        above, ring = super().parent()
        if trace.get_current_span(above).get_span_context().is_valid:
            return above, ring
        if self._ring_above.keys:
            ring = self._ring_above.below(ring.keys, ring.scopes, None)
        return (above if self._above is None else self._above), ring

    def current(self) -> System:
        """Return the system configured last."""
        return system()


class _Holder:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.system: System = HostSystem()


_holder = _Holder()


def system() -> System:
    """Return the system of this process."""
    return _holder.system


def configure(**options: Unpack[Options]) -> System:
    """Set the tracer of this process up; called again, it flushes and replaces the former one.

    Arguments stand before ``CONTROLTOWER_*`` and ``OTEL_*`` variables, these before defaults. The only call here that
    raises: ``SettingError`` with the name of the setting. Becomes OpenTelemetry's global provider if there is none, so
    that the spans of instrumented libraries carry the keys of the step around them. SIGTERM, unless the host handles it,
    ends the process when the rest is sent, or after five seconds.
    """
    options.setdefault("own_traces", False)
    new = ProcessSystem(settings=resolve(**options))
    former = install(new)
    finish_at_sigterm(shutdown, EXIT_FLUSH_S)
    if isinstance(former, ProcessSystem):
        return new  # the provider that libraries hold passes their spans on
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(new.provider)
    else:
        logger.info("OpenTelemetry has another provider: steps are sent, spans of libraries stay with that one")
    return new


def install(new: System, *, stop_former: bool = True) -> System:
    """Make *new* the system of this process and return the former one."""
    with _holder.lock:
        former, _holder.system = _holder.system, new
    if stop_former:
        if isinstance(former, ProcessSystem) and isinstance(new, ProcessSystem):
            former.delivery.hand_over(new.delivery)
        former.shutdown()
    return former


def step(code: str, **options: Unpack[StepOptions]) -> Step:
    """Return a business step: ``with tracer.step("p2p.invoice.posted", keys={"invoice": "I-1"}) as step:``.

    Also a decorator of functions, coroutines and generators. See ``StepOptions`` for what it takes.
    """
    return _holder.system.step(code, **options)


def current_step() -> Step:
    """Return the step that is open around the caller; without one, a step that goes nowhere, which is counted.

    A new thread starts without a step: give it ``tracer.carry(function)``.
    """
    found = ring_in().step
    if found is not None:
        return found
    used = _holder.system
    used.guard.count(NO_STEP)
    used.guard.warn(NO_STEP, "current_step() found no open step; use tracer.carry(function) for threads and executors")
    return Step(used, "none.none.none", {})


def batch(name: str, **options: Unpack[BatchOptions]) -> Batch:
    """Return a run of a job: ``with tracer.batch("nightly-invoice-load", expected=120) as run:``."""
    return _holder.system.batch(name, **options)


def keys(given: Mapping[str, KeyValues] | None = None, /, **more: KeyValues) -> AbstractContextManager[None]:
    """Give keys to every span that starts inside: ``with tracer.keys(purchase_order="PO-1"):``."""
    return _holder.system.keys(given, **more)


def inject(carrier: MutableMapping[str, str]) -> None:
    """Write trace context and keys into the headers of a message that is about to be sent."""
    _holder.system.inject(carrier)


def environment() -> dict[str, str]:
    """Return variables for a process that is started here, whose steps then continue this trace: ``env={**os.environ, ...}``."""
    return _holder.system.environment()


def received(carrier: Mapping[str, str]) -> AbstractContextManager[SpanContext | None]:
    """Take the keys from a message's headers for what happens inside; give the sender's span, to link to."""
    return _holder.system.received(carrier)


def flush(timeout_s: float = 10.0, *, to_disk: bool = False) -> bool:
    """Send everything now; return whether all of it, and all since the last flush, was acknowledged in time.

    With *to_disk* and durable export it is enough that it is on this machine's disk.
    """
    return _holder.system.flush(timeout_s, to_disk=to_disk)


def shutdown(timeout_s: float = 5.0) -> bool:
    """Send the rest, then stop; a later ``configure`` starts anew."""
    return _holder.system.shutdown(timeout_s)


def health() -> Health:
    """Return the counters: exported, queued, stored, failed, dropped, shed, cut, internal errors, misuse by kind."""
    return _holder.system.health()
