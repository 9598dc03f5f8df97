"""One traced system: its provider, resource, queue and counters. A process usually has one; the demo has many."""

import atexit
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from controltower.tracer import attributes, propagation, values
from controltower.tracer.batch import Batch, BatchOptions
from controltower.tracer.configure import Options, Settings, resolve
from controltower.tracer.durable.limits import STORE_INTERVAL_S, DurableLimits
from controltower.tracer.exporter import (
    CUT,
    DROPPED,
    FAILED,
    SHED,
    Delivery,
    InheritKeys,
    fits_one_request,
    quieten_stock_exporter,
)
from controltower.tracer.guard import INTERNAL_ERRORS, Guard
from controltower.tracer.privacy import Privacy, without_command
from controltower.tracer.propagation import NO_KEYS, KeyRing, ring_in
from controltower.tracer.pseudonyms import Pseudonyms
from controltower.tracer.step import KeyValues, Step, StepOptions

if TYPE_CHECKING:
    from controltower.tracer.durable.exporter import DurableExporter

SCOPE_NAME: Final = "controltower.tracer"
STAYED: Final = "keys_stayed"
EXIT_FLUSH_S: Final = 5.0  # what a program waits for the collector when it ends
# Documents with thousands of lines and payment runs with thousands of messages exist; the SDK's 128 would cut them off.
LIMITS: Final = {"max_events": 10_000, "max_links": 10_000, "max_span_attributes": 512, "max_event_attributes": 128}


@dataclass(frozen=True, slots=True)
class Health:
    """What became of the spans so far. Everything that was lost is counted in one of these."""

    exported: int  # acknowledged by the collector
    queued: int
    failed: int  # refused, or the collector was away longer than one export tries
    dropped: int  # the queue was full, or the program ended
    cut: int  # lines, links and attributes beyond the limits
    internal_errors: int  # failures of the tracer itself, kept from the host
    misuse: Mapping[str, int]  # values that could not be kept as they were, by kind
    shed: int = 0  # spans that are no steps, given up to leave room for steps
    retries: int = 0  # attempts to send that durable export makes again
    stored: int = 0  # on this machine's disk and not acknowledged yet, with durable export

    @property
    def lossless(self) -> bool:
        """Whether nothing was lost."""
        return not (self.failed or self.dropped or self.cut or self.internal_errors or self.shed)


class StepsAlways(Sampler):
    """Records every business step, and samples the other spans as the given sampler does."""

    def __init__(self, others: Sampler) -> None:
        self._others = others

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: "tuple[Link, ...] | list[Link] | None" = None,  # type: ignore[override]  # Sequence in the SDK
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide for one span."""
        if attributes and _STEP in attributes:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, _state_of(parent_context))
        return self._others.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Describe the sampler."""
        return f"StepsAlways({self._others.get_description()})"


_STEP: Final = attributes.STEP


def _state_of(context: Context | None) -> TraceState:
    return trace.get_current_span(context).get_span_context().trace_state


