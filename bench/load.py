"""What an insert of a segment costs the engine, step by step: ``python -m bench.load [--mib 7] [--rounds 5] [--folder F]``.

A server without merges loads a segment of one span and one of many, first by all views, then with one step less after the
other. The first is what an insert costs whatever its size (analysis of the views, parts); the rest is what a span costs.
Processor time of the server, the least of the rounds.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from controltower.cli.bench.case import templates_of
from controltower.cli.bench.shape import SERVICES
from controltower.collector.redaction.loading import load_rules
from controltower.collector.redaction.policy import default_policy
from controltower.store.address import parse_address
from controltower.store.client import Client, connect
from controltower.store.loader import Segment, load_segment
from controltower.store.otlp import PLAIN
from controltower.store.redacting import apply_redaction
from controltower.store.schema import migrate
from controltower.tracer.journal.records import encode, envelope
from tests.clickhouse_server import running

MIB: Final = 1024 * 1024
TENANT: Final = "acme"

# From the tables back to the inbox: what is left out from here on, and what it did. Single small views are below the noise.
STEPS: Final = (
    (
        "keys and other tables",
        (
            "otel_traces_to_redactions",
            "otel_traces_to_source_watermarks",
            "otel_traces_to_span_keys",
            "otel_traces_trace_id_ts_mv",
            "otlp_traces_to_quarantine",
        ),
    ),
    ("otel_traces", ("otlp_traces_to_otel_traces",)),
    ("redaction", ("otlp_traces_redact",)),
    ("rows of spans", ("otlp_traces_plain_decode",)),
)
LAST: Final = "reading protobuf"


def segment(path: Path, least_bytes: int, spans: int) -> int:
    """Write a segment of requests of *spans* spans, of *least_bytes* or more; returns the spans in it."""
    randomness = random.Random(1)
    templates = templates_of(spans, SERVICES)
    count = 0
    with path.open("wb") as file:
        while file.tell() < least_bytes:
            now = time.time_ns()
            body = templates[count % len(templates)].body(count, now, randomness)
            file.write(b"".join(encode(body + envelope(now, TENANT))[0]))
            count += 1
    return count * spans


def processor_ns(pid: int) -> int:
    """Return the processor time that a process has used, in nanoseconds: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def costs(client: Client, pid: int, segments: tuple[Path, Path], spans: int, rounds: int) -> tuple[float, float]:
    """Return milliseconds of an insert whatever its size, and microseconds of a span."""
    least = []
    for path in segments:
        taken = []
        for turn in range(rounds):
            before = processor_ns(pid)
            load_segment(client, Segment(f"{path.name}-{turn}-{before}", "traces", path), depth=PLAIN)
            taken.append(processor_ns(pid) - before)
        least.append(min(taken))
    fixed, whole = least
    return fixed / 1e6, (whole - fixed) / spans / 1e3


def steps(
    client: Client, pid: int, segments: tuple[Path, Path], spans: int, rounds: int
) -> Iterator[tuple[str, float, float]]:
    """Yield what each step costs, the last first: the difference that leaving it out makes."""
    fixed, each = costs(client, pid, segments, spans, rounds)
    yield "all", fixed, each
    for step, views in STEPS:
        for view in views:
            client.command(f"DROP VIEW {view} SYNC")
        before, (fixed, each) = (fixed, each), costs(client, pid, segments, spans, rounds)
        yield step, before[0] - fixed, before[1] - each
    yield LAST, fixed, each


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument(
        "--mib", type=int, default=7, help="of the segment of many spans: larger ones are read in pieces"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the data lies while it runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        one, many = Path(folder) / "one", Path(folder) / "many"
        segment(one, 1, 1)
        spans = segment(many, options.mib * MIB, 2048)
        with running(Path(folder) / "clickhouse") as server:
            client = connect(parse_address(server.address("load")))
            migrate(client)
            apply_redaction(client, load_rules(default_policy()))
            client.command("SYSTEM STOP MERGES")
            for step, fixed, each in steps(client, server.pid, (one, many), spans, options.rounds):
                print(f"{step:<28} {fixed:>6.1f} ms an insert  {each:>5.2f} us a span", flush=True)


if __name__ == "__main__":
    main()
