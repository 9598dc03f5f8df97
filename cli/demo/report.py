"""What the demo says about itself: progress, a summary, and what to type next."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from controltower.cli.demo.model import Plan
from controltower.cli.demo.scenarios import Scenario
from controltower.cli.demo.truth import Truth
from controltower.cli.demo.verdicts import state
from controltower.cli.text import table


def summary(plan: Plan, truth: Truth, sent_s: float, resolved_s: float | None) -> str:
    """Return what was made: transactions, spans, times and faults by kind."""
    rows = [
        *_counts(truth),
        [
            "spans",
            f"{plan.span_count:,} in {len(plan.traces):,} traces of {len({t.system for t in plan.traces})} systems",
        ],
        ["sent and acknowledged", f"after {sent_s:.1f} s"],
        ["loaded and resolved", f"after {resolved_s:.1f} s" if resolved_s is not None else "not waited for"],
        ["steps without transaction", f"{len(truth.loose):,}"],
    ]
    faults = [[name.replace("_", " "), f"{count:,}"] for name, count in sorted(plan.faults.items())]
    return f"{table(rows)}\n\nfaults\n{table(faults, right=(1,), indent='  ')}\n"


def _counts(truth: Truth) -> list[list[str]]:
    counts = Counter(each.flow for each in truth.transactions)
    total = ["transactions", f"{len(truth.transactions):,}"]
    return [total, *([f"  {flow.replace('_', ' ')}", f"{counts[flow]:,}"] for flow in truth.flows if len(counts) > 1)]


def next_words(truth: Truth, file: Path | None, scenario: Scenario) -> str:
    """Return what to type next: a whole path, what the scenario is about, and the comparison with the truth if there is one."""
    end = datetime.fromisoformat(truth.header["end"])
    values = Counter(each.anchor.value for each in truth.transactions)
    done = [
        each
        for each in truth.transactions
        if values[each.anchor.value] == 1 and state(each.facts, each.matches, end) == "completed"
    ]
    first = [each for each in done if each.flow == scenario.flows[0]]
    longest = max(first or done or truth.transactions, key=lambda each: len(each.facts.members), default=None)
    lines = [f"controltower trace {longest.anchor.value}"] if longest else []
    if longest and scenario.tells:
        lines.append(f"controltower search --flow {scenario.tells} --state breached")
    if file is not None:
        lines.append(f"controltower score {file}")
    return "next: " + "\n      ".join(lines) if lines else "Nothing was to be sent."


def written_words(truth: Truth, sources: Path, records: int, file: Path | None) -> str:
    """Return what was written, and what to type next."""
    told = table([*_counts(truth), ["records", f"{records:,} in the logs beside {sources}"]])
    lines = [f"controltower scrape {sources} --once", *([f"controltower score {file}"] if file else [])]
    return f"{told}\nnext: " + "\n      ".join(lines)


@contextmanager
def showing(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how far things are, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    shown_at = 0.0

    def say(done: int, total: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at > 0.2:
            shown_at = time.monotonic()
            print(f"\r{what} {done:,} / {total:,} ", end="", file=sys.stderr, flush=True)

    try:
        yield say
    finally:
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
