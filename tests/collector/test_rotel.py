"""Rotel, a collector in Rust, as a client: what it forwards arrives, over both transports and over TLS."""

import errno
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from controltower.collector.settings import Settings
from tests.clickhouse_server import free_port
from tests.collector.certificates import Authority
from tests.collector.requests import PATIENCE_S, PROTOBUF, Tower, request_of, running, span
from tests.collector.test_signals import EVERY_KIND, logs_of
from tests.conftest import missing
from tests.processes import until
from tests.tracer.journals import BrokenDisk

pytestmark = pytest.mark.slow

BODIES = {
    "traces": request_of(span(1), span(2)),
    "logs": logs_of(LogRecord(body=AnyValue(string_value="order taken"))),
    "metrics": EVERY_KIND,
}


@pytest.fixture(scope="module")
def agent() -> Path:
    """The agent of the package ``rotel``; skips when it is not installed, fails in CI."""
    found = find_spec("rotel")
    if found is None or found.origin is None:
        missing("Rotel is not installed: pip install --pre rotel")
        raise AssertionError
    return Path(found.origin).with_name("rotel-agent")


class Rotel:
    """A running agent that forwards to a collector."""

    def __init__(self, url: str) -> None:
        self.url = url

    def send(self, signal: str, body: bytes) -> None:
        """Give the agent a request."""
        request = urllib.request.Request(f"{self.url}/v1/{signal}", data=body, headers={"Content-Type": PROTOBUF})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert answer.status in {200, 202}

    def answers(self) -> bool:
        """Whether the agent takes requests."""
        try:
            self.send("traces", b"")
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            return False
        return True


@contextmanager
def forwarding(
    agent: Path, tower: Tower, protocol: str, *options: str, authority: Authority | None = None
) -> Iterator[Rotel]:
    """Run the agent in front of *tower* until the block ends; with an *authority* it goes over TLS and trusts that."""
    scheme = "https" if authority else "http"
    trusted = {"SSL_CERT_FILE": str(authority.certificate)} if authority else {}
    address = f"127.0.0.1:{free_port()}"
    target = tower.grpc if protocol == "grpc" else f"127.0.0.1:{tower.port}"
    words = [
        str(agent), "start", "--exporter", "otlp",
        "--otlp-http-endpoint", address, "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
        "--otlp-exporter-endpoint", f"{scheme}://{target}", "--otlp-exporter-protocol", protocol,
        "--otlp-exporter-custom-headers", f"Authorization=Bearer {tower.token}",
        "--otlp-exporter-retry-initial-backoff", "100ms", "--batch-timeout", "50ms",
        *options,
    ]  # fmt: skip
    process = subprocess.Popen(
        words,
        env={**os.environ, **trusted},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        rotel = Rotel(f"http://{address}")
        until(rotel.answers, "Rotel takes requests")
        yield rotel
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_every_signal_that_rotel_forwards_arrives(protocol: str, compression: str, agent: Path, tmp_path: Path) -> None:
    """Traces, logs and metrics are in their journals as they were given to Rotel, once."""
    with (
        running(tmp_path, grpc=True) as tower,
        forwarding(agent, tower, protocol, "--otlp-exporter-compression", compression) as rotel,
    ):
        for name, body in BODIES.items():
            rotel.send(name, body)
        names = until(tower.stored_spans, "the spans arrive")
        (logs,) = until(lambda: tower.stored_bodies("logs"), "the records arrive")
        (metrics,) = until(lambda: tower.stored_bodies("metrics"), "the points arrive")

    records = ExportLogsServiceRequest.FromString(logs).resource_logs[0].scope_logs[0].log_records
    kinds = ExportMetricsServiceRequest.FromString(metrics).resource_metrics[0].scope_metrics[0].metrics
    assert names == ["span 1", "span 2"]
    assert [one.body.string_value for one in records] == ["order taken"]
    assert {one.name for one in kinds} >= {"gauge", "sum", "histogram", "exponential", "summary"}


class FailsTwice(BrokenDisk):
    """A disk that fails for the first two requests."""

    def sync(self, descriptor: int) -> None:
        self.synced.append(descriptor)
        if len(self.synced) <= 2:
            raise OSError(errno.EIO, "Input/output error")
        super().sync(descriptor)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_rotel_tries_again_what_was_not_stored(protocol: str, agent: Path, tmp_path: Path) -> None:
    """UNAVAILABLE and 503 are tried again by Rotel until the disk works, and the spans are stored once."""
    with running(tmp_path, grpc=True, disk=FailsTwice()) as tower, forwarding(agent, tower, protocol) as rotel:
        rotel.send("traces", BODIES["traces"])
        names = until(tower.stored_spans, "the spans arrive")

        assert names == ["span 1", "span 2"]
        assert tower.metrics.snapshot()["refusals"] == {"journal_failed": 2}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_rotel_connects_over_tls(protocol: str, agent: Path, tmp_path: Path) -> None:
    """With our authority among those that it trusts, Rotel delivers over TLS. Its own options for it do not work yet."""
    authority = Authority(tmp_path)
    server = authority.sign("collector")
    settings = Settings(port=0, tls_certificate=str(server.certificate), tls_key=str(server.key))
    with (
        running(tmp_path, settings, grpc=True) as tower,
        forwarding(agent, tower, protocol, authority=authority) as rotel,
    ):
        rotel.send("traces", BODIES["traces"])

        assert until(tower.stored_spans, "the spans arrive") == ["span 1", "span 2"]
