"""Stopping under load, over both transports, and starting again under the eyes of the stock exporters."""

import http.client
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from controltower.collector.auth import create_token
from controltower.collector.settings import Settings
from tests.clickhouse_server import free_port
from tests.collector.calls import Code, calling
from tests.collector.requests import PATIENCE_S, PROTOBUF, Tower, request_of, running, span

CLIENTS = 8
Send: TypeAlias = Callable[[Tower, int, list[int], threading.Semaphore], None]


def send_http_until_stopped(tower: Tower, first: int, acknowledged: list[int], enough: threading.Semaphore) -> None:
    headers = {"Content-Type": PROTOBUF, "Authorization": f"Bearer {tower.token}"}
    connection = http.client.HTTPConnection(tower.host, tower.port, timeout=PATIENCE_S)
    number = first
    while True:
        try:
            connection.request("POST", "/v1/traces", request_of(span(number)), headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return
        assert response.status == 200
        acknowledged.append(number)
        enough.release()
        number += 1


def send_grpc_until_stopped(tower: Tower, first: int, acknowledged: list[int], enough: threading.Semaphore) -> None:
    number = first
    with calling(tower) as caller:
        while True:
            outcome = caller.call(request_of(span(number)))
            if outcome.code is not Code.OK:
                assert outcome.code in {Code.UNAVAILABLE, Code.CANCELLED}
                return
            acknowledged.append(number)
            enough.release()
            number += 1


def test_f13_stopping_under_load_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """Requests under way are finished, new ones are not taken, and every acknowledged span is in the journal once."""
    acknowledged: list[list[int]] = [[] for _ in range(CLIENTS)]
    enough: dict[Send, threading.Semaphore] = {
        send_http_until_stopped: threading.Semaphore(0),
        send_grpc_until_stopped: threading.Semaphore(0),
    }
    with running(tmp_path, grpc=True) as tower:
        clients = []
        for number in range(CLIENTS):
            send = send_grpc_until_stopped if number % 2 else send_http_until_stopped
            words = [tower, (number + 1) * 10**6, acknowledged[number], enough[send]]
            clients.append(threading.Thread(target=send, args=words))
        for client in clients:
            client.start()
        for each in enough.values():
            for _ in range(100):
                assert each.acquire(timeout=PATIENCE_S)
        tower.server.should_exit = True
        tower.thread.join(PATIENCE_S)
        names = tower.stored_spans()
    for client in clients:
        client.join(PATIENCE_S)

    wanted = {f"span {number}" for numbers in acknowledged for number in numbers}
    assert wanted <= set(names)
    assert len(names) == len(set(names))


def named(name: str) -> list[ReadableSpan]:
    """Return one span of the SDK."""
    with TracerProvider().get_tracer("tests").start_as_current_span(name) as made:
        pass
    assert isinstance(made, ReadableSpan)
    return [made]


class Exporting(threading.Thread):
    """Exports one span after the other with a stock exporter until it is asked to stop."""

    def __init__(self, name: str, exporter: SpanExporter) -> None:
        super().__init__(name=name)
        self._exporter = exporter
        self._stop_asked = threading.Event()
        self.outcomes: dict[str, SpanExportResult] = {}
        self.delivered = threading.Semaphore(0)

    def run(self) -> None:
        """Export until stopped."""
        while not self._stop_asked.is_set():
            name = f"{self.name} {len(self.outcomes)}"
            self.outcomes[name] = self._exporter.export(named(name))
            if self.outcomes[name] is SpanExportResult.SUCCESS:
                self.delivered.release()
        self._exporter.shutdown()

    def finish(self) -> None:
        """End after the export that is under way."""
        self._stop_asked.set()
        self.join(PATIENCE_S)


def test_f23_a_restart_costs_the_stock_exporters_nothing(tmp_path: Path) -> None:
    """While the collector stops and starts again on its ports, the exporters for Python drop no span and store none twice."""
    settings = Settings(port=free_port(), grpc_port=free_port())
    token = create_token(tmp_path / "tokens.json", "exporters")
    # Their own 10 s count from the first try to the last: too few for a restart on a machine that is busy with tests.
    options: Any = {"headers": {"authorization": f"Bearer {token}"}, "timeout": PATIENCE_S}
    exporting = [
        Exporting("http", HttpExporter(f"http://127.0.0.1:{settings.port}/v1/traces", **options)),
        Exporting("grpc", GrpcExporter(f"127.0.0.1:{settings.grpc_port}", insecure=True, **options)),
    ]
    with running(tmp_path, settings, grpc=True):
        for one in exporting:
            one.start()
        deliver(exporting, 20)
    with running(tmp_path, settings, grpc=True) as tower:
        deliver(exporting, 20)
        for one in exporting:
            one.finish()
        names = tower.stored_spans()
    outcomes = exporting[0].outcomes | exporting[1].outcomes

    assert set(outcomes.values()) == {SpanExportResult.SUCCESS}
    assert sorted(names) == sorted(outcomes)


def deliver(exporting: list[Exporting], spans: int) -> None:
    """Wait until each delivered so many spans more."""
    for one in exporting:
        for _ in range(spans):
            assert one.delivered.acquire(timeout=PATIENCE_S)
