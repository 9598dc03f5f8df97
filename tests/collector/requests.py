"""OTLP requests for the collector's tests, and a tower that takes them over real sockets."""

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # generated, without a marker
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from controltower.collector.app import build_app, build_server
from controltower.collector.auth import Tokens, create_token
from controltower.collector.metrics import Metrics
from controltower.collector.otlp import SIGNALS
from controltower.collector.server import Server
from controltower.collector.settings import Settings
from controltower.tracer.journal import Journal, JournalLimits
from controltower.tracer.journal.contents import envelope_of
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.records import RESERVED_FIELDS, Record, fields, message_of, read_varint, scan

PATIENCE_S = 30.0
PROTOBUF = "application/x-protobuf"


def span(number: int = 1, **changes: Any) -> Span:
    """Return a span whose ids follow from *number*."""
    made = Span(
        trace_id=number.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        name=f"span {number}",
        start_time_unix_nano=1_760_000_000_000_000_000 + number,
        end_time_unix_nano=1_760_000_000_000_000_500 + number,
        attributes=[KeyValue(key="n", value=AnyValue(int_value=number))],
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def request_of(*spans: Span) -> bytes:
    """Return the export request of *spans*."""
    resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="tests")))
    body: bytes = ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()
    return body


@dataclass(frozen=True)
class Answer:
    """What the collector answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def refusal(self) -> Any:
        """The body as google.rpc.Status."""
        assert self.headers["content-type"] == PROTOBUF
        return Status.FromString(self.body)

    @property
    def response(self) -> ExportTraceServiceResponse:
        """The body as the signal's response."""
        assert self.headers["content-type"] == PROTOBUF
        response: ExportTraceServiceResponse = ExportTraceServiceResponse.FromString(self.body)
        return response

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Tower:
    """A running collector."""

    host: str
    port: int
    token: str
    journals: dict[str, Journal]
    metrics: Metrics
    server: uvicorn.Server
    thread: threading.Thread = field(repr=False)
    listening: socket.socket | None = None
    grpc: str = ""  # HOST:PORT, where gRPC was asked for

    @property
    def journal(self) -> Journal:
        """The journal of traces."""
        return self.journals["traces"]

    @property
    def url(self) -> str:
        """Where the collector listens."""
        return f"http://{self.host}:{self.port}"

    def send(
        self, body: bytes | Iterator[bytes] = b"", path: str = "/v1/traces", method: str = "POST", **headers: str | None
    ) -> Answer:
        """Send one request with the usual headers; a header given as None is left out."""
        usual: dict[str, str | None] = {"content_type": PROTOBUF, "authorization": f"Bearer {self.token}"}
        wanted = {name.replace("_", "-"): value for name, value in (usual | headers).items() if value is not None}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, wanted)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def send_gzip(self, body: bytes) -> Answer:
        """Send *body* compressed."""
        return self.send(gzip.compress(body, mtime=0), content_encoding="gzip")

    def get(self, path: str) -> Answer:
        """Ask for a page of the collector's own."""
        return self.send(path=path, method="GET", content_type=None, authorization=None)

    def stored(self) -> list[ExportTraceServiceRequest]:
        """Return the requests in the journal of traces, in order."""
        return [ExportTraceServiceRequest.FromString(body) for body in self.stored_bodies("traces")]

    def stored_bodies(self, signal: str) -> list[bytes]:
        """Return the bodies in the journal of *signal*, in order."""
        self.journals[signal].rotate()
        found = []
        for segment in self.journals[signal].closed_segments():
            data = segment.path.read_bytes()
            for record in scan(data):
                assert isinstance(record, Record)
                found.append(body_of(data, record))
        return found

    def stored_with_tenants(self) -> list[tuple[ExportTraceServiceRequest, str]]:
        """Return the requests in the closed segments with the tenant of their envelope."""
        found = []
        for segment in self.journal.closed_segments():
            data = segment.path.read_bytes()
            for record in scan(data):
                assert isinstance(record, Record)
                found.append(
                    (
                        ExportTraceServiceRequest.FromString(body_of(data, record)),
                        envelope_of(message_of(data, record)).tenant,
                    )
                )
        return found

    def stored_spans(self) -> list[str]:
        """Return the names of the spans in the journal, in order."""
        return [
            span.name
            for request in self.stored()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def body_of(data: bytes, record: Record) -> bytes:
    """Return the body in *record*, without its envelope."""
    _, start = read_varint(data, record.offset)
    parts = [part for part in fields(data, start, record.end) if part[0] not in RESERVED_FIELDS]
    return b"".join(data[at:end] for _, at, _, end in parts)


@contextmanager
def running(
    folder: Path,
    settings: Settings | None = None,
    *,
    disk: Disk | None = None,
    grpc: bool = False,
    phi: bool = False,
    **options: Any,
) -> Iterator[Tower]:
    """Run a collector over *folder* on loopback until the block ends, with gRPC if asked for; never on gRPC's own port.

    Its only sender is of class phi when *phi* says so.
    """
    settings = settings or Settings(port=0, deadline_s=60.0)
    if settings.grpc_port == Settings().grpc_port:
        settings = replace(settings, grpc_port=0)
    limits = JournalLimits(segment_age_s=3600.0, budget_bytes=settings.journal_bytes)
    token = create_token(folder / "tokens.json", "tests", "acme", phi=phi)
    journals = {signal: Journal(folder / "journal" / signal, limits, disk=disk) for signal in SIGNALS}
    metrics = Metrics()
    app = build_app(settings, journals, Tokens(folder / "tokens.json"), metrics=metrics, **options)
    server = build_server(app, settings, grpc=grpc)
    listening = socket.create_server((settings.host, settings.port), backlog=2048)  # connects succeed from here on
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        address = f"{settings.host}:{_grpc_port(server, thread)}" if grpc else ""
        port = listening.getsockname()[1]
        yield Tower(settings.host, port, token, journals, metrics, server, thread, listening, address)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        for journal in journals.values():
            journal.close()
        listening.close()
    assert not thread.is_alive()


def _grpc_port(server: Server, thread: threading.Thread) -> int:
    while not server.started:  # HTTP listens already, gRPC from here on
        assert thread.is_alive()
        thread.join(0.01)
    assert server.grpc is not None
    return server.grpc.port
