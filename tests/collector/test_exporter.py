"""The OpenTelemetry exporter for Python, as users have it, against a running collector."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.collector.requests import Tower, running
from tests.tracer.journals import BrokenDisk


@contextmanager
def exporting(
    tower: Tower, token: str, path: str = "/v1/traces", compression: Compression = Compression.Gzip, timeout: float = 10
) -> Iterator[OTLPSpanExporter]:
    """Yield the stock exporter, set up as its documentation says."""
    headers = {"Authorization": f"Bearer {token}"}
    exporter = OTLPSpanExporter(tower.url + path, headers=headers, compression=compression, timeout=timeout)
    yield exporter
    exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.NoCompression])
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/traces/"])
def test_spans_of_the_sdk_arrive(tower: Tower, path: str, compression: Compression) -> None:
    """Provider, batch processor and exporter, with and without gzip: every span is in the journal once."""
    with exporting(tower, tower.token, path, compression) as exporter:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("tests")
        for number in range(1_000):
            with tracer.start_as_current_span(f"step {number}"):
                pass
        provider.shutdown()

    assert sorted(tower.stored_spans()) == sorted(f"step {number}" for number in range(1_000))


def some_spans() -> InMemorySpanExporter:
    provider, memory = TracerProvider(), InMemorySpanExporter()
    processor = BatchSpanProcessor(memory)
    provider.add_span_processor(processor)
    with provider.get_tracer("tests").start_as_current_span("one"):
        pass
    provider.force_flush()
    provider.shutdown()
    return memory


def test_the_exporter_tries_again_after_a_503(tmp_path: Path) -> None:
    """A disk that fails once costs no span: the client comes back after two seconds."""

    class FailsOnce(BrokenDisk):
        def sync(self, descriptor: int) -> None:
            failing = not self.synced
            self.synced.append(descriptor)
            if failing:
                raise OSError(errno.EIO, "Input/output error")
            super().sync(descriptor)

    with running(tmp_path, disk=FailsOnce()) as tower, exporting(tower, tower.token) as exporter:
        outcome = exporter.export(some_spans().get_finished_spans())

        assert outcome is SpanExportResult.SUCCESS
        assert tower.stored_spans() == ["one"]
        assert tower.metrics.snapshot()["refusals"] == {"journal_failed": 1}


def test_the_exporter_gives_up_on_a_wrong_token(tower: Tower, caplog: pytest.LogCaptureFixture) -> None:
    """401 is not tried again, and the client's log says so."""
    with exporting(tower, "wrong") as exporter:
        outcome = exporter.export(some_spans().get_finished_spans())

    assert outcome is SpanExportResult.FAILURE
    assert tower.metrics.snapshot()["refusals"] == {"unauthenticated": 1}
    assert "401" in caplog.text
