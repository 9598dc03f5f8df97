"""kill -9 of `serve` in the middle of load: what was acknowledged is there, once."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from tests.clickhouse_server import ClickHouseServer, free_port
from tests.collector.requests import request_of, span
from tests.processes import Tower, tower, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 10
SENDERS = 4
SPANS_PER_REQUEST = 20
RESENT = 3  # of what was sent last, acknowledged or not, each sender repeats so much after a restart
LOAD_S = (0.2, 0.9)
LOADED_S = 300.0  # ten kills leave many small segments behind; a busy machine loads one a second


class Sender(threading.Thread):
    """Posts requests with spans of its own numbers, tries each again until it is acknowledged, and keeps the record."""

    def __init__(self, number: int, url: str, token: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._next = (number + 1) * 10_000_000
        self._stop_asked = stop
        self._url = url
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/x-protobuf"}
        self.acknowledged: set[int] = set()
        self.issued: set[int] = set()
        self.resent = 0

    def run(self) -> None:
        """Send until asked to stop; a request under way is finished."""
        last: list[tuple[bytes, list[int]]] = []
        with httpx.Client(timeout=5) as client:
            while not self._stop_asked.is_set():
                numbers = list(range(self._next, self._next + SPANS_PER_REQUEST))
                self._next += SPANS_PER_REQUEST
                body = request_of(*(span(number) for number in numbers))
                self.issued.update(numbers)
                if not self._post(client, body, numbers):
                    last = [*last[-RESENT + 1 :], (body, numbers)]
                    self._repeat(client, last)
                last = [*last[-RESENT + 1 :], (body, numbers)]

    def _repeat(self, client: httpx.Client, last: list[tuple[bytes, list[int]]]) -> None:
        """After a failure, send the same bytes again, those that had been acknowledged as well."""
        for body, numbers in last:
            while not self._post(client, body, numbers) and not self._stop_asked.wait(0.05):
                continue
            self.resent += 1

    def _post(self, client: httpx.Client, body: bytes, numbers: list[int]) -> bool:
        try:
            answer = client.post(self._url, content=body, headers=self._headers)
        except httpx.HTTPError:
            return False
        if answer.status_code == 200:
            self.acknowledged.update(numbers)
        return answer.status_code == 200


class StockSender(threading.Thread):
    """The stock exporter of OpenTelemetry for Python, with its own retries."""

    def __init__(self, url: str, token: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._stop_asked = stop
        self._exporter: SpanExporter = OTLPSpanExporter(url, headers={"authorization": f"Bearer {token}"}, timeout=10)
        self._provider = TracerProvider(resource=Resource.create({"service.name": "stock"}))
        self.acknowledged: set[str] = set()
        self.issued: set[str] = set()

    def run(self) -> None:
        """Export batches until asked to stop."""
        source = self._provider.get_tracer("kill")
        while not self._stop_asked.is_set():
            batch = [made(source) for _ in range(SPANS_PER_REQUEST)]
            ids = {f"{one.context.span_id:016x}" for one in batch}
            self.issued |= ids
            if self._exporter.export(batch) is SpanExportResult.SUCCESS:
                self.acknowledged |= ids
        self._exporter.shutdown()


def made(source: Tracer) -> ReadableSpan:
    """Return a span that has ended."""
    span = source.start_span("work")
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def killed_tower(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Iterator[Tower]:
    """A tower over each store; nothing of it runs yet."""
    server: ClickHouseServer | None = None
    if request.param == "server":
        server = request.getfixturevalue("clickhouse_server")
    with tower(tmp_path / "data", server.address(database) if server else None) as made:
        yield made


def loaded(running: Tower) -> bool:
    """Whether nothing that was acknowledged waits in the journal."""
    readiness = running.get("/readyz")
    assert not [problem for problem in readiness["problems"] if "engine" in problem], running.said("serve")
    return not any(journal["segments"] for journal in readiness["journals"].values())


def test_what_was_acknowledged_is_there_once(killed_tower: Tower) -> None:
    """Ten kills under load, with requests sent again byte for byte: no acknowledged span is missing or doubled."""
    port, chance = free_port(), random.Random(7)
    serve = killed_tower.serve(port)
    url, token, stop = f"http://127.0.0.1:{port}/v1/traces", killed_tower.runtime.token, threading.Event()
    senders = [Sender(number, url, token, stop) for number in range(SENDERS)]
    stock = StockSender(url, token, stop)
    for thread in (*senders, stock):
        thread.start()
    for _ in range(ROUNDS):
        threading.Event().wait(chance.uniform(*LOAD_S))
        killed_tower.kill(serve)
        serve = killed_tower.serve(port)
    stop.set()
    for thread in (*senders, stock):
        thread.join(60)
        assert not thread.is_alive()
    until(lambda: loaded(killed_tower), "everything is loaded", LOADED_S)
    with killed_tower.client() as client:
        ((rows, distinct),) = client.query("SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces").result_rows
        stored = {str(row[0]) for row in client.query("SELECT SpanId FROM otel_traces").result_rows}
    acknowledged = {f"{number:016x}" for sender in senders for number in sender.acknowledged} | stock.acknowledged
    issued = {f"{number:016x}" for sender in senders for number in sender.issued} | stock.issued

    assert len(acknowledged) > 1_000
    assert sum(sender.resent for sender in senders) > ROUNDS
    assert acknowledged - stored == set()
    assert stored - issued == set()
    assert rows == distinct
