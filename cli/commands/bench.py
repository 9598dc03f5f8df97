"""``controltower bench``: drives a collector over the wire, or the engine over a store, and says what it took."""

import functools
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from controltower.cli.bench.case import TRANSPORTS, Bench, Case, Result, Transport, run_case
from controltower.cli.bench.grpc import grpc_connect
from controltower.cli.bench.http import http_connect
from controltower.cli.bench.receiver import receiver
from controltower.cli.bench.report import as_json, as_text
from controltower.cli.bench.resolve import bench_resolve, resolved_json, resolved_text
from controltower.cli.bench.scrape import bench_scrape, scraped_json, scraped_text
from controltower.cli.bench.sending import Connect, Limits
from controltower.cli.demo.target import Target, target
from controltower.cli.errors import CommandError
from controltower.cli.options import Subparsers, add_action, add_command, add_json, positive
from controltower.cli.parts import SystemClock
from controltower.cli.settings import Settings, read_settings
from controltower.cli.shapes import dumps
from controltower.store.address import parse_address
from controltower.store.bench_reads import visible_spans
from controltower.store.client import connect
from controltower.store.runtime import RuntimeFile, open_store, running
from controltower.store.schema import migrate

SIZES: Final = (1, 64, 512, 2048, 8192)
MOST_SIZE: Final = 100_000
MOST_CONNECTIONS: Final = 1_000
DEFAULT_STEPS: Final = 1_000_000
DEFAULT_CYCLES: Final = 5
DEFAULT_LOOKUPS: Final = 500
DEFAULT_SPANS: Final = 200_000
DEFAULT_LINES: Final = 500_000
DEFAULT_SECONDS: Final = 5
MOST_SECONDS: Final = 3_600


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "bench", "measure the collector, the store and the engine")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    ingest = add_action(
        actions,
        "ingest",
        "spans sent, acknowledged, visible, and their price; without a running serve one is started for it",
    )
    _add_cases(ingest)
    ingest.add_argument("--endpoint", metavar="URL", help="collector to send to; default: the running serve's")
    ingest.add_argument("--grpc-endpoint", metavar="HOST:PORT", help="its gRPC side; default: the running serve's")
    ingest.add_argument("--token", metavar="TOKEN", help="ingest token; default: the running serve's")
    add_json(ingest)
    resolve = add_action(
        actions,
        "resolve",
        "steps into transactions: from scratch, new over stored ones, and reading; in a temporary store",
    )
    _add_amounts(resolve)
    add_json(resolve)
    scrape = add_action(
        actions,
        "scrape",
        "lines of logs and documents of a folder into acknowledged spans; without a running serve one is started for it",
    )
    scrape.add_argument(
        "--lines", type=positive, default=DEFAULT_LINES, metavar="N", help=f"of each format (default {DEFAULT_LINES:,})"
    )
    to = scrape.add_mutually_exclusive_group()
    to.add_argument("--endpoint", metavar="URL", help="collector to send to; default: the running serve's")
    to.add_argument("--alone", action="store_true", help="send to what only acknowledges: the scraper's own limit")
    scrape.add_argument("--token", metavar="TOKEN", help="ingest token; default: the running serve's")
    add_json(scrape)


def _add_amounts(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--steps", type=positive, default=DEFAULT_STEPS, metavar="N", help="stored first (default 1,000,000)"
    )
    parser.add_argument(
        "--cycles", type=positive, default=DEFAULT_CYCLES, metavar="N", help="with 20,000 new steps (default 5)"
    )
    parser.add_argument(
        "--lookups", type=positive, default=DEFAULT_LOOKUPS, metavar="N", help="paths read (default 500)"
    )


def _add_cases(parser: ArgumentParser) -> None:
    parser.add_argument("--sizes", type=_numbers(MOST_SIZE), default=SIZES, metavar="N,…", help="spans in a request")
    parser.add_argument(
        "--connections", type=_numbers(MOST_CONNECTIONS), default=(1, 8, 32), metavar="N,…", help="sending at once"
    )
    parser.add_argument("--transports", type=_transports, metavar="http,grpc", help="default: all that are there")
    parser.add_argument(
        "--spans", type=positive, default=DEFAULT_SPANS, metavar="N", help=f"most in a case (default {DEFAULT_SPANS:,})"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=DEFAULT_SECONDS, metavar="S", help="most for sending a case (default 5)"
    )


def run(arguments: Namespace) -> int:
    """Run what was asked for and print the results."""
    actions = {"resolve": _resolve, "scrape": _scrape, "ingest": _ingest}
    return actions[arguments.action](arguments)


def _scrape(arguments: Namespace) -> int:
    settings = read_settings(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="controltower-bench-") as folder,
        _acknowledging(settings, Path(folder), arguments) as (endpoint, token, pids),
    ):
        results = list(bench_scrape(Path(folder), arguments.lines, endpoint, token, pids, _progress))
    print(
        dumps(scraped_json(results, "" if arguments.alone else endpoint)) if arguments.json else scraped_text(results)
    )
    return 0


