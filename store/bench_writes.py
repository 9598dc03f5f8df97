"""What ``controltower bench resolve`` puts into the store: a pattern of spans, and copies of it made by the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from clickhouse_connect.driver.client import Client

from controltower.store.queries import statement
from controltower.tracer.attributes import LINE_EVENT

Part = Literal["bench-early", "bench-late"]
PARTS: Final[tuple[Part, Part]] = ("bench-early", "bench-late")

_COLUMNS: Final = (
    "Timestamp",
    "TraceId",
    "SpanId",
    "SpanName",
    "ServiceName",
    "SpanAttributes",
    "Duration",
    "StatusCode",
    "Events.Timestamp",
    "Events.Name",
    "Events.Attributes",
    "SegmentId",
)


@dataclass(frozen=True, slots=True)
class PatternSpan:
    """A span of the pattern as the store holds it; arrays in attributes are JSON text. ``lines`` are its line events."""

    part: Part
    at: datetime
    trace_id: str
    span_id: str
    name: str
    service: str
    attributes: Mapping[str, str]
    duration_ns: int
    failed: bool
    lines: Sequence[Mapping[str, str]]


def write_pattern(client: Client, spans: Sequence[PatternSpan]) -> None:
    """Store the pattern itself. Raises the engine's errors."""
    rows = [
        [
            span.at,
            span.trace_id,
            span.span_id,
            span.name,
            span.service,
            dict(span.attributes),
            span.duration_ns,
            "Error" if span.failed else "Unset",
            [span.at] * len(span.lines),
            [LINE_EVENT] * len(span.lines),
            [dict(line) for line in span.lines],
            span.part,
        ]
        for span in spans
    ]
    client.insert("otel_traces", rows, column_names=_COLUMNS)


def write_copies(client: Client, first: int, last: int, parts: Sequence[Part] = PARTS) -> None:
    """Store the copies *first* to *last* - 1 of these parts of the pattern. Raises the engine's errors."""
    if first < last:
        client.command(
            statement("insert_bench_copies"), parameters={"first": first, "last": last, "parts": list(parts)}
        )
