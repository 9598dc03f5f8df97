"""Durable export, measured: ``python -m bench.durable cost | day | calls``.

``cost``   processor time of a step: a plain OpenTelemetry span with its batch processor, our step with the stock exporter,
           and with durable export, side by side, all to a collector in another process that throws away what it takes.
``day``    a simulated day at 50 steps a second while the collector is down, with two ``kill -9`` of the host, then the real
           collector: which steps arrive, how often, in which order, and how much of the disk was used.
``calls``  the system calls of the thread that emits steps, by strace, with the collector down, the disk full (a small
           tmpfs), and a name server that never answers (a mount namespace of its own; both need root).
"""

import argparse
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from controltower import tracer
from controltower.collector.app import build_app, build_server
from controltower.collector.auth import Tokens, create_token
from controltower.collector.settings import Settings
from controltower.tracer.durable.bodies import body_of
from controltower.tracer.journal import Journal, JournalLimits

ROOT: Final = Path(__file__).resolve().parents[1]
RATE: Final = 50  # simulated steps a second
DAY: Final = 24 * 3600 * RATE
T0: Final = 1_780_000_000_000_000_000
STEP_NS: Final = 10**9 // RATE
AT_ONCE: Final = 4_000  # steps between two confirmations
BUDGET: Final = 4 * 1024**3
KEYS: Final = {"purchase_order": "PO-1042"}


def emit(system: tracer.System, number: int) -> None:
    """Emit one step as an adapter would."""
    with system.step(
        "p2p.purchase_order.dispatched",
        keys={"purchase_order": f"PO-{number}"},
        context={"vendor": "V-7"},
        amount="1250.00",
        currency="USD",
    ):
        pass


# -- what runs in processes of its own


class Discard(BaseHTTPRequestHandler):
    """Answers 200 and forgets."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read a body."""
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


