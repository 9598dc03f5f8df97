"""From the end of a span to the collector: nothing is lost without being counted."""

import gzip
import os
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from controltower import tracer


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP on an ephemeral port and remembers it; answers with ``status``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.spans: list[str] = []
        self.tokens: set[str | None] = set()
        self.paths: set[str] = set()

    @property
    def address(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request to the collector."""

    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        """Take one export."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.paths.add(self.path)
        self.server.tokens.add(self.headers.get("authorization"))
        if self.server.status == 200:
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans += [span.name for span in scope.spans]
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Gate(SpanExporter):
    """Exports only when it is let to."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.taken: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait for the gate."""
        self.entered.set()
        assert self.open.wait(30)
        self.taken += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Open the gate."""
        self.open.set()


def emit(system: tracer.System, count: int, first: int = 0) -> None:
    """Emit steps that are numbered in their span name."""
    for number in range(first, first + count):
        with system.step("a.b.c", name=str(number)):
            pass


@pytest.mark.parametrize("path", ["", "/", "/v1/traces", "/v1/traces/"])
def test_flush_means_acknowledged(collector: Collector, path: str) -> None:
    """Steps reach the collector under a base address or a full path, in order, with the token; flush confirms it."""
    system = tracer.System(service="erp", endpoint=collector.address + path, token="s3cret")
    emit(system, 3000)

    assert system.flush()
    assert collector.spans == [str(number) for number in range(3000)]
    assert collector.paths == {"/v1/traces"}
    assert collector.tokens == {"Bearer s3cret"}
    assert "s3cret" not in repr(system.settings)
    assert system.health() == tracer.Health(3000, 0, 0, 0, 0, 0, {})
    assert system.health().lossless
    assert system.shutdown()


def test_refused_steps_are_counted(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that refuses makes flush say no once, counts each span, and logs one sentence."""
    collector.status = 401
    system = tracer.System(service="erp", endpoint=collector.address, batch_size=10)
    emit(system, 25)
    refused = system.flush()
    collector.status = 200
    emit(system, 1, first=25)
    taken = system.flush()

    assert (refused, taken) == (False, True)
    assert collector.spans == ["25"]
    assert system.health().failed == 25
    assert system.health().exported == 1
    assert [record.getMessage() for record in caplog.records if record.name == "controltower.tracer"] == [
        "the collector did not take steps; check the endpoint and the token"
    ]
    system.shutdown()


def test_no_collector_does_not_hold_up_the_host() -> None:
    """Without a collector the steps run, flush gives up at its timeout, and the losses are counted."""
    system = tracer.System(service="erp", endpoint="http://127.0.0.1:9", timeout_s=0.2)
    emit(system, 10)

    assert not system.flush(5)
    assert system.health().failed == 10
    system.shutdown()


def test_full_queue_drops_the_new_and_counts() -> None:
    """In a service a full queue never blocks: what does not fit is counted, what was queued is kept."""
    gate = Gate()
    system = tracer.System(service="erp", exporter=gate, queue_size=10, batch_size=5)
    emit(system, 5)
    assert gate.entered.wait(30)
    emit(system, 30, first=5)
    gate.open.set()

    assert not system.flush()
    assert gate.taken == [str(number) for number in range(15)]
    assert system.health().dropped == 20
    system.shutdown()


def test_full_queue_blocks_a_batch_program() -> None:
    """With ``when_full="block"`` the program waits for room and loses nothing."""
    gate = Gate()
    system = tracer.System(service="erp", exporter=gate, queue_size=10, batch_size=5, when_full="block")
    emitting = threading.Thread(target=emit, args=(system, 500))
    emitting.start()
    assert gate.entered.wait(30)
    gate.open.set()
    emitting.join(30)

    assert system.flush()
    assert gate.taken == [str(number) for number in range(500)]
    assert system.health() == tracer.Health(500, 0, 0, 0, 0, 0, {})
    system.shutdown()


def test_flush_gives_up_at_its_timeout() -> None:
    """A flush that cannot finish says so; what is queued is still sent when the collector answers."""
    gate = Gate()
    system = tracer.System(service="erp", exporter=gate)
    emit(system, 1)
    late = system.flush(0.01)
    gate.open.set()

    assert not late
    assert system.flush()
    system.shutdown()


def test_after_shutdown_steps_are_dropped_and_counted() -> None:
    """Shutdown can be called twice; later steps run and are counted as dropped."""
    gate = Gate()
    gate.open.set()
    system = tracer.System(service="erp", exporter=gate)
    emit(system, 3)

    assert system.shutdown()
    assert system.shutdown()
    emit(system, 2)
    assert gate.taken == ["0", "1", "2"]
    assert system.health().dropped == 2


def test_one_bad_span_does_not_take_the_others(collector: Collector) -> None:
    """A span that OTLP cannot encode, as a library may make one, is lost alone."""
    system = tracer.System(service="erp", endpoint=collector.address)
    emit(system, 5)
    system.provider.get_tracer("library").start_span("bad", start_time=-1).end()
    emit(system, 5, first=5)

    assert not system.flush()
    assert collector.spans == [str(number) for number in range(10)]
    assert system.health().failed == 1
    system.shutdown()


def test_lost_lines_are_counted() -> None:
    """Lines beyond the limit of 10,000 show in the counters."""
    gate = Gate()
    gate.open.set()
    system = tracer.System(service="erp", exporter=gate)
    with system.step("a.b.c") as step:
        for number in range(10_003):
            step.line(line=number)

    assert system.flush()
    assert system.health().cut == 3
    system.shutdown()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what Python 3.12 warns of is what is tested
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_worker_sends_its_own_steps(collector: Collector) -> None:
    """A worker forked after configure sends what it does, and not again what its parent had queued."""
    system = tracer.System(service="erp", endpoint=collector.address, interval_s=3600)
    emit(system, 2)
    child = os.fork()
    if child == 0:
        emit(system, 2, first=10)
        os._exit(0 if system.flush() else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert collector.spans == ["10", "11"]
    assert system.flush()
    assert collector.spans == ["10", "11", "0", "1"]
    system.shutdown()
