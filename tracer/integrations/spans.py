"""Starting and ending the spans of hooks, by the system's clock."""

import time
from collections.abc import Mapping, Sequence

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESS_INSTRUMENTATION
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from controltower.tracer.integrations.place import Plain
from controltower.tracer.propagation import KeyRing
from controltower.tracer.step import ERROR_TYPE, type_name_of
from controltower.tracer.system import System


def start(
    system: System,
    kind: SpanKind,
    described: tuple[str, Mapping[str, Plain]],
    ring: KeyRing,
    found: Mapping[str, Plain],
    links: Sequence[Link] = (),
    context: Context | None = None,
) -> Span:
    """Start a span with what its place says of it, its keys, and what was found."""
    name, of_place = described
    return system.otel_tracer.start_span(
        name,
        context=context,
        kind=kind,
        attributes={**ring.span_attributes(), **of_place, **found},
        links=links,
        start_time=_reading(system),
    )


def finish(system: System, span: Span, error: BaseException | str | None) -> None:
    """End a span; of an exception its type is kept."""
    if error is not None and not isinstance(error, GeneratorExit):
        span.set_attribute(ERROR_TYPE, error if isinstance(error, str) else type_name_of(error))
        span.set_status(Status(StatusCode.ERROR))
    span.end(_reading(system))


def is_suppressed() -> bool:
    """Return whether the caller asked for no spans, as exporters do."""
    return bool(otel_context.get_value(SUPPRESS_INSTRUMENTATION))


def now_ns(system: System) -> int:
    """Return the time by the system's clock, in nanoseconds since 1970."""
    return time.time_ns() if system.clock is None else system.clock()


def _reading(system: System) -> int | None:
    return None if system.clock is None else system.clock()