def sink() -> None:
    """Take requests until the input ends; prints the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Discard) as server:
        print(server.server_port, flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


def collector(folder: Path, port: int) -> None:
    """Be the real collector, without a store behind its journal, until the input ends."""
    settings = Settings(port=port, grpc=False, deadline_s=60.0, journal_reserve_bytes=0)
    journal = Journal(folder / "journal", JournalLimits(budget_bytes=64 * 1024**3))
    server = build_server(build_app(settings, {"traces": journal}, Tokens(folder / "tokens.json")), settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    sys.stdin.read()
    server.should_exit = True
    thread.join()
    journal.close()


def host(folder: Path, endpoint: str, token: str, first: int, last: int) -> None:
    """Emit simulated steps and confirm those that are on the disk; send them when the input says so."""
    now = iter(range(T0 + first * STEP_NS, 1 << 63, STEP_NS // 2))  # a step reads the clock at its start and its end
    system = tracer.System(
        service="erp", endpoint=endpoint, token=token, durable=folder, durable_bytes=BUDGET, durable_reserve_bytes=0,
        when_full="block", clock=lambda: next(now), batch_size=1024,
    )  # fmt: skip
    library = system.provider.get_tracer("library")
    for begin in range(first, last, AT_ONCE):
        for number in range(begin, min(begin + AT_ONCE, last)):
            emit(system, number)
            if number % 20 == 0:
                library.start_span("SELECT").end()
        system.flush(60, to_disk=True)
        print(min(begin + AT_ONCE, last), flush=True)
    sys.stdin.readline()
    print(json.dumps({"sent": system.flush(3600), "health": str(system.health())}), flush=True)
    system.shutdown()


def caller(folder: Path, endpoint: str, steps: int) -> None:
    """Emit steps from the main thread, whose system calls are looked at between two writes of marks."""
    system = tracer.System(service="erp", endpoint=endpoint, durable=folder, durable_reserve_bytes=0, queue_size=1024)
    emit(system, 0)
    system.flush(2)  # everything is imported and in trouble by now
    os.write(1, b"mark begin\n")
    for number in range(steps):
        emit(system, number)
    os.write(1, b"mark end\n")
    print(system.health(), flush=True)
    os._exit(0)


@contextmanager
def process(*words: object, prefix: tuple[str, ...] = ()) -> Iterator["subprocess.Popen[str]"]:
    """Run a part of this module in another process until the block ends."""
    command = [*prefix, sys.executable, "-m", "bench.durable", *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            if started.stdin is not None:
                started.stdin.close()


# -- cost


def cost(steps: int, rounds: int) -> None:
    """Print microseconds of processor time of a step for each side."""
    sides: dict[str, Callable[[str, Path], tuple[float, float]]] = {
        "plain OpenTelemetry": lambda url, folder: plain(url, steps),
        "step, stock exporter": lambda url, folder: ours(steps, tracer.System(service="erp", endpoint=url, **QUEUE)),
        "step, durable export": lambda url, folder: ours(
            steps, tracer.System(service="erp", endpoint=url, durable=folder, durable_reserve_bytes=0, **QUEUE)
        ),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    with process("sink") as server, tempfile.TemporaryDirectory() as folder:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        for turn in range(rounds + 1):
            for name, run in sides.items():
                taken = run(url, Path(folder))
                if turn:  # the first one warms up
                    found[name].append(taken)
    for name, times in found.items():
        on_path, whole = [each[0] for each in times], [each[1] for each in times]
        print(f"{name}: caller's thread {_spread(on_path)} µs, whole process {_spread(whole)} µs")


QUEUE: Final = {"queue_size": 200_000}


def plain(url: str, steps: int) -> tuple[float, float]:
    """Emit spans with the same attributes by OpenTelemetry alone."""
    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=200_000, max_export_batch_size=1024))
    emitter = provider.get_tracer("bench")
    cpu, path = time.process_time(), time.thread_time()
    for number in range(steps):
        with emitter.start_as_current_span(
            "p2p.purchase_order.dispatched",
            attributes={
                "controltower.step": "p2p.purchase_order.dispatched",
                "controltower.key.purchase_order": f"PO-{number}",
                "controltower.context.vendor": "V-7",
                "controltower.amount": "1250.00",
                "controltower.currency": "USD",
            },
        ):
            pass
    on_path = time.thread_time() - path
    provider.force_flush()
    whole = time.process_time() - cpu
    provider.shutdown()
    return on_path / steps * 1e6, whole / steps * 1e6


def ours(steps: int, system: tracer.System) -> tuple[float, float]:
    """Emit steps, and have all of them acknowledged."""
    cpu, path = time.process_time(), time.thread_time()
    for number in range(steps):
        emit(system, number)
    on_path = time.thread_time() - path
    assert system.flush(60), system.health()
    whole = time.process_time() - cpu
    system.shutdown()
    return on_path / steps * 1e6, whole / steps * 1e6


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


# -- a day


def day(steps: int, folder: Path, seed: int) -> None:
    """Kill the host twice during the outage, and say what arrived."""
    randomness = random.Random(seed)
    spool, tower = folder / "spool", folder / "tower"
    tower.mkdir(parents=True)
    token = create_token(tower / "tokens.json", "bench", "acme")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    confirmed = bytearray(steps)
    began, first, resumed = time.monotonic(), 0, list[int]()
    for kill in (1, 2):
        first = _until_killed(spool, url, token, first, steps * kill // 3, steps, confirmed, randomness)
        resumed.append(first)
        _say(began, f"killed the host: {first:,} steps confirmed, {_size(spool):,} bytes on the disk")
    with process("host", spool, url, token, first, steps) as last:
        assert last.stdout is not None
        assert last.stdin is not None
        for line in last.stdout:
            if int(line) == steps:
                break
        confirmed[first:steps] = b"\x01" * (steps - first)
        used = _size(spool)
        _say(began, f"end of the outage: {used:,} bytes on the disk, the budget is {BUDGET:,}")
        with process("collector", tower, port):
            last.stdin.write("\n")
            last.stdin.flush()
            sent = json.loads(last.stdout.readline())
            last.wait(60)
        _say(began, f"sent {sent['sent']}: {sent['health']}")
    _judge(tower / "journal", confirmed, resumed, used)


def _until_killed(
    spool: Path, url: str, token: str, first: int, until: int, steps: int, confirmed: bytearray, at: random.Random
) -> int:
    """Let a host emit from *first* on and kill it about *until*; return where the next one goes on."""
    with process("host", spool, url, token, first, steps) as running:
        assert running.stdout is not None
        for line in running.stdout:
            done = int(line)
            confirmed[first:done] = b"\x01" * (done - first)
            if done >= until:
                break
        threading.Event().wait(at.random())  # anywhere between two confirmations
        running.send_signal(signal.SIGKILL)
        for line in running.stdout:
            confirmed[done : int(line)] = b"\x01" * (int(line) - done)
            done = int(line)
    return done  # its work was not confirmed, so it is done again


def _judge(journal: Path, confirmed: bytearray, resumed: Sequence[int], used: int) -> None:
    arrived = bytearray(len(confirmed))
    twice = again = others = disorder = before = 0
    open_at_a_kill = {number for first in resumed for number in range(first, first + AT_ONCE)}
    known: set[bytes] = set()  # ids of steps that may have been done again
    reached = -1
    for segment in sorted(journal.glob("*.otlp")):
        for resource in ExportTraceServiceRequest.FromString(body_of(segment.read_bytes())).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    if span.name == "SELECT":
                        others += 1
                        continue
                    before += others > 0
                    number = (span.start_time_unix_nano - T0) // STEP_NS
                    if number in open_at_a_kill:
                        again += arrived[number]
                        twice += span.span_id in known
                        known.add(span.span_id)
                    else:
                        twice += arrived[number]
                        disorder += number < reached
                        reached = max(reached, number)
                    arrived[number] = 1
    missing = sum(1 for want, have in zip(confirmed, arrived, strict=True) if want and not have)
    print(
        f"confirmed {sum(confirmed):,} steps: missing {missing:,}, twice {twice:,}, out of order {disorder:,}, "
        f"behind other spans {before:,}; done again after a kill, and there from before it, too {again:,}; "
        f"other spans {others:,}; at most {used / sum(confirmed):,.0f} bytes of disk a step"
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _say(began: float, sentence: str) -> None:
    print(f"{time.monotonic() - began:6.0f} s  {sentence}", flush=True)


# -- system calls

BLOCKS: Final = re.compile(
    r"(read|write|writev|pread64|pwrite64|fsync|fdatasync|open|openat|connect|send|sendto|sendmsg|recv|recvfrom|recvmsg"
    r"|poll|ppoll|select|pselect6|epoll_wait|nanosleep|clock_nanosleep|fallocate|rename|unlink|mkdir|flock|fcntl|statfs)\("
)


def calls(steps: int) -> None:
    """Print the system calls of the emitting thread in each trouble."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, resolver = folder / "small", folder / "resolv.conf"
        small.mkdir()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:  # takes questions and answers none
            mute.bind(("127.0.0.1", 53))
            resolver.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
            full = f"mount -t tmpfs -o size=64k none {small} && head -c 1M /dev/zero > {small}/filler 2>/dev/null; "
            mute_names = f"mount --bind {resolver} /etc/resolv.conf; "
            for trouble, shell, where, url in (
                ("collector down", "", folder / "spool", "http://127.0.0.1:9"),
                ("disk full", full, small, "http://127.0.0.1:9"),
                ("names do not resolve", mute_names, folder / "spool2", "http://tower.example:4318"),
            ):
                trace = folder / "strace"
                command = f'{shell}exec "$@"'
                prefix = ("unshare", "-m", "sh", "-c", command, "sh", "strace", "-ff", "-o", str(trace))
                for old in folder.glob("strace.*"):
                    old.unlink()
                with process("caller", where, url, steps, prefix=prefix) as running:
                    said, _ = running.communicate(timeout=300)
                print(f"{trouble}: {_between_marks(folder)}; {said.splitlines()[-1]}")