@contextmanager
def _acknowledging(
    settings: Settings, folder: Path, arguments: Namespace
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Give what acknowledges: address, token, and the processes of a collector of this machine."""
    if arguments.alone:
        with receiver() as endpoint:
            yield endpoint, "", ()
        return
    if not (arguments.endpoint or running(settings.data)):
        settings = Settings(folder / "serve", settings.store)
    with target(settings, arguments.endpoint, arguments.token) as chosen:
        found = running(settings.data)
        yield chosen.endpoint, chosen.token, (found.pid,) if found and found.collector == chosen.endpoint else ()


def _resolve(arguments: Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="controltower-bench-") as folder:
        address = parse_address(f"chdb://{folder}/store")
        with closing(connect(address)) as client, closing(connect(address)) as other:
            migrate(client)
            found = bench_resolve(
                client, other, arguments.steps, arguments.cycles, arguments.lookups, SystemClock().now, _progress
            )
        print(dumps(resolved_json(found, "embedded")) if arguments.json else resolved_text(found))
    return 0


def _progress(words: str) -> None:
    if sys.stderr.isatty():
        print(f"{words} …", file=sys.stderr)


def _ingest(arguments: Namespace) -> int:
    with _driven(arguments) as driven:
        transports = arguments.transports or driven.transports
        missing = set(transports) - set(driven.transports)
        if missing:
            raise CommandError(f"The collector offers no {', '.join(sorted(missing))} here; see --grpc-endpoint.")
        cases = [
            Case(transport, size, connections)
            for transport in transports
            for size in arguments.sizes
            for connections in arguments.connections
        ]
        results = [_one(driven.bench, case, arguments, number) for number, case in enumerate(cases, 1)]
        if arguments.json:
            print(dumps(as_json(results, driven.endpoint, driven.store)))
        else:
            print(as_text(results))
    return 0


def _one(bench: Bench, case: Case, arguments: Namespace, number: int) -> Result:
    _progress(f"{case.transport}, {case.size:,} spans, {case.connections} connections")
    try:
        return run_case(bench, case, Limits(arguments.spans, arguments.seconds), number)
    except OSError as exc:
        raise CommandError(f"The collector cannot be reached over {case.transport}: {exc}.") from exc


@dataclass(frozen=True, slots=True)
class _Driven:
    bench: Bench
    transports: tuple[Transport, ...]
    endpoint: str
    store: str


@contextmanager
def _driven(arguments: Namespace) -> Iterator[_Driven]:
    """Give what is to be driven: what runs, or a ``serve`` of our own over a temporary folder."""
    settings = read_settings(arguments)
    if arguments.endpoint or running(settings.data):
        with _over(settings, arguments) as driven:
            yield driven
        return
    with (
        tempfile.TemporaryDirectory(prefix="controltower-bench-") as folder,
        _over(Settings(Path(folder), settings.store), arguments) as driven,
    ):
        yield driven


@contextmanager
def _over(settings: Settings, arguments: Namespace) -> Iterator[_Driven]:
    with target(settings, arguments.endpoint, arguments.token) as chosen:
        if not chosen.watched:
            raise CommandError("The store behind the collector is not known; name it with --store.")
        found = running(settings.data)
        ours = found if found is not None and found.collector == chosen.endpoint else None
        grpc = arguments.grpc_endpoint or _grpc_of(ours)
        with closing(open_store(settings.data, settings.store)) as client:
            count = functools.partial(visible_spans, client)
            pids = (ours.pid,) if ours else ()
            bench = Bench(_connecting(chosen, grpc), client, count, pids, uuid4().hex[:6])
            transports: tuple[Transport, ...] = TRANSPORTS if grpc else ("http",)
            yield _Driven(bench, transports, chosen.endpoint, str(settings.address))


def _grpc_of(found: RuntimeFile | None) -> str:
    return found.grpc if found is not None else ""


def _connecting(chosen: Target, grpc: str) -> Callable[[Transport], Connect]:
    def connecting(transport: Transport) -> Connect:
        if transport == "grpc":
            return functools.partial(grpc_connect, grpc, chosen.token)
        return functools.partial(http_connect, chosen.endpoint, chosen.token)

    return connecting


def _numbers(most: int) -> Callable[[str], tuple[int, ...]]:
    def parse(text: str) -> tuple[int, ...]:
        numbers = tuple(map(positive, text.split(",")))
        if max(numbers) > most:
            raise ArgumentTypeError(f"{text!r}: {most:,} is the most")
        return numbers

    return parse


def _transports(text: str) -> tuple[Transport, ...]:
    wanted = tuple(known for known in TRANSPORTS if known in text.split(","))
    if len(wanted) != len(text.split(",")):
        raise ArgumentTypeError(f"{text!r} is not a list of http and grpc")
    return wanted


def _seconds(text: str) -> int:
    seconds = positive(text)
    if seconds > MOST_SECONDS:
        raise ArgumentTypeError(f"{text!r} is more than {MOST_SECONDS}")
    return seconds
