"""``controltower scrape``: business steps out of logs and files that nobody will instrument."""

import gc
import os
import signal
import socket
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from controltower.cli.collectors import add_collector, collector_of
from controltower.cli.data import DataFolder
from controltower.cli.errors import CommandError
from controltower.cli.logs import log_to, printable
from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.settings import read_settings
from controltower.cli.shapes import Json, dumps
from controltower.cli.sources import queue_shape, queues_words, source_shape, sources_words
from controltower.cli.text import section, table
from controltower.collector.redaction.settings import read_redaction
from controltower.collector.scrapers.definition import load_sources
from controltower.collector.scrapers.delivery import Collector, StoppedError
from controltower.collector.scrapers.health import QUEUE, QUEUE_COUNTS, QUEUES
from controltower.collector.scrapers.observation import Level, Step
from controltower.collector.scrapers.packs import grok_patterns, packs
from controltower.collector.scrapers.scraper import Scraper
from controltower.collector.scrapers.times import rfc3339
from controltower.collector.scrapers.trial import Checked, Outcome, check, run_tests
from controltower.store.read import queues, sources
from controltower.store.source_rows import NOT_WELL
from controltower.tracer import attributes

ACTIONS: Final = ("check", "test")
SHOW: Final = "show"
STATUS: Final = "status"
GROK: Final = "grok"  # what `show` shows beside the packs: the patterns that expressions may name
LEVELS: Final = tuple(declared.name.removeprefix(QUEUE) for declared in (*QUEUES, *QUEUE_COUNTS))
COLLECT_AFTER: Final = (50_000, 20, 20)  # a batch makes 100,000 objects without cycles; looking for some costs a tenth
FOLDER: Final = "scrape"  # of the data folder: positions and rejects


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "scrape",
        "business steps out of logs that nobody will instrument",
        "Read what SOURCES.yaml names, and send a span for each business step that is found. Positions and what was "
        "rejected are kept in the data folder.",
    )
    parser.usage = (
        "controltower scrape [check | test] SOURCES.yaml [options], controltower scrape status [SOURCE …], "
        "or controltower scrape show [PACK]"
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="[check | test] SOURCES.yaml",
        help="check shows the first steps of each source and sends nothing; test runs the tests in the file; "
        "status tells how sources are doing, and ends with 1 when one is not well; show prints a ready file to copy and change, or the names of those that ship",
    )
    parser.add_argument("--once", action="store_true", help="read to the end of what is there, and return")
    add_collector(parser)
    parser.add_argument("--quiet", action="store_true", help="log to the data folder only")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Run the action, or scrape."""
    if arguments.words[0] == SHOW:
        return _show(arguments.words[1:])
    if arguments.words[0] == STATUS:
        return _status(arguments, arguments.words[1:])
    action, path = _words(arguments.words)
    if action == "check":
        return _check(path, json=arguments.json)
    if action == "test":
        return _test(path, json=arguments.json)
    return _scrape(arguments, path)


def _words(words: list[str]) -> tuple[str, Path]:
    if len(words) == 1 and words[0] not in ACTIONS:
        return "", Path(words[0])
    if len(words) == 2 and words[0] in ACTIONS:
        return words[0], Path(words[1])
    raise CommandError("Name one file of sources: controltower scrape [check | test] SOURCES.yaml.")


def _show(names: list[str]) -> int:
    known = packs() | {GROK: grok_patterns()}
    if not names:
        print("\n".join(sorted(known)))
        return 0
    if len(names) > 1 or names[0] not in known:
        raise CommandError(f"{' '.join(names)} is no pack; there are {', '.join(known)}.")
    print(known[names[0]], end="")
    return 0


def _status(arguments: Namespace, names: list[str]) -> int:
    now = datetime.now(UTC)
    with reading(read_settings(arguments)) as client:
        known, levels = sources(client), queues(client, now)
    found = [each for each in known if not names or each.source in names]
    if missing := [name for name in names if name not in {each.source for each in known}]:
        have = ", ".join(sorted({each.source for each in known})) or "none at all"
        raise CommandError(f"No source {', '.join(missing)} reported within 30 days; there are: {have}.")
    levels = tuple(each for each in levels if not names or each.source in names)
    if arguments.json:
        shapes = {"sources": [source_shape(each, now) for each in found], "queues": [*map(queue_shape, levels)]}
        print(dumps(shapes))
    elif found:
        print(sources_words(found, now), section("Queues", queues_words(levels, now)), sep="\n")
    else:
        print("No source reported within 30 days: start `controltower scrape SOURCES.yaml`.")
    return 1 if any(each.standing(now) in NOT_WELL for each in found) else 0


# -- scraping


def _scrape(arguments: Namespace, path: Path) -> int:
    settings = read_settings(arguments)
    folder = DataFolder(settings.data)
    folder.make()
    collector = collector_of(settings, arguments.endpoint, arguments.token)
    gc.set_threshold(*COLLECT_AFTER)
    with closing(_scraper(path, folder, collector)) as scraper, _asked_to_stop(scraper):
        log_to(folder.logs, "scrape", quiet=arguments.quiet)
        if arguments.once:
            return _once(scraper, json=arguments.json)
        names = ", ".join(scraper.workers)
        print(f"scraping {names} into {collector.base}; rejects in {folder.root / FOLDER}; Ctrl-C stops", flush=True)
        scraper.run()
    return 0


def _scraper(path: Path, folder: DataFolder, collector: Collector) -> Scraper:
    positions = folder.root.absolute() / FOLDER  # what is told of it is read elsewhere
    return Scraper(path, positions, collector, read_redaction(os.environ), host=socket.gethostname())


def _once(scraper: Scraper, *, json: bool) -> int:
    try:
        scraper.run_once()
    except StoppedError:
        return 130
    health = [worker.health for worker in scraper.workers.values()]
    if json:
        print(
            dumps(
                {
                    "sources": [
                        {
                            "source": each.source,
                            "records": each.records,
                            "steps": each.steps,
                            "unmatched": each.unmatched,
                            "rejected": each.rejected,
                            "refused": each.refused,
                            "behind_bytes": each.behind_bytes,
                            "problems": [{"file": file, "problem": problem} for file, problem in each.problems],
                        }
                        for each in health
                    ]
                }
            )
        )
    else:
        rows = [
            [each.source, *(f"{number:,}" for number in (each.records, each.steps, each.unmatched, each.rejected))]
            for each in health
        ]
        print(table(rows, head=("SOURCE", "RECORDS", "STEPS", "UNMATCHED", "REJECTED"), right=(1, 2, 3, 4)))
    for each in health:
        for file, problem in each.problems:
            print(f"{each.source}: problem: {printable(file)}: {problem}.", file=sys.stderr)
    return 1 if any(each.problems or each.refused for each in health) else 0


@contextmanager
def _asked_to_stop(scraper: Scraper) -> Iterator[threading.Event]:
    """Ask the scraper to end when Ctrl-C or SIGTERM comes, for the length of the block."""
    stop = threading.Event()

    def ask(*_: object) -> None:
        stop.set()
        scraper.ask_to_stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- trying out


def _check(path: Path, *, json: bool) -> int:
    redaction = read_redaction(os.environ)
    checked: list[Checked] = []
    for name, source in load_sources(path).sources.items():
        checked.append(check(name, source, redaction, time.time_ns))
        if not json:  # at once: the next one may take its time
            print(*([""] if len(checked) > 1 else []), _checked_words(checked[-1]), sep="\n", flush=True)
    if json:
        print(dumps({"sources": [_checked_shape(each) for each in checked]}))
    return 1 if any(each.problems for each in checked) else 0


def _checked_words(checked: Checked) -> str:
    rejected = sum(checked.rejected.values())
    lines = [
        f"{checked.source}: {checked.records:,} records read, {checked.unmatched:,} fit no rule, {rejected:,} rejected"
    ]
    rows = [[rfc3339(step.at_ns), step.code, printable(_facts(step))] for step in checked.steps]
    if rows:
        lines.append(table(rows, head=("TIME (UTC)", "STEP", "WITH")))
    if checked.levels:
        lines.append(_levels_table(checked.levels))
    lines += [f"rejected {times:,} times: {printable(why)}" for why, times in checked.rejected.most_common()]
    lines += [f"problem: {printable(what)}: {why}" for what, why in checked.problems.items()]
    return "\n".join(lines)


def _levels_table(levels: Sequence[Level]) -> str:
    """Return a row for each queue and each group of it; what a broker does not tell stays empty."""
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for level in levels:
        rows.setdefault((level.queue, level.group), {})[level.name] = level.value
    names = [name for name in LEVELS if any(name in row for row in rows.values())]
    cells = [
        [*map(printable, key), *(f"{row[name]:,}" if name in row else "" for name in names)]
        for key, row in rows.items()
    ]
    return table(cells, head=("QUEUE", "GROUP", *map(str.upper, names)), right=tuple(range(2, len(names) + 2)))


def _facts(step: Step) -> str:
    """Return what a step carries beside its code, by short names."""
    left_out = (attributes.STEP, attributes.INTERFACE, attributes.STYLE, attributes.CONTEXT + "synthetic")
    facts = [
        f"{name.removeprefix(attributes.PREFIX).removeprefix('key.').removeprefix('context.')}="
        f"{','.join(value) if isinstance(value, tuple) else value}"
        for name, value in step.attributes.items()
        if name not in left_out
    ]
    if step.end_ns != step.at_ns:
        facts.append(f"until={rfc3339(step.end_ns)}")
    return " ".join([*facts, *([f"lines={len(step.lines)}"] if step.lines else [])])


def _checked_shape(checked: Checked) -> Json:
    return {
        "source": checked.source,
        "records": checked.records,
        "unmatched": checked.unmatched,
        "rejected": dict(checked.rejected),
        "problems": checked.problems,
        "levels": [level._asdict() for level in checked.levels],
        "steps": [
            {
                "step": step.code,
                "time": rfc3339(step.at_ns),
                "end_time": rfc3339(step.end_ns),
                "trace_id": step.ids[:16].hex(),
                "span_id": step.ids[16:].hex(),
                "attributes": {
                    name: [*value] if isinstance(value, tuple) else value for name, value in step.attributes.items()
                },
                "lines": [
                    {name: [*value] if isinstance(value, tuple) else value for name, value in line.items()}
                    for line in step.lines
                ],
            }
            for step in checked.steps
        ],
    }


def _test(path: Path, *, json: bool) -> int:
    redaction = read_redaction(os.environ)
    outcomes: list[Outcome] = []
    for name, source in load_sources(path).sources.items():
        outcomes += run_tests(name, source, redaction, time.time_ns)
    failed = [outcome for outcome in outcomes if outcome.differences]
    if json:
        tests: list[Json] = [
            {"source": each.source, "test": each.test, "passed": not each.differences, "differences": each.differences}
            for each in outcomes
        ]
        print(dumps({"tests": tests}))
    else:
        for each in failed:
            print(f"{each.source}: {each.test}:", *(f"  {printable(line)}" for line in each.differences), sep="\n")
        print(f"{len(outcomes) - len(failed)} of {len(outcomes)} tests passed")
    if not outcomes:
        raise CommandError(f"{path} holds no tests; add some to its sources.")
    return 1 if failed else 0
