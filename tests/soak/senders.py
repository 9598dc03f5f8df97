"""Clients of the soak: they try each request until it is acknowledged, and send some again although they were."""

import json
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import grpc
import httpx
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from tests.collector.requests import PROTOBUF, request_of, span
from tests.soak.oracle import Ledger

SPANS_PER_REQUEST = 20
PAUSE_S = 0.02  # between two requests of one client: the faults are to be tested, not the speed
RETRY_S = 0.1
TIMEOUT_S = 6.0  # the collector answers within five seconds
REMEMBERED = 50  # acknowledged requests of each client that may be sent again
REPEATS = 0.05  # of the requests are sent again after they were acknowledged
START_NS = 1_760_000_000_000_000_000
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Client(Protocol):
    """Sends a request and returns the status of the answer, or the kind of failure."""

    def send(self, numbers: range) -> str:
        """Send the spans of these *numbers*; the same numbers give the same bytes."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class HttpClient:
    """OTLP over HTTP, as protobuf or as JSON."""

    def __init__(self, url: str, token: str, media_type: str, encode: Callable[[range], bytes]) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {token}", "content-type": media_type}
        self._encode = encode
        self._client = httpx.Client(timeout=TIMEOUT_S)

    def send(self, numbers: range) -> str:
        """Post the spans of these *numbers*."""
        try:
            answer = self._client.post(self._url, content=self._encode(numbers), headers=self._headers)
        except httpx.HTTPError as exc:
            return type(exc).__name__
        return "OK" if answer.status_code == httpx.codes.OK else str(answer.status_code)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


class GrpcClient:
    """OTLP over gRPC; the channel connects anew by itself."""

    def __init__(self, target: str, token: str) -> None:
        pauses = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        self._channel = grpc.insecure_channel(target, options=pauses)
        self._export: Any = self._channel.unary_unary(METHOD)
        self._metadata = (("authorization", f"Bearer {token}"),)

    def send(self, numbers: range) -> str:
        """Export the spans of these *numbers*."""
        try:
            self._export(as_protobuf(numbers), metadata=self._metadata, timeout=TIMEOUT_S)
        except grpc.RpcError as exc:
            status: Any = exc  # what a call raises is a Call, too, which its type does not tell
            return str(status.code().name)
        return "OK"

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()


class StockClient:
    """The exporter of OpenTelemetry for Python, with its own retries."""

    def __init__(self, url: str, token: str) -> None:
        self._exporter: SpanExporter = OTLPSpanExporter(url, headers={"authorization": f"Bearer {token}"}, timeout=10)

    def send(self, numbers: range) -> str:
        """Export the spans of these *numbers*."""
        exported = self._exporter.export([_as_sdk(number) for number in numbers])
        return "OK" if exported is SpanExportResult.SUCCESS else "stock exporter gave up"

    def close(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown()


def _as_sdk(number: int) -> ReadableSpan:
    context = SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return ReadableSpan(
        f"span {number}",
        context,
        resource=Resource({"service.name": "stock"}),
        attributes={"n": number},
        start_time=START_NS + number,
        end_time=START_NS + 500 + number,
    )


def as_protobuf(numbers: range) -> bytes:
    """Return the request with the spans of these *numbers*."""
    return request_of(*map(span, numbers))


def as_json(numbers: range) -> bytes:
    """Return the same request as OTLP/JSON."""
    spans = [
        {
            "traceId": f"{number:032x}",
            "spanId": f"{number:016x}",
            "name": f"span {number}",
            "startTimeUnixNano": str(START_NS + number),
            "endTimeUnixNano": str(START_NS + 500 + number),
            "attributes": [{"key": "n", "value": {"intValue": str(number)}}],
        }
        for number in numbers
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "tests"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()


class Sender(threading.Thread):
    """One client at work."""

    def __init__(self, client: Client, ledger: Ledger, seed: str, stop: threading.Event) -> None:
        super().__init__(name=f"sender-{seed}", daemon=True)
        self._client = client
        self._ledger = ledger
        self._chance = random.Random(seed)
        self._stop_asked = stop
        self._acknowledged: deque[range] = deque(maxlen=REMEMBERED)

    def run(self) -> None:
        """Send until asked to stop; what is not acknowledged by then stays so."""
        while not self._stop_asked.wait(PAUSE_S):
            if self._acknowledged and self._chance.random() < REPEATS:
                self._until_acknowledged(self._chance.choice(self._acknowledged), replayed=True)
            else:
                self._until_acknowledged(self._ledger.issue(SPANS_PER_REQUEST), replayed=False)
        self._client.close()

    def _until_acknowledged(self, numbers: range, *, replayed: bool) -> None:
        while True:
            status = self._client.send(numbers)
            self._ledger.answered(status)
            if status == "OK":
                self._ledger.acknowledge(numbers, replayed=replayed)
                self._acknowledged.append(numbers)
                return
            if self._stop_asked.wait(RETRY_S):
                return


def clients(collector: str, grpc_target: str, token: str, *, json_too: bool) -> list[Client]:
    """Return the clients of one collector: two over HTTP with protobuf, one with JSON, one over gRPC, a stock exporter."""
    url = f"{collector}/v1/traces"
    made: list[Client] = [HttpClient(url, token, PROTOBUF, as_protobuf) for _ in range(2)]
    if json_too:
        made.append(HttpClient(url, token, "application/json", as_json))
    return [*made, GrpcClient(grpc_target, token), StockClient(url, token)]
