"""OTLP requests as journal segments, and reading back what became of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from controltower.store.client import Client
from controltower.store.loader import Segment, Signal, load_segment
from controltower.store.otlp import DEPTH
from controltower.store.times import TimeBounds
from controltower.tracer.journal.records import encode, envelope

NOON_NS = 1_767_268_800_000_000_000  # 2026-01-01 12:00 UTC
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS

Value = AnyValue | str | bool | int | float | bytes | None


def value(of: Value) -> AnyValue:
    """Return the attribute value of a Python value; None is a value that is not set."""
    match of:
        case None:
            return AnyValue()
        case bool():  # before int: it is one
            return AnyValue(bool_value=of)
        case str():
            return AnyValue(string_value=of)
        case int():
            return AnyValue(int_value=of)
        case float():
            return AnyValue(double_value=of)
        case bytes():
            return AnyValue(bytes_value=of)
        case _:
            return of


def array(*values: Value) -> AnyValue:
    """Return an array."""
    return AnyValue(array_value=ArrayValue(values=[value(of) for of in values]))


def pairs(*items: tuple[str, Value]) -> AnyValue:
    """Return a key-value list."""
    return AnyValue(kvlist_value=KeyValueList(values=attributes(items)))


def attributes(items: Iterable[tuple[str, Value]]) -> list[KeyValue]:
    """Return a list of attributes."""
    return [KeyValue(key=key, value=value(of)) for key, of in items]


def span(number: int = 1, have: Mapping[str, Value] | None = None, **changes: Any) -> Span:
    """Return a span of one second at noon, whose ids follow from *number*."""
    fields: dict[str, Any] = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "name": f"span {number}",
        "start_time_unix_nano": NOON_NS,
        "end_time_unix_nano": NOON_NS + SECOND_NS,
        "attributes": attributes((have or {}).items()),
    }
    return Span(**(fields | changes))


def request(*spans: Span, resource: Mapping[str, Value] | None = None) -> ExportTraceServiceRequest:
    """Return a request with the spans of one service."""
    named: dict[str, Value] = {"service.name": "erp", **(resource or {})}
    made = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    made.resource.attributes.extend(attributes(named.items()))
    return ExportTraceServiceRequest(resource_spans=[made])


def record(message: bytes, received_ns: int = NOON_NS, tenant: str = "acme") -> bytes:
    """Return a record of the journal."""
    return b"".join(encode(message + envelope(received_ns, tenant))[0])


@dataclass(frozen=True)
class Loading:
    """A store, and a folder for the segments to load into it."""

    client: Client
    folder: Path
    numbers: "count[int]"

    def segment(self, content: bytes, token: str | None = None, signal: Signal = "traces") -> Segment:
        """Return a segment with *content*."""
        name = token or f"segment-{next(self.numbers)}"
        path = self.folder / name
        path.write_bytes(content)
        return Segment(name, signal, path)

    def load(
        self,
        *requests: ExportTraceServiceRequest,
        received_ns: int = NOON_NS,
        bounds: TimeBounds | None = None,
        depth: int = DEPTH,
    ) -> str:
        """Load requests as one segment and return its token."""
        content = b"".join(record(each.SerializeToString(), received_ns) for each in requests)
        segment = self.segment(content)
        load_segment(self.client, segment, bounds, depth=depth)
        return segment.id

    def load_signal(
        self,
        signal: Signal,
        *requests: ExportLogsServiceRequest | ExportMetricsServiceRequest,
        bounds: TimeBounds | None = None,
    ) -> str:
        """Load requests of any signal as one segment and return its token."""
        return self.put(signal, b"".join(record(each.SerializeToString()) for each in requests), bounds)

    def put(self, signal: Signal, content: bytes, bounds: TimeBounds | None = None) -> str:
        """Load records of the journal as one segment and return its token."""
        segment = self.segment(content, signal=signal)
        load_segment(self.client, segment, bounds)
        return segment.id

    def read(self, table: str, token: str, *columns: str, order: str = "SentUnixNano") -> Sequence[Sequence[Any]]:
        """Return columns of what a segment became in *table*."""
        names = ", ".join(columns)
        where = f"WHERE SegmentId = {{token:String}} ORDER BY {order}"
        return self.client.query(f"SELECT {names} FROM {table} {where}", parameters={"token": token}).result_rows

    def rows(self, token: str, *columns: str) -> Sequence[Sequence[Any]]:
        """Return columns of the spans that a segment became, in the order of their ids."""
        return self._rows("otel_traces", token, columns)

    def quarantined(self, token: str, *columns: str) -> Sequence[Sequence[Any]]:
        """Return columns of the spans of a segment that are in quarantine, in the order of their ids."""
        return self._rows("otel_traces_quarantine", token, columns)

    def _rows(self, table: str, token: str, columns: Sequence[str]) -> Sequence[Sequence[Any]]:
        names = ", ".join(columns)
        where = "WHERE SegmentId = {token:String} ORDER BY TraceId, SpanId"
        return self.client.query(f"SELECT {names} FROM {table} {where}", parameters={"token": token}).result_rows

    def texts(self, *spans: Span) -> list[dict[str, str]]:
        """Load spans and return the attributes of each as stored."""
        return [row[0] for row in self.rows(self.load(request(*spans)), "SpanAttributes")]

    def count(self, table: str) -> int:
        """Return the rows of a table."""
        return int(self.client.query(f"SELECT count() FROM {table}").result_rows[0][0])