class System:
    """A tracer of its own: own service name, own queue, own traces.

    With ``own_traces`` (the default here; not for ``configure``) a step continues a trace of this system or one that
    came from another process, never the one that another ``System`` of this process has open.
    """

    clock: Callable[[], int] | None = None
    pseudonyms: Pseudonyms

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        clock: Callable[[], int] | None = None,
        id_generator: IdGenerator | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.clock = clock  # nanoseconds; the wall clock without one
        self.settings = settings or resolve(**options)
        self.guard = Guard(development=self.settings.mode == "development")
        given = self.settings
        self.pseudonyms = Pseudonyms(given.redaction_key, self.guard, given.token_types, given.key_types)
        self.delivery = Delivery(
            _ExporterFactory(self.settings, self.guard),
            self.guard,
            queue_size=self.settings.queue_size,
            batch_size=self.settings.batch_size,
            interval_s=store_interval_s(self.settings),
            when_full=self.settings.when_full,
            clean=Privacy(self.pseudonyms).clean,
            fits=fits_one_request if self.settings.exporter is None else lambda _: True,
        )
        if self.settings.durable is not None:
            self._durable().take_over()
        self.provider = TracerProvider(
            resource=without_command(
                Resource.create({**self.settings.resource, "service.name": self.settings.service})
            ),
            shutdown_on_exit=False,
            span_limits=SpanLimits(**LIMITS),
            id_generator=id_generator,
        )
        self.provider.sampler = StepsAlways(self.provider.sampler)
        self.provider.add_span_processor(InheritKeys(self.guard))
        self.provider.add_span_processor(self.delivery)
        atexit.register(self.shutdown)  # until shutdown: a system that nobody holds any more still has steps to send

    # -- steps

    def step(self, code: str, **options: Unpack[StepOptions]) -> Step:
        """Return a step to open with ``with``, or to decorate a function with."""
        return Step(self, code, options)

    def batch(self, name: str, **options: Unpack[BatchOptions]) -> Batch:
        """Return a run of a job; open it with ``with``."""
        return Batch(self, name, options)

    @contextmanager
    def keys(self, given: Mapping[str, KeyValues] | None = None, /, **more: KeyValues) -> Iterator[None]:
        """Give keys to every span that starts inside, here and, by the allow-list, in the services called."""
        ring = NO_KEYS
        with self.guard.around("keys"):
            ring = self._ring_with(given, more)
        with propagation.ring_attached(ring):
            yield

    def keys_for(self, host: str) -> frozenset[str]:
        """Return the types of keys that may be sent to *host*; keys that stay for want of a list of hosts are counted."""
        if self.settings.may_receive_keys(host):
            return self.settings.propagate_keys
        if self.settings.propagate_hosts is None and not self.settings.propagate_keys.isdisjoint(ring_in().keys):
            self.guard.count(STAYED)
            self.guard.warn(
                STAYED,
                "keys stay here: a request or message goes to a host of another network; list in propagate_hosts who may have them",
            )
        return frozenset()

    def inject(self, carrier: MutableMapping[str, str]) -> None:
        """Write trace context and keys into the headers of a message that is about to be sent."""
        with self.guard.around("inject"):
            propagation.inject(carrier, self.settings.propagate_keys)

    def environment(self) -> dict[str, str]:
        """Return the variables that carry trace context and keys to a process that is started here."""
        with self.guard.around("environment"):
            return propagation.environment(self.settings.propagate_keys)
        return {}

    @contextmanager
    def received(self, carrier: Mapping[str, str]) -> Iterator[SpanContext | None]:
        """Take the keys from a message's headers for what happens inside; give the sender's span, to link to."""
        sender, ring = None, NO_KEYS
        with self.guard.around("received"):
            sender, ring = propagation.extract(carrier, self.settings.propagate_keys)
            ring = ring_in().below(ring.keys, ring.scopes, None)
        with propagation.ring_attached(ring):
            yield sender if sender is not None and sender.is_valid else None

    # -- delivery

    def flush(self, timeout_s: float = 10.0, *, to_disk: bool = False) -> bool:
        """Send everything now; return whether all of it, and all since the last flush, was acknowledged in time.

        With *to_disk* and durable export it is enough that it is on this machine's disk.
        """
        with self.guard.around("flush"):
            return self.delivery.flush(timeout_s, to_disk=to_disk)
        return False

    def shutdown(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """Send the rest, then stop; later steps cost nothing and are counted as dropped. Can be called twice."""
        with self.guard.around("shutdown"):
            atexit.unregister(self.shutdown)
            return self.delivery.close(timeout_s)
        return False

    def health(self) -> Health:
        """Return the counters."""
        counts = self.guard.counts()
        own = (DROPPED, FAILED, CUT, INTERNAL_ERRORS, SHED)
        dropped, failed, cut, internal_errors, shed = (counts.pop(kind, 0) for kind in own)
        known = Health(
            self.delivery.exported, self.delivery.queued, failed, dropped, cut, internal_errors, counts, shed
        )
        if self.settings.durable is None:
            return known
        kept = self._durable().kept
        return replace(known, exported=kept.acknowledged, retries=kept.retries, stored=kept.stored)

    # -- for the tracer's other modules

    @cached_property
    def otel_tracer(self) -> trace.Tracer:
        """The OpenTelemetry tracer of this system."""
        return self.provider.get_tracer(SCOPE_NAME, _own_version())

    def current(self) -> "System":
        """Return the system that a decorated function's next step belongs to."""
        return self

    def parent(self) -> tuple[Context | None, KeyRing]:
        """Return the context that a new step starts in, and the keys that it inherits."""
        if not self.settings.own_traces:
            return None, ring_in()
        above = trace.get_current_span()
        context = above.get_span_context()
        if not context.is_valid or context.is_remote or getattr(above, "resource", None) is self.provider.resource:
            return None, ring_in()
        return trace.set_span_in_context(trace.INVALID_SPAN, propagation.with_ring(NO_KEYS)), NO_KEYS

    def _ring_with(self, *given: object) -> KeyRing:
        found: dict[str, tuple[str, ...]] = {}
        for mapping in given:
            found.update(values.keys_of(mapping, self.guard.misuse))
        found = self.pseudonyms.keys(found, {}, self.guard.misuse)
        above = ring_in()
        return above.below(found, {}, above.step)

    def _durable(self) -> "DurableExporter":
        return cast("DurableExporter", self.delivery.exporter)


class _ExporterFactory:
    """Makes the exporter that the settings ask for, again in every forked child."""

    def __init__(self, settings: Settings, guard: Guard) -> None:
        self._settings = settings
        self._guard = guard

    def __call__(self) -> SpanExporter:
        settings = self._settings
        if settings.exporter is not None:
            return settings.exporter
        # Imported here: it brings an HTTP client and protobuf, which a System with its own exporter does not need.
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        if settings.durable is not None:
            return _durable_exporter(settings, settings.durable, self._guard)
        quieten_stock_exporter()
        token = settings.token
        return OTLPSpanExporter(
            endpoint=settings.endpoint,
            headers={"Authorization": f"Bearer {token}"} if token else None,
            timeout=settings.timeout_s,
            compression=Compression(settings.compression),
        )


def _durable_exporter(settings: Settings, folder: Path, guard: Guard) -> "DurableExporter":
    from controltower.tracer.durable.exporter import DurableExporter
    from controltower.tracer.durable.sending import Sender

    limits = DurableLimits(
        budget_bytes=settings.durable_bytes,
        reserve_bytes=settings.durable_reserve_bytes,
        interval_s=max(0.0, settings.interval_s - store_interval_s(settings)),
    )
    return DurableExporter(folder, settings.service, lambda: Sender(settings), guard, limits)


def store_interval_s(settings: Settings) -> float:
    """Return the longest wait before a span is given to the exporter: with durable export, to the disk."""
    return settings.interval_s if settings.durable is None else min(settings.interval_s, STORE_INTERVAL_S)


def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # it brings forty modules: email, zipfile, csv

    try:
        return version("controltower")
    except PackageNotFoundError:
        return "unknown"
