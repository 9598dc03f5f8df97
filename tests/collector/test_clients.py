"""What stock clients make of our answers: nothing is sent twice after a 200, and none hangs while we are overloaded (F20)."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcTraces
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpTraces
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controltower.collector.auth import create_token
from tests.collector.requests import Tower, running
from tests.javascript import node_modules, run_node
from tests.tracer.journals import BrokenDisk

pytestmark = pytest.mark.slow

SERVICES = ("erp", "billing")

# One batch with a span of each of two services; then the client is shut down, whatever became of the batch.
SCRIPT = """
const kind = process.env.KIND;
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${kind}`);
const { BasicTracerProvider, SimpleSpanProcessor, InMemorySpanExporter } = require("@opentelemetry/sdk-trace-base");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const authorization = `Bearer ${process.env.TOKEN}`;
function options() {
  if (kind !== "grpc") return { url: `${process.env.URL}/v1/traces`, headers: { authorization } };
  const { Metadata } = require("@grpc/grpc-js");
  const metadata = new Metadata();
  metadata.set("authorization", authorization);
  return { url: process.env.GRPC_URL, metadata };
}

const spans = process.env.SERVICES.split(",").flatMap((service) => {
  const memory = new InMemorySpanExporter();
  const resource = resourceFromAttributes({ "service.name": service });
  const provider = new BasicTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(memory)] });
  provider.getTracer("tests").startSpan(`of ${service}`).end();
  return memory.getFinishedSpans();
});
const exporter = new OTLPTraceExporter(options());
exporter.export(spans, () => {});
exporter.shutdown();
"""

Export = Callable[[Tower, str, tuple[str, ...], Path], None]


def spans_of(services: tuple[str, ...]) -> Iterator[ReadableSpan]:
    """Yield a finished span of each service."""
    for service in services:
        memory = InMemorySpanExporter()
        provider = TracerProvider(resource=Resource({"service.name": service}))
        provider.add_span_processor(SimpleSpanProcessor(memory))
        provider.get_tracer("tests").start_span(f"of {service}").end()
        yield from memory.get_finished_spans()


def python(grpc: bool) -> Export:
    """Return the export of a batch by the SDK for Python, and its shutdown."""

    def export(tower: Tower, token: str, services: tuple[str, ...], _: Path) -> None:
        headers = {"authorization": f"Bearer {token}"}
        exporter = (
            GrpcTraces(tower.grpc, insecure=True, headers=headers)
            if grpc
            else HttpTraces(f"{tower.url}/v1/traces", headers=headers)
        )
        processor = BatchSpanProcessor(exporter)
        for span in spans_of(services):
            processor.on_end(span)
        processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own

    return export


def javascript(kind: str) -> Export:
    """Return the export of a batch by the SDK for JavaScript, and its shutdown."""

    def export(tower: Tower, token: str, services: tuple[str, ...], folder: Path) -> None:
        node_modules()
        variables = {"KIND": kind, "TOKEN": token, "URL": tower.url, "GRPC_URL": f"http://{tower.grpc}"}
        run_node(SCRIPT, folder, SERVICES=",".join(services), **variables)

    return export


CLIENTS: dict[str, Export] = {
    "python http": python(grpc=False),
    "python grpc": python(grpc=True),
    "javascript protobuf": javascript("proto"),
    "javascript json": javascript("http"),
    "javascript grpc": javascript("grpc"),
}
client = pytest.mark.parametrize("export", CLIENTS.values(), ids=CLIENTS)


class FailsAlways(BrokenDisk):
    """A disk on which nothing can be synced."""

    def sync(self, descriptor: int) -> None:
        """Fail."""
        raise OSError(errno.EIO, "Input/output error")


@contextmanager
def tower_of(folder: Path, **options: object) -> Iterator[Tower]:
    """A collector that takes gRPC, too."""
    with running(folder, grpc=True, **options) as tower:  # type: ignore[arg-type]  # passed on
        yield tower


@client
def test_what_was_taken_is_not_sent_again(export: Export, tmp_path: Path) -> None:
    """A 200 is the end of a batch: one request, each span once."""
    with tower_of(tmp_path) as tower:
        export(tower, tower.token, SERVICES, tmp_path)

        assert tower.metrics.snapshot()["requests_accepted"] == 1
        assert sorted(tower.stored_spans()) == ["of billing", "of erp"]
        assert tower.metrics.snapshot()["refusals"] == {}


@client
def test_what_was_taken_in_part_is_not_sent_again(export: Export, tmp_path: Path) -> None:
    """A partial success is the end of it, too: what was accepted is there once, what was rejected is counted once."""
    with tower_of(tmp_path) as tower:
        token = create_token(tmp_path / "tokens.json", "erp", sources=frozenset({"erp"}))
        export(tower, token, SERVICES, tmp_path)

        taken = tower.metrics.snapshot()
        assert taken["requests_accepted"] == 1
        assert taken["requests_duplicate"] == 0
        assert tower.stored_spans() == ["of erp"]


@client
def test_what_is_refused_for_good_is_not_sent_again(export: Export, tmp_path: Path) -> None:
    """403 and PERMISSION_DENIED end a batch at once."""
    with tower_of(tmp_path) as tower:
        token = create_token(tmp_path / "tokens.json", "erp", sources=frozenset({"erp"}))
        export(tower, token, ("billing",), tmp_path)

        assert tower.metrics.snapshot()["refusals"] == {"forbidden": 1}
        assert tower.stored_spans() == []


@pytest.mark.timeout(120)
@client
def test_no_client_hangs_that_is_shut_down_during_an_overload(export: Export, tmp_path: Path) -> None:
    """A client that is told to come back, and is shut down meanwhile, ends; it tried, and not for ever."""
    with tower_of(tmp_path, disk=FailsAlways()) as tower:
        export(tower, tower.token, SERVICES, tmp_path)

        refused = tower.metrics.snapshot()["refusals"]
        assert isinstance(refused, dict)
        assert set(refused) == {"journal_failed"}
        assert 1 <= refused["journal_failed"] <= 8
