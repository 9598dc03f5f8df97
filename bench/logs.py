"""How fast lines of a log are matched: ``python -m bench.logs [--lines 200000] [--processes 2] [--stream-gib 10]``.

Logs of each format are written in which one line in a hundred, one in ten, and each fits the rule. As many processes as
asked for scrape one each, at the same time, into what only acknowledges, by the command and with all that it keeps on the
disk. With ``--stream-gib`` one log grows by so much, is rotated, and read on meanwhile by one process: its memory is told
as it goes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from controltower.cli.bench.receiver import receiver
from controltower.cli.bench.scrape import COMMAND, FORMS, Form, write_log
from controltower.collector.redaction.policy import default_policy
from controltower.collector.scrapers.definition import load_sources
from controltower.collector.scrapers.delivery import Collector
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.worker import Health, Worker
from controltower.tracer.tokens import Tokeniser

GIB: Final = 1024**3
MIB: Final = 1024**2
ONE_IN: Final = (100, 10, 1)
AHEAD_BYTES: Final = 32 * MIB  # that the writer of a stream is ahead of who reads it
LINES_OF_BLOCK: Final = 100_000
ROTATED_AT: Final = 256 * MIB
NOISE: Final = {
    "text": ("sent purchase order", "tried connection"),
    "json": ('"event": "sent"', '"event": "tick"'),
    "access_combined": ("POST /orders/", "GET /health/"),
}


def main() -> None:
    """Measure, and print a line per case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--stream-gib", type=float, default=0.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as folder, receiver() as url:
        if arguments.stream_gib:
            stream(Path(folder), url, int(arguments.stream_gib * GIB))
            return
        print(f"{'format':16} {'fits':>9} {'lines/s':>10} {'CPU µs/line':>12} {'peak MiB':>9}")
        for form in FORMS:
            if form.documents:
                continue
            for one_in in ONE_IN:
                case(Path(folder), mixed(form, one_in), one_in, url, arguments.lines, arguments.processes)


def mixed(form: Form, one_in: int) -> Form:
    """Return a format of which one line in so many fits the rule."""
    fits, other = NOISE[form.name]

    def line(number: int, at: object) -> str:
        text: str = form.line(number, at)  # type: ignore[arg-type]  # a time, as it was given
        return text if number % one_in == 0 else text.replace(fits, other)

    only = f"\n    only: '{fits}'" if form.name != "text" and one_in > 1 else ""
    return replace(form, line=line, source=only + form.source)


def case(folder: Path, form: Form, one_in: int, url: str, lines: int, processes: int) -> None:
    """Scrape as many logs as there are processes, at the same time."""
    sources = []
    for number in range(processes):
        log = folder / f"{form.name}-{number}.log"
        write_log(log, form, lines)
        sources.append(folder / f"{form.name}-{number}.yaml")
        name = f"bench-{form.name.replace('_', '-')}-{number}"
        sources[-1].write_text(
            f"sources:\n  {name}:\n    kind: log\n    files: ['{log}']{form.source}", encoding="utf-8"
        )
    before, since = _cpu_s(), time.perf_counter()
    running = [
        _scraping(file, folder / f"data-{form.name}-{one_in}-{number}", url) for number, file in enumerate(sources)
    ]
    printed = [process.communicate()[0] for process in running]
    took, used = time.perf_counter() - since, _cpu_s() - before
    for process, text in zip(running, printed, strict=True):
        (source,) = json.loads(text)["sources"]
        assert process.returncode == 0
        assert source["records"] == lines
        assert source["steps"] == -(-lines // one_in)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    total = lines * processes
    print(
        f"{form.name:16} {f'1 in {one_in}':>9} {total / took:10,.0f} {used / total * 1e6:12.1f} {peak:9.0f}", flush=True
    )


def _scraping(sources: Path, data: Path, url: str) -> "subprocess.Popen[str]":
    words = [*COMMAND, "scrape", str(sources), "--once", "--json", "--quiet", "--data", str(data)]
    environment = {**os.environ, "CONTROLTOWER_ENDPOINT": url, "CONTROLTOWER_TOKEN": "", "CONTROLTOWER_TOKEN_FILE": ""}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stream(folder: Path, url: str, wanted: int) -> None:
    """Read a log that grows by *wanted* bytes, and tell the memory of this process at each tenth."""
    form = mixed(FORMS[0], 100)
    block = folder / "block"
    size = write_log(block, form, LINES_OF_BLOCK)
    content = block.read_bytes()
    log = folder / "app.log"
    log.touch()
    file = folder / "sources.yaml"
    file.write_text(f"sources:\n  app:\n    kind: log\n    files: ['{log}*']{form.source}", encoding="utf-8")
    written, told = 0, 0

    def grow(health: Health) -> None:
        nonlocal written, told
        if written * 10 // wanted > told:
            told = written * 10 // wanted
            print(f"{written / GIB:6.2f} GiB  {health.records:13,} lines  {_resident_mib():6.0f} MiB", flush=True)
        if written < wanted and health.behind_bytes < AHEAD_BYTES:
            written += _append(log, written, content)

    with _worker(file, folder / "state", url) as worker:
        before, since = time.process_time(), time.perf_counter()
        written = _append(log, 0, content)
        worker.run_once(grow)
        used, took = time.process_time() - before, time.perf_counter() - since
    health = worker.health
    blocks = written // size
    assert health.records == blocks * (LINES_OF_BLOCK + 1)
    assert health.steps == blocks * LINES_OF_BLOCK // 100
    print(f"{health.records / took:,.0f} lines/s, {used / health.records * 1e6:.2f} µs of CPU a line, writing included")


def _append(log: Path, number: int, content: bytes) -> int:
    """Append a block and return its size; rotate by rename what is large, and what was rotated before is read by then.

    A line of its own begins each block: a file that begins as another one does is taken for its copy.
    """
    if log.stat().st_size > ROTATED_AT:
        log.rename(log.with_name("app.log.1"))
    with log.open("ab") as file:
        return file.write(b"block %d\n" % number + content)


@contextmanager
def _worker(file: Path, folder: Path, url: str) -> Iterator[Worker]:
    (name, source), *_ = load_sources(file).sources.items()
    yield Worker(name, source, folder, Collector(url), Policies(default_policy(), Tokeniser(())), None, time.time_ns)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MIB


if __name__ == "__main__":
    sys.exit(main())
