"""For tests of the hooks: a tracer on the real clock that writes to memory, and the brokers of this machine."""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import uuid4

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESS_INSTRUMENTATION
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controltower import tracer
from controltower.tracer.configure import Options
from controltower.tracer.default import install
from controltower.tracer.hooks import is_there
from controltower.tracer.testing import REDACTION_KEY, Captured
from tests.conftest import IN_CI, missing

GARBAGE = ("00-zz-zz-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\x00ü", "x" * 20_000, "")
PO = {"purchase_order": "PO-1042"}


@contextmanager
def hooked(name: str, **options: object) -> Iterator[Captured]:
    """Turn one hook on and capture the spans; waits between two hosts are real, so the clock is, too."""
    exporter = InMemorySpanExporter()
    given: Options = {"service": "test", "own_traces": False, "exporter": exporter, **options}  # type: ignore[typeddict-item]  # those of the test
    given.setdefault("redaction_key", REDACTION_KEY)
    system = tracer.System(**given)
    former = install(system, stop_former=False)
    tracer.instrument(name)
    before = otel_context.get_current()
    try:
        yield Captured(system, exporter)
        assert otel_context.get_current() == before, "a hook left its context behind"
        assert system.health().internal_errors == 0
    finally:
        tracer.uninstrument(name)
        install(former, stop_former=False)
        system.shutdown()


OPENTELEMETRY = "opentelemetry.instrumentation."


def needs(*modules: str, instrumentations: Sequence[str] = ()) -> None:
    """Skip a module of tests when a library, or an instrumentation of OpenTelemetry's, is missing; in CI nothing may be."""
    modules = (*modules, *(OPENTELEMETRY + each for each in instrumentations))
    absent = [module for module in modules if not is_there(module)]
    if absent and not IN_CI:
        pytest.skip(f"not installed: {', '.join(absent)} (controltower[hooked])", allow_module_level=True)


def broker(name: str, variable: str, port: int) -> tuple[str, int]:
    """Return the address of a broker; skips when there is none, fails in CI."""
    host, _, other = os.environ.get(variable, f"127.0.0.1:{port}").partition(":")
    try:
        socket.create_connection((host, int(other or port)), 5).close()
    except OSError:
        missing(f"no {name} at {host}:{other or port} ({variable})")
    return host, int(other or port)


def fresh(prefix: str = "orders") -> str:
    """Return a name for a queue or topic of this test alone."""
    return f"{prefix}.{uuid4().hex[:12]}"


@contextmanager
def unhooked() -> Iterator[None]:
    """Send as somebody without a hook does."""
    token = otel_context.attach(otel_context.set_value(SUPPRESS_INSTRUMENTATION, True))
    try:
        yield
    finally:
        otel_context.detach(token)


def attribute(span: ReadableSpan, name: str) -> object:
    """Return one attribute of a span."""
    return (span.attributes or {}).get(name)


def of(captured: Captured, operation: str) -> list[ReadableSpan]:
    """Return the spans of one messaging operation: send, receive, process, settle."""
    return [span for span in captured.spans if attribute(span, "messaging.operation.type") == operation]


def only(captured: Captured, operation: str) -> ReadableSpan:
    """Return the one span of an operation."""
    (span,) = of(captured, operation)
    return span


def assert_linked(later: ReadableSpan, *earlier: ReadableSpan) -> None:
    """Assert that *later* is linked to all of *earlier*, in order, and continues none of their traces."""
    wanted = [span.context for span in earlier]
    assert [(link.context.trace_id, link.context.span_id) for link in later.links] == [
        (context.trace_id, context.span_id) for context in wanted if context is not None
    ]
    assert later.context is not None
    assert later.context.trace_id not in {context.trace_id for context in wanted if context is not None}


def assert_hop(captured: Captured, *, received: str = "process") -> tuple[ReadableSpan, ReadableSpan]:
    """Assert what holds for every hop with the keys of ``PO``; return the spans of its two ends."""
    sent, arrived = only(captured, "send"), only(captured, received)
    assert_linked(arrived, sent)
    for span, kind in ((sent, "PRODUCER"), (arrived, "CONSUMER")):
        assert span.kind.name == kind
        assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
    wait = attribute(arrived, "controltower.message.wait_ms")
    assert isinstance(wait, int)
    assert 0 <= wait < 60_000
    assert attribute(sent, "messaging.system") == attribute(arrived, "messaging.system")
    assert trace.get_current_span() is trace.INVALID_SPAN
    return sent, arrived


@contextmanager
def relay(host: str, port: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """Give a port that leads to a broker, and what cuts the way: to the client the broker is gone."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            return

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection((host, port), 5)
            ends.extend((client, far))
            for pair in ((client, far), (far, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    def cut() -> None:
        for end in (listener, *ends):
            with suppress(OSError):  # it is closed already
                end.shutdown(socket.SHUT_RDWR)  # wakes who waits on it, which closing does not
            end.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], cut
    finally:
        cut()
