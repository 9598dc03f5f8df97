"""For tests of instrumented services: capture steps in memory, with fixed ids and a stepping clock, and assert on them.

>>> from controltower import tracer
>>> from controltower.tracer.testing import capture
>>> with capture() as captured:
...     with tracer.step("p2p.invoice.posted", keys={"invoice": "I-1"}):
...         pass
>>> captured.assert_step("p2p.invoice.posted", keys={"invoice": "I-1"}).name
'p2p.invoice.posted'
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Final, Unpack

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from controltower.tracer import attributes
from controltower.tracer.configure import Options
from controltower.tracer.default import install
from controltower.tracer.propagation import attribute_value
from controltower.tracer.system import System

REDACTION_KEY: Final = f"1:{base64.b64encode(b'for tests alone, and no secret ..').decode()}"  # of ``capture``
FIRST_NS: Final = int(datetime(2026, 1, 5, 9, tzinfo=UTC).timestamp()) * 10**9


class FixedIds(IdGenerator):
    """Ids that count up from 1, the same in every run."""

    def __init__(self) -> None:
        self._traces = count(1)
        self._spans = count(1)

    def generate_span_id(self) -> int:
        """Return the next span id."""
        return next(self._spans)

    def generate_trace_id(self) -> int:
        """Return the next trace id."""
        return next(self._traces)

    def is_trace_id_random(self) -> bool:
        """Return ``False``: they are not."""
        return False


class SteppingClock:
    """A clock in nanoseconds that goes on by *step_ns* each time it is read."""

    def __init__(self, first_ns: int = FIRST_NS, step_ns: int = 1_000_000) -> None:
        self._readings = count(first_ns, step_ns)

    def __call__(self) -> int:
        """Return the time."""
        return next(self._readings)


class Captured:
    """What a piece of code sent; each property sends first what is still queued."""

    def __init__(self, captured: System, exporter: InMemorySpanExporter) -> None:
        self.system = captured
        self._exporter = exporter

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Every span that ended, in that order."""
        self.system.flush()
        return self._exporter.get_finished_spans()

    @property
    def steps(self) -> tuple[ReadableSpan, ...]:
        """The spans that are business steps."""
        return tuple(span for span in self.spans if attributes.STEP in (span.attributes or {}))

    def assert_step(
        self,
        code: str,
        *,
        keys: Mapping[str, str | Sequence[str]] | None = None,
        scopes: Mapping[str, str] | None = None,
        context: Mapping[str, str] | None = None,
        lines: int | None = None,
        failed: bool = False,
        **others: str,
    ) -> ReadableSpan:
        """Return the one step with this code, these keys (among others) and these values, such as ``outcome="ok"``.

        Numbers of patients are given as the code gives them; ``scopes`` are the issuers that it names for them.
        """
        wanted: dict[str, object] = {attributes.PREFIX + name: value for name, value in others.items()}
        for type_, value in (keys or {}).items():
            many = (value,) if isinstance(value, str) else tuple(value)
            wanted[attributes.KEY + type_] = attribute_value(self._stored(type_, many, scopes or {}))
        for type_, value in (context or {}).items():
            wanted[attributes.CONTEXT + type_] = attribute_value(self._stored(type_, (value,), scopes or {}))
        candidates = [step for step in self.steps if (step.attributes or {}).get(attributes.STEP) == code]
        found = [
            step
            for step in candidates
            if all((step.attributes or {}).get(name) == value for name, value in wanted.items())
            and (lines is None or len(lines_of(step)) == lines)
            and (not step.status.is_ok) == failed
        ]
        if len(found) != 1:
            raise AssertionError(
                f"{len(found)} steps {code} with {wanted}, lines={lines}, failed={failed} among these:\n"
                + "\n".join(describe(step) for step in candidates or self.steps)
            )
        return found[0]

    def _stored(self, type_: str, given: tuple[str, ...], scopes: Mapping[str, str]) -> tuple[str, ...]:
        made = self.system.pseudonyms.tokens({type_: given}, scopes, self.system.guard.misuse)
        return made.get(type_, ())


def lines_of(step: ReadableSpan) -> list[dict[str, object]]:
    """Return the document lines of a step."""
    return [dict(event.attributes or {}) for event in step.events if event.name == attributes.LINE_EVENT]


def describe(step: ReadableSpan) -> str:
    """Return a step on one line."""
    return (
        f"{step.name} {dict(step.attributes or {})} lines={len(lines_of(step))} status={step.status.status_code.name}"
    )


@contextmanager
def capture(**options: Unpack[Options]) -> Iterator[Captured]:
    """Make the process's tracer write to memory for the time of a test."""
    exporter = InMemorySpanExporter()
    options.setdefault("service", "test")
    options.setdefault("own_traces", False)
    options.setdefault("redaction_key", REDACTION_KEY)
    options["exporter"] = exporter
    captured = System(clock=SteppingClock(), id_generator=FixedIds(), **options)
    former = install(captured, stop_former=False)
    try:
        yield Captured(captured, exporter)
    finally:
        install(former, stop_former=False)
        captured.shutdown()
