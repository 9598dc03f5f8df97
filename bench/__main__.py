"""Our collector and Rotel side by side: the same generator, the same kind of engine, one run, alternating.

python -m bench [--rounds 5] [--sizes 2048,1] [--spans 200000] [--only rotel,collect,serve] [--json]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from bench.sides import Side, collect, embedded, rotel
from controltower.cli.bench.case import Bench, Case, Result, Transport, run_case
from controltower.cli.bench.http import http_connect
from controltower.cli.bench.report import case_of
from controltower.cli.bench.sending import Connect, Limits
from controltower.cli.bench.usage import Usage, usage_of
from tests.clickhouse_server import running

SIDES: Final = ("rotel", "collect", "serve")
PEER: Final = "rotel"
MIB: Final = 1024 * 1024
SMALL: Final = 100  # of the spans of a case are sent when a request holds few: they take longer


def main() -> None:
    """Run the rounds and print a line per case, then the ratios."""
    arguments = _arguments()
    results: dict[tuple[str, int], list[Result]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.folder)))
        sides = _start(stack, folder, arguments.only)
        number = 0
        for size in arguments.sizes:
            limits = Limits(arguments.spans if size >= SMALL else arguments.spans // 10, arguments.seconds)
            for turn in range(arguments.rounds + 1):
                for side in sides if turn % 2 else sides[::-1]:
                    number += 1
                    result = _turn(side, turn, Case("http", size, arguments.connections), limits, number)
                    if turn:  # the first one warms up
                        results.setdefault((side.name, size), []).append(result)
    for size in arguments.sizes:
        print(_ratios(size, {side.name: results[side.name, size] for side in sides}))
    if arguments.json:
        print(
            json.dumps({f"{side} {size}": [case_of(each) for each in found] for (side, size), found in results.items()})
        )


def _start(stack: ExitStack, folder: Path, only: Sequence[str]) -> list[Side]:
    sides: list[Side] = []
    if {"rotel", "collect"} & set(only):
        server = stack.enter_context(running(folder / "clickhouse"))
        if "rotel" in only:
            sides.append(stack.enter_context(rotel(server, folder)))
        if "collect" in only:
            sides.append(stack.enter_context(collect(server, folder)))
    if "serve" in only:
        sides.append(stack.enter_context(embedded(folder)))
    return sides


def _turn(side: Side, turn: int, case: Case, limits: Limits, number: int) -> Result:
    """Let one side have its turn, then let its engine come to rest, so that it takes nothing from the next one."""

    def connect(_: Transport) -> Connect:
        return partial(http_connect, side.endpoint, side.token)

    def stored() -> int:
        return int(side.client.query("SELECT count() FROM otel_traces").result_rows[0][0])

    before = stored()  # all rows, whoever's they seem: Rotel leaves the service out when it parts a batch
    bench = Bench(
        connect, side.client, lambda services, since: stored() - before, list(side.processes.values()), "bench"
    )
    used = {name: usage_of([pid]) for name, pid in side.processes.items()}
    result = run_case(bench, case, limits, number)
    _say(side, turn, result, {name: _since(before, side.processes[name]) for name, before in used.items()})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and side.client.query("SELECT count() FROM system.merges").result_rows[0][0]:
        time.sleep(0.2)
    return result


def _since(before: Usage | None, pid: int) -> float:
    after = usage_of([pid])
    return after.cpu_s - before.cpu_s if after and before else 0.0


def _say(side: Side, turn: int, result: Result, cpu_s: dict[str, float]) -> None:
    spans = max(result.visible, 1)
    cpu = " + ".join(f"{name} {seconds / spans * 1e6:,.1f}" for name, seconds in cpu_s.items())
    print(
        f"round {turn}  {side.name:<8}{result.case.size:>6,} spans/request  acknowledged {result.acknowledged_per_s:>9,.0f}/s"
        f"  visible {result.visible_per_s:>9,.0f}/s  missing {result.acknowledged - result.visible:,}"
        f"  CPU µs/span {cpu}  peak {(result.collector_peak_bytes or 0) / MIB:,.0f} MiB"
        f"  disk {result.disk_bytes_per_span or 0:,.0f} B/span  refused {result.refused}",
        flush=True,
    )


def _ratios(size: int, results: dict[str, list[Result]]) -> str:
    """Return the median of the rounds, and the median of the ratios to the peer round by round."""
    lines = []
    for name, found in results.items():
        line = f"{size:,} spans/request  {name:<8} visible {statistics.median(each.visible_per_s for each in found):,.0f}/s"
        if name != PEER and PEER in results:
            ratios = [
                ours.visible_per_s / theirs.visible_per_s for ours, theirs in zip(found, results[PEER], strict=True)
            ]
            line += f"  {statistics.median(ratios):.2f} times {PEER}, of {min(ratios):.2f} to {max(ratios):.2f}"
        lines.append(line)
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[2048, 1])
    parser.add_argument("--spans", type=int, default=200_000, help="in a case; a tenth with small requests")
    parser.add_argument("--seconds", type=float, default=20.0, help="most for sending a case")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SIDES), help="rotel,collect,serve")
    parser.add_argument("--folder", type=Path, help="where the data lies while it runs")
    parser.add_argument("--json", action="store_true", help="print every result as JSON at the end")
    return parser.parse_args()


if __name__ == "__main__":
    main()
