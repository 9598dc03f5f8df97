"""Spans as a stock Collector's exporter writes them, for tests of what the engine makes of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from controltower.store.client import Client

_COLUMNS = [
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
    "Links.TraceId",
    "Links.SpanId",
    "Links.TraceState",
    "Links.Attributes",
]


@dataclass(frozen=True)
class Span:
    """A span with our attributes, in the words of the SDK."""

    trace: int
    span: int
    at: datetime
    step: str
    keys: Mapping[str, str | Sequence[str]]
    service: str = "erp"
    context: Mapping[str, str] = field(default_factory=dict)
    scopes: Mapping[str, str] = field(default_factory=dict)
    lines: Sequence[Mapping[str, str]] = ()
    more: Mapping[str, str] = field(default_factory=dict)
    failed: bool = False
    links: Sequence[tuple[int, int]] = ()  # trace and span of each

    @property
    def id(self) -> tuple[str, str]:
        """Return trace id and span id."""
        return f"{self.trace:032x}", f"{self.span:016x}"

    def attributes(self) -> dict[str, str]:
        """Return the span's attributes as the store holds them: arrays are JSON text."""
        named = {f"controltower.key.{name}": text_of(value) for name, value in self.keys.items()}
        named |= {f"controltower.scope.{name}": value for name, value in self.scopes.items()}
        named |= {f"controltower.context.{name}": value for name, value in self.context.items()}
        named |= {f"controltower.{name}": value for name, value in self.more.items()}
        return {"controltower.step": self.step, **named} if self.step else named


def store(client: Client, spans: Sequence[Span], loaded_at: datetime | None = None) -> None:
    """Write spans to otel_traces, as if they had been loaded then and not now."""
    loaded = {"LoadedAt": loaded_at} if loaded_at else {}
    rows: list[list[object]] = [
        [
            span.at,
            *span.id,
            span.step or "work",
            span.service,
            span.attributes(),
            1_000_000,
            "Error" if span.failed else "Unset",
            [span.at for _ in span.lines],
            ["controltower.line" for _ in span.lines],
            [dict(line) for line in span.lines],
            [f"{trace:032x}" for trace, _ in span.links],
            [f"{linked:016x}" for _, linked in span.links],
            ["" for _ in span.links],
            [{} for _ in span.links],
            *loaded.values(),
        ]
        for span in spans
    ]
    if rows:
        client.insert("otel_traces", rows, column_names=[*_COLUMNS, *loaded], settings={"async_insert": 0})


def text_of(value: str | Sequence[str]) -> str:
    """Return a key's value as the store holds it: several are JSON text."""
    return value if isinstance(value, str) else json.dumps(list(value))
