"""One case of the bench: send, wait until everything that was acknowledged is visible, and say what it took."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from clickhouse_connect.driver.client import Client

from controltower.cli.bench.batches import Template, template
from controltower.cli.bench.sending import Connect, Limits, send
from controltower.cli.bench.shape import SERVICES, SPANS_PER_TRACE
from controltower.cli.bench.usage import Usage, own_cpu_s, reset_peak, usage_of
from controltower.store.bench_reads import TableSize, table_sizes

Transport = Literal["http", "grpc"]
TRANSPORTS: Final[tuple[Transport, ...]] = ("http", "grpc")

STANDSTILL_S: Final = 120.0  # without progress for so long, what is missing is reported as not visible
LOOK_EVERY_S: Final = 0.1
SPANS_TABLE: Final = "otel_traces"
BEFORE: Final = timedelta(minutes=1)  # spans begin a few seconds before they are sent


@dataclass(frozen=True, slots=True)
class Case:
    """How is sent: spans in a request, and over how many connections."""

    transport: Transport
    size: int
    connections: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case. Times in seconds; what the system does not tell is None."""

    case: Case
    sent: int
    acknowledged: int
    refused: dict[str, int]  # requests, by the status of the answer or the kind of failure
    visible: int
    sending_s: float
    visible_after_s: float  # from the last answer
    acknowledge_p50_s: float | None
    acknowledge_p99_s: float | None
    collector_cpu_s: float | None  # of the collector's process, the embedded store included, until all was visible
    collector_peak_bytes: int | None
    generator_cpu_s: float
    disk_bytes_per_span: float | None  # of all tables, as they lay on the disk when all was visible

    @property
    def acknowledged_per_s(self) -> float:
        """Spans acknowledged per second of sending."""
        return self.acknowledged / self.sending_s if self.sending_s else 0.0

    @property
    def visible_per_s(self) -> float:
        """Spans visible per second, from the first request until the last span was visible."""
        return self.visible / (self.sending_s + self.visible_after_s) if self.visible else 0.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What is driven: how to connect, the store behind it, and the processes that do the work where they are known."""

    connect: Callable[[Transport], Connect]
    client: Client
    count: Callable[[Sequence[str], datetime], int]  # spans of these services that began at that time or later
    pids: Sequence[int]  # whose CPU and memory are counted
    run: str  # part of the names of the services, so that runs on one store do not count each other's spans


def run_case(bench: Bench, case: Case, limits: Limits, number: int) -> Result:
    """Run *case*; blocks until everything is visible or nothing more comes. Raises OSError, StoreError."""
    services = [f"{service}.{bench.run}-{number}" for service in SERVICES]
    templates = templates_of(case.size, services)
    since = datetime.now(UTC) - BEFORE
    before = _Before.now(bench)
    sent = asyncio.run(send(bench.connect(case.transport), templates, case.connections, limits, seed=number))
    generator_cpu_s = own_cpu_s() - before.own_cpu_s
    visible, seen_at = wait_visible(lambda: bench.count(services, since), sent.acknowledged)
    used = usage_of(bench.pids)
    return Result(
        case=case,
        sent=sent.spans,
        acknowledged=sent.acknowledged,
        refused=dict(sent.refused),
        visible=visible,
        sending_s=sent.ended_at - sent.began_at,
        visible_after_s=max(0.0, seen_at - sent.ended_at),
        acknowledge_p50_s=sent.percentile_s(0.50),
        acknowledge_p99_s=sent.percentile_s(0.99),
        collector_cpu_s=used.cpu_s - before.used.cpu_s if used and before.used else None,
        collector_peak_bytes=used.peak_bytes if used else None,
        generator_cpu_s=generator_cpu_s,
        disk_bytes_per_span=_per_span(before.sizes, table_sizes(bench.client)),
    )


@dataclass(frozen=True, slots=True)
class _Before:
    """Where everything stood before a case."""

    own_cpu_s: float
    used: Usage | None
    sizes: Mapping[str, TableSize]

    @classmethod
    def now(cls, bench: Bench) -> "_Before":
        reset_peak(bench.pids)
        sizes = table_sizes(bench.client)
        return cls(own_cpu_s(), usage_of(bench.pids), sizes)


def templates_of(size: int, services: Sequence[str]) -> list[Template]:
    """Return the requests of a case: one per service, and for requests smaller than a trace every part of it."""
    if size >= SPANS_PER_TRACE:
        return [template(size, service) for service in services]
    return [template(size, services[first % len(services)], first) for first in range(SPANS_PER_TRACE)]


def wait_visible(
    count: Callable[[], int],
    wanted: int,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[int, float]:
    """Ask *count* until it gives *wanted* or stands still for two minutes; return it and when it was first seen."""
    seen, seen_at = count(), monotonic()
    while seen < wanted and monotonic() - seen_at < STANDSTILL_S:
        sleep(LOOK_EVERY_S)
        found = count()
        if found != seen:
            seen, seen_at = found, monotonic()
    return seen, seen_at


def _per_span(before: Mapping[str, TableSize], after: Mapping[str, TableSize]) -> float | None:
    """Return what the store grew by per span: parts that were merged meanwhile make it inexact for small cases."""
    nothing = TableSize(0, 0)
    rows = after.get(SPANS_TABLE, nothing).rows - before.get(SPANS_TABLE, nothing).rows
    grown = sum(size.bytes for size in after.values()) - sum(size.bytes for size in before.values())
    return grown / rows if rows > 0 else None
