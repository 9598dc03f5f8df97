"""OpenTelemetry's own instrumentations, turned on for the system that is configured when a span starts."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider
from opentelemetry.util.types import Attributes

from controltower.tracer.errors import MissingExtraError
from controltower.tracer.integrations.patches import Patches
from controltower.tracer.system import System


class CurrentProvider(TracerProvider):
    """Gives tracers that ask for the system at each span, so that a hook can be turned on before ``configure``."""

    def __init__(self, used: Callable[[], System]) -> None:
        self._used = used

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """Return a tracer for one instrumentation."""
        named = (instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        return _CurrentTracer(self._used, named)


class _CurrentTracer(Tracer):
    def __init__(self, used: Callable[[], System], named: tuple[str, str | None, str | None, Attributes]) -> None:
        self._used = used
        self._named = named
        self._found: tuple[TracerProvider, Tracer] | None = None

    def _tracer(self) -> Tracer:
        provider = getattr(self._used(), "provider", None) or trace.get_tracer_provider()
        if self._found is None or self._found[0] is not provider:
            self._found = provider, provider.get_tracer(*self._named)
        return self._found[1]

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span of the system that is configured now."""
        return self._tracer().start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )

    def start_as_current_span(self, *arguments: Any, **named: Any) -> AbstractContextManager[Span]:  # type: ignore[override]  # passed on as they are
        """Start a span of the system that is configured now, current inside."""
        return self._tracer().start_as_current_span(*arguments, **named)


def turn_on(patches: Patches, instrumentor: Any, used: Callable[[], System], **options: Any) -> None:
    """Turn one of OpenTelemetry's instrumentations on, unless the host did; raises ``MissingExtraError`` on a conflict."""
    from opentelemetry.instrumentation.dependencies import DependencyConflictError

    if instrumentor.is_instrumented_by_opentelemetry:
        return
    options.setdefault("tracer_provider", CurrentProvider(used))
    try:
        instrumentor.instrument(raise_exception_on_conflict=True, **options)
    except DependencyConflictError as error:
        raise MissingExtraError(f"OpenTelemetry's instrumentation refuses: {error}") from error
    patches.later(instrumentor.uninstrument)
