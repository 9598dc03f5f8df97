"""The results of the bench as a table for people and as JSON for programs."""

from collections.abc import Sequence
from typing import Any

from controltower.cli.bench.case import Result
from controltower.cli.text import table

_MIB = 1024 * 1024
_HEAD = (
    "TRANSPORT",
    "SPANS",
    "CONNECTIONS",
    "SENT",
    "ACKNOWLEDGED",
    "REFUSED",
    "VISIBLE",
    "ACK/S",
    "VISIBLE/S",
    "VISIBLE AFTER",
    "ACK P50",
    "ACK P99",
    "CPU",
    "PEAK",
    "DISK/SPAN",
    "GENERATOR",
)


def as_text(results: Sequence[Result]) -> str:
    """Return a line per case; rates are spans per second, CPU and generator microseconds of CPU per span."""
    return table([_row(result) for result in results], head=_HEAD, right=tuple(range(1, len(_HEAD))))


def _row(result: Result) -> list[str]:
    case = result.case
    return [
        case.transport,
        f"{case.size:,}",
        str(case.connections),
        f"{result.sent:,}",
        f"{result.acknowledged:,}",
        _refused(result.refused),
        f"{result.visible:,}",
        f"{result.acknowledged_per_s:,.0f}",
        f"{result.visible_per_s:,.0f}",
        f"{result.visible_after_s:.2f} s",
        _ms(result.acknowledge_p50_s),
        _ms(result.acknowledge_p99_s),
        _us(result.collector_cpu_s, result.acknowledged),
        f"{result.collector_peak_bytes / _MIB:,.0f} MiB" if result.collector_peak_bytes else "–",
        f"{result.disk_bytes_per_span:,.0f} B" if result.disk_bytes_per_span is not None else "–",
        _us(result.generator_cpu_s, result.sent),
    ]


def _refused(refused: dict[str, int]) -> str:
    return ", ".join(f"{count} × {status}" for status, count in sorted(refused.items())) or "0"


def _ms(seconds: float | None) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds is not None else "–"


def _us(seconds: float | None, spans: int) -> str:
    return f"{seconds / spans * 1e6:,.1f} µs" if seconds is not None and spans else "–"


def as_json(results: Sequence[Result], endpoint: str, store: str) -> dict[str, Any]:
    """Return the results with plain names and units in them."""
    return {"endpoint": endpoint, "store": store, "cases": [case_of(result) for result in results]}


def case_of(result: Result) -> dict[str, Any]:
    """Return one result."""
    return {
        "transport": result.case.transport,
        "spans_per_request": result.case.size,
        "connections": result.case.connections,
        "sent": result.sent,
        "acknowledged": result.acknowledged,
        "refused_requests": result.refused,
        "visible": result.visible,
        "sending_s": result.sending_s,
        "visible_after_s": result.visible_after_s,
        "acknowledged_per_s": result.acknowledged_per_s,
        "visible_per_s": result.visible_per_s,
        "acknowledge_p50_s": result.acknowledge_p50_s,
        "acknowledge_p99_s": result.acknowledge_p99_s,
        "collector_cpu_s": result.collector_cpu_s,
        "collector_peak_bytes": result.collector_peak_bytes,
        "generator_cpu_s": result.generator_cpu_s,
        "disk_bytes_per_span": result.disk_bytes_per_span,
    }
