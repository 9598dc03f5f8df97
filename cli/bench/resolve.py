"""``bench resolve``: what the engine needs for steps from scratch, for new ones over stored ones, and to read a path."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from controltower.cli.bench.pattern import pattern
from controltower.cli.bench.usage import own_cpu_s, reset_peak, usage_of
from controltower.cli.commands.trace import traced
from controltower.cli.text import table
from controltower.store.bench_reads import resolved_counts, some_anchors
from controltower.store.bench_writes import write_copies, write_pattern
from controltower.store.client import Client
from controltower.store.flows.engine import Engine
from controltower.store.flows.files import load_packs
from controltower.store.read import beside

PATTERN_STEPS: Final = 20_000
COPIES_AT_ONCE: Final = 10  # of one insert: its rows stand in memory
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Phase:
    """Work of the engine: steps taken, wall and CPU seconds of the whole process, and its peak memory if known."""

    steps: int
    seconds: float
    cpu_s: float
    peak_bytes: int | None

    @property
    def steps_per_s(self) -> float:
        """Steps resolved in a second."""
        return self.steps / self.seconds


@dataclass(frozen=True, slots=True)
class Resolved:
    """What came of the bench. A cycle takes new steps of transactions that are stored already; times in seconds."""

    scratch: Phase
    cycles: tuple[Phase, ...]
    stored_steps: int
    transactions: int
    trace_s: tuple[float, ...]  # of each lookup, ascending


def bench_resolve(
    client: Client,
    other: Client,
    steps: int,
    cycles: int,
    lookups: int,
    now: Callable[[], datetime],
    say: Callable[[str], None],
) -> Resolved:
    """Fill the empty store behind *client* with about *steps* steps, resolve them, then *cycles* times as many new ones
    as the pattern has, and read *lookups* paths, part of each over *other*. Raises StoreError.

    The new steps are the later halves of transactions whose earlier halves are among those stored first.
    """
    spans = pattern(min(PATTERN_STEPS, max(2, steps // (cycles + 1))), now())
    write_pattern(client, spans)
    whole = max(1, steps // len(spans) - cycles)
    say(f"storing {steps:,} spans")
    for first in range(1, whole, COPIES_AT_ONCE):
        write_copies(client, first, min(first + COPIES_AT_ONCE, whole))
    write_copies(client, whole, whole + 2 * cycles, ["bench-early"])
    engine = Engine(client, load_packs(), now)
    say("resolving them")
    scratch = measured(engine.catch_up)
    done = []
    for number in range(cycles):
        say(f"cycle {number + 1} of {cycles}")
        first = whole + 2 * number
        write_copies(client, first, first + 2, ["bench-late"])
        done.append(measured(engine.catch_up))
    say("reading paths")
    return Resolved(scratch, tuple(done), *resolved_counts(client), _trace_times(client, other, lookups))


def measured(work: Callable[[], int]) -> Phase:
    """Run *work*, which returns its number of steps, and say what it took."""
    pids = (os.getpid(),)
    reset_peak(pids)
    cpu, began = own_cpu_s(), time.perf_counter()
    steps = work()
    seconds, used = time.perf_counter() - began, usage_of(pids)
    return Phase(steps, seconds, own_cpu_s() - cpu, used.peak_bytes if used else None)


def _trace_times(client: Client, other: Client, lookups: int) -> tuple[float, ...]:
    times = []
    with beside(other) as aside:
        for anchor in some_anchors(client, lookups):
            began = time.perf_counter()
            traced(client, aside, anchor.value)
            times.append(time.perf_counter() - began)
    return tuple(sorted(times))


def percentile(ascending: Sequence[float], part: float) -> float | None:
    """Return the smallest value that *part* of the values do not exceed, None without values."""
    return ascending[max(0, math.ceil(part * len(ascending)) - 1)] if ascending else None


def resolved_json(found: Resolved, store: str) -> dict[str, Any]:
    """Return the result with plain names and units in them."""
    return {
        "store": store,
        "stored_steps": found.stored_steps,
        "transactions": found.transactions,
        "from_scratch": _phase_json(found.scratch),
        "cycles": [_phase_json(cycle) for cycle in found.cycles],
        "trace": {
            "lookups": len(found.trace_s),
            "p50_s": percentile(found.trace_s, 0.5),
            "p99_s": percentile(found.trace_s, 0.99),
        },
    }


def _phase_json(phase: Phase) -> dict[str, Any]:
    return {
        "steps": phase.steps,
        "seconds": phase.seconds,
        "steps_per_s": phase.steps_per_s,
        "cpu_s": phase.cpu_s,
        "peak_bytes": phase.peak_bytes,
    }


def resolved_text(found: Resolved) -> str:
    """Return a line per phase, and one about reading."""
    phases = [("from scratch", found.scratch), *((f"cycle {n}", each) for n, each in enumerate(found.cycles, 1))]
    rows = [
        [
            name,
            f"{phase.steps:,}",
            f"{phase.seconds:,.2f} s",
            f"{phase.steps_per_s:,.0f}",
            f"{phase.cpu_s:,.2f} s",
            f"{phase.peak_bytes / _MIB:,.0f} MiB" if phase.peak_bytes else "–",
        ]
        for name, phase in phases
    ]
    shown = table(rows, head=("PHASE", "STEPS", "TIME", "STEPS/S", "CPU", "PEAK"), right=(1, 2, 3, 4, 5))
    p50, p99 = percentile(found.trace_s, 0.5), percentile(found.trace_s, 0.99)
    reading = f"trace: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms" if p50 and p99 else "trace: nothing to read"
    return f"{shown}\n{found.stored_steps:,} steps in {found.transactions:,} transactions; {reading}"
