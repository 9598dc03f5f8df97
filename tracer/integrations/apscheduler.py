"""APScheduler: a span for each run of a job, that of nobody else's trace, with its delay and how it ended."""

from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from controltower.tracer import attributes
from controltower.tracer.hooks import is_there
from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.patches import Function, Patches
from controltower.tracer.integrations.place import MAX_ID
from controltower.tracer.integrations.spans import finish, now_ns

BASE: Final = "apscheduler.executors.base"
RUNNERS: Final = ("run_job", "run_coroutine_job")
# Modules that have the functions by name; those whose own library is missing cannot be in use.
EXECUTORS: Final = {
    "pool": "",
    "asyncio": "",
    "debug": "",
    "gevent": "gevent",
    "tornado": "tornado",
    "twisted": "twisted",
}
MISSED: Final = "missed"


def hook(patches: Patches, used: Used) -> None:
    """Replace the functions by which every executor runs a job.

    One object stands in all modules: a pool of processes finds it by the name of the original.
    """
    base = import_module(BASE)
    modules = [
        import_module(f"apscheduler.executors.{name}")
        for name, library in EXECUTORS.items()
        if not library or is_there(library)
    ]
    makers: dict[str, Callable[[Function], Function]] = {"run_job": _call(used), "run_coroutine_job": _call_async(used)}
    for name in RUNNERS:
        original = getattr(base, name)
        ours = patches.function(original, makers[name](original))
        for module in (base, *modules):
            if getattr(module, name, None) is original:
                patches.value(module, name, ours, original)


def _call(used: Used) -> Callable[[Function], Function]:
    def make(original: Function) -> Function:
        def run(job: Any, store: Any, times: Sequence[datetime], logger: Any) -> list[Any]:
            events: list[Any] = []
            for planned in times:
                with _Run(used, job, planned) as this:
                    events += this.ended(original(job, store, [planned], logger))
            return events

        return run

    return make


def _call_async(used: Used) -> Callable[[Function], Function]:
    def make(original: Function) -> Function:
        async def run(job: Any, store: Any, times: Sequence[datetime], logger: Any) -> list[Any]:
            events: list[Any] = []
            for planned in times:
                with _Run(used, job, planned) as this:
                    events += this.ended(await original(job, store, [planned], logger))
            return events

        return run

    return make


class _Run:
    """The span of one run, current inside."""

    def __init__(self, used: Used, job: Any, planned: datetime) -> None:
        self._system = used()
        self._job = job
        self._planned = planned
        self._span: Span | None = None
        self._token: Any = None
        self._error: BaseException | str | None = None

    def __enter__(self) -> Self:
        with self._system.guard.around("APScheduler hook"):
            function = str(self._job.func_ref or getattr(self._job.func, "__qualname__", "")).replace(":", ".")[:MAX_ID]
            at_ns = now_ns(self._system)
            self._span = self._system.otel_tracer.start_span(
                f"run {function}",
                context=Context(),  # a thread of a pool has none, and a loop that of whoever started the scheduler
                kind=SpanKind.INTERNAL,
                attributes={
                    "code.function.name": function,
                    attributes.CONTEXT + "job_planned": self._planned.isoformat(),
                    attributes.CONTEXT + "job_late_ms": str(max(0, at_ns // 1_000_000 - _milliseconds(self._planned))),
                },
                start_time=None if self._system.clock is None else at_ns,
            )
            self._token = otel_context.attach(trace.set_span_in_context(self._span, Context()))
        return self

    def ended(self, events: list[Any]) -> list[Any]:
        """Note how the run ended, which the library tells by events and not by exceptions."""
        with self._system.guard.around("APScheduler hook"):
            from apscheduler.events import EVENT_JOB_MISSED

            for event in events:
                self._error = MISSED if event.code == EVENT_JOB_MISSED else event.exception
        return events

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        with self._system.guard.around("APScheduler hook"):
            if self._token is not None:
                otel_context.detach(self._token)
            if self._span is not None:
                finish(self._system, self._span, error or self._error)


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
