"""What the tests of the conformance list share: bodies that no other test sends, in both encodings of HTTP."""

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]  # generated, without a marker
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # the same
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collector.otlp_json_writer import as_json
from tests.collector.requests import PROTOBUF, Answer, Tower, request_of, span

JSON = "application/json"
NUMBERS = count(10**6)


def new_span(**changes: Any) -> Span:
    """Return a span that no other test sends."""
    return span(next(NUMBERS), **changes)


def new_request(spans: int = 1) -> bytes:
    """Return a request that no other test sends."""
    return request_of(*[new_span() for _ in range(spans)])


def json_request(spans: list[dict[str, Any]], **around: Any) -> bytes:
    """Return a request in OTLP/JSON of *spans*, each with an id unless it has one."""
    named = [{"traceId": f"{next(NUMBERS):032x}", "spanId": f"{next(NUMBERS):016x}", **each} for each in spans]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": named}]}], **around}).encode()


def send_json(tower: Tower, body: bytes, path: str = "/v1/traces", **headers: str | None) -> Answer:
    """Send *body* as JSON."""
    return tower.send(body, path, "POST", content_type=JSON, **headers)


def sent(tower: Tower, send: Callable[[], Answer], signal: str = "traces") -> tuple[Answer, list[bytes]]:
    """Return what is answered to one more request, and the bodies that it left in the journal."""
    before = len(tower.stored_bodies(signal))
    answer = send()
    return answer, tower.stored_bodies(signal)[before:]


def stored_by(tower: Tower, send: Callable[[], Answer], signal: str = "traces") -> list[bytes]:
    """Return the bodies that one more request left in the journal; it must have been answered with 200."""
    answer, bodies = sent(tower, send, signal)
    assert answer.status == 200, answer.body
    return bodies


def spans_of(bodies: list[bytes]) -> list[Span]:
    """Return the spans in *bodies*, in order."""
    return [
        each
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for each in scope.spans
    ]


def stored_span(tower: Tower, fields: dict[str, Any]) -> Span:
    """Send one span in JSON and return it as it was stored."""
    (found,) = spans_of(stored_by(tower, lambda: send_json(tower, json_request([fields]))))
    return found


@dataclass(frozen=True)
class Way:
    """One of the encodings and codings in which a request comes over HTTP."""

    media_type: str
    coding: str = "identity"

    def send(self, tower: Tower, body: bytes, path: str = "/v1/traces", **headers: str | None) -> Answer:
        """Send the protobuf request *body* in this way; what is no request is sent as it is."""
        written = self._written(body)
        if self.coding == "gzip":
            written = gzip.compress(written, mtime=0)
        elif self.coding == "deflate":
            written = zlib.compress(written)
        return tower.send(written, path, "POST", content_type=self.media_type, content_encoding=self.coding, **headers)

    def _written(self, body: bytes) -> bytes:
        if self.media_type == PROTOBUF or body == NO_REQUEST:
            return body
        return as_json(ExportTraceServiceRequest.FromString(body))

    def response(self, answer: Answer) -> dict[str, Any]:
        """Return the body of a 200 as an object of JSON; it must be of the type of the request, and readable as such."""
        assert answer.headers["content-type"] == self.media_type
        if self.media_type == JSON:
            found: dict[str, Any] = json.loads(answer.body)
            return found
        partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
        if not (partial.rejected_spans or partial.error_message):
            assert answer.body == b""
            return {}
        fields = {"rejectedSpans": str(partial.rejected_spans)} if partial.rejected_spans else {}
        return {"partialSuccess": {**fields, "errorMessage": partial.error_message}}

    def status(self, answer: Answer) -> tuple[str, str]:
        """Return code and message of the Status that an error body is; it must be of the type of the request."""
        assert answer.headers["content-type"] == self.media_type
        if self.media_type == JSON:
            found = json.loads(answer.body)
            return Code.Name(found["code"]), found["message"]
        status = Status.FromString(answer.body)
        return Code.Name(status.code), status.message


NO_REQUEST = b"\xff\xff neither protobuf nor JSON"
WAYS = {
    "protobuf": Way(PROTOBUF),
    "protobuf-gzip": Way(PROTOBUF, "gzip"),
    "json": Way(JSON),
    "json-gzip": Way(JSON, "gzip"),
}