def _between_marks(folder: Path) -> str:
    for path in folder.glob("strace.*"):
        text = path.read_text(errors="replace")
        if "mark begin" in text:
            inside = text.partition("mark begin")[2].partition("mark end")[0].splitlines()[1:-1]
            found = Counter(line.partition("(")[0] for line in inside if "(" in line)
            blocking = sum(1 for line in inside if BLOCKS.match(line))
            return f"{blocking} blocking calls, all calls {dict(found)}"
    raise AssertionError("no thread wrote the marks")


def main() -> None:
    """Run what the arguments ask for."""
    inner = {"sink": sink, "collector": collector, "host": host, "caller": caller}
    if sys.argv[1:2] and sys.argv[1] in inner:
        _inner(sys.argv[1], sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "day", "calls"])
    parser.add_argument("--steps", type=int, help="20,000 a round, a day of 4,320,000, or 20,000 looked at")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="of the day: some 6 GB, on the volume to measure")
    given = parser.parse_args()
    if given.what == "cost":
        cost(given.steps or 20_000, given.rounds)
    elif given.what == "calls":
        calls(given.steps or 20_000)
    else:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            day(given.steps or DAY, Path(folder), given.seed)


def _inner(name: str, words: list[str]) -> None:
    if name == "sink":
        sink()
    elif name == "collector":
        collector(Path(words[0]), int(words[1]))
    elif name == "host":
        host(Path(words[0]), words[1], words[2], int(words[3]), int(words[4]))
    else:
        caller(Path(words[0]), words[1], int(words[2]))


if __name__ == "__main__":
    main()
