"""``controltower import``: event logs of other systems, each event a step."""

import hashlib
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from controltower.cli.collectors import add_collector, collector_of
from controltower.cli.data import DataFolder
from controltower.cli.errors import CommandError
from controltower.cli.logs import log_to
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps
from controltower.collector.redaction.redactor import Redactor
from controltower.collector.redaction.settings import read_redaction
from controltower.collector.scrapers.definition import EventLogSource, load_map
from controltower.collector.scrapers.delivery import StoppedError
from controltower.collector.scrapers.event_log import of_file
from controltower.collector.scrapers.mapper import REJECTED
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.rejects import NAME as REJECTS
from controltower.collector.scrapers.worker import Health, Worker
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.errors import JournalLockedError
from controltower.tracer.journal.lock import FolderLock
from controltower.tracer.tokens import Tokeniser

FOLDER: Final = "import"  # of the data folder: a folder for each map and file, with position and rejects
MAP: Final = "map"  # the digest of the map that a file was begun with
DIGITS: Final = 16
TOLD_EVERY_S: Final = 1.0
INTERRUPTED: Final = 130


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "import",
        "event logs of other systems: CSV, Parquet, XES, OCEL",
        "Send a span for each event of FILE, as MAP.yaml says. What is interrupted goes on where it was; a file that was "
        "imported is not imported again. Rejected events are in a file of the data folder, each with its reason.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV, Parquet, XES, or OCEL as JSON, XML or SQLite")
    parser.add_argument("--map", type=Path, required=True, metavar="MAP.yaml", help="which event is which step")
    add_collector(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Import the file."""
    source = of_file(load_map(arguments.map), arguments.file)
    settings = read_settings(arguments)
    data = DataFolder(settings.data)
    data.make()
    collector = collector_of(settings, arguments.endpoint, arguments.token)
    folder = data.root / FOLDER / source.name / _digest(arguments.file)
    redaction = read_redaction(os.environ)
    keys = redaction.keys.of(source.tenant)
    policies = Policies(redaction.policy, Tokeniser(keys))
    redact = Redactor(redaction.policy, keys) if source.data == "phi" else None
    with _held(folder):
        _same_map(folder, source)
        log_to(data.logs, "import", quiet=True)
        worker = Worker(source.name, source, folder, collector, policies, redact, time.time_ns)
        with _asked_to_stop(worker):
            try:
                worker.run_once(_progress(arguments.file) if not arguments.quiet else lambda health: None)
            except StoppedError:
                print("interrupted; the same command goes on from here", file=sys.stderr)
                return INTERRUPTED
    _show(worker, folder / REJECTS, json=arguments.json)
    return 1 if worker.health.refused else 0


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    except OSError as exc:
        raise CommandError(f"{path} cannot be read: {exc.strerror}.") from exc


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other processes off the import of the same file."""
    disk = Disk()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        disk.private_folder(folder)
        lock = FolderLock(folder, disk)
    except JournalLockedError as exc:
        raise CommandError("Another process imports this file; wait for its end.") from exc
    except OSError as exc:
        raise CommandError(f"The folder {folder} cannot be made: {exc.strerror}.") from exc
    try:
        yield
    finally:
        lock.release()


def _same_map(folder: Path, source: EventLogSource) -> None:
    """Refuse to go on with a file by another map: the same events would be other steps, beside those that are there."""
    digest = hashlib.sha256(source.model_dump_json(exclude={"file"}).encode()).hexdigest()
    try:
        begun = (folder / MAP).read_text(encoding="ascii")
    except FileNotFoundError:
        Disk().replace(folder / MAP, digest.encode())
        return
    if begun != digest:
        raise CommandError(
            f"This file was imported, or begun, as {source.name} by another map, and its steps are there: "
            f"import it by that map, or with another data folder into an empty store."
        )


@contextmanager
def _asked_to_stop(worker: Worker) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_: worker.ask_to_stop()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _progress(path: Path) -> Callable[[Health], object]:
    size = max(path.stat().st_size, 1)
    began = told = time.monotonic()

    def tell(health: Health) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < TOLD_EVERY_S:
            return
        told = now
        share = 1 - health.behind_bytes / size
        rate = health.records / (now - began)
        print(
            f"{share:4.0%}  {health.records:,} events, {health.steps:,} steps, {health.rejected:,} rejected, {rate:,.0f}/s"
            + (f"; waiting: {health.failing}" if health.failing else ""),
            file=sys.stderr,
        )

    return tell


def _show(worker: Worker, rejects: Path, *, json: bool) -> None:
    totals = worker.totals
    reasons = {name.removeprefix(REJECTED): count for name, count in totals.items() if name.startswith(REJECTED)}
    counts = {name: totals[name] for name in ("records", "steps", "unmatched")}
    refused = worker.health.refused
    if json:
        print(dumps({**counts, "rejected": dict(sorted(reasons.items())), "refused": refused, "rejects": str(rejects)}))
        return
    if not worker.health.records:
        print("all of this file was imported before:")
    print(f"{totals['records']:,} events: {totals['steps']:,} steps, {totals['unmatched']:,} fit no rule")
    for reason, count in sorted(reasons.items(), key=lambda each: -each[1]):
        print(f"{count:,} rejected: {reason}")
    if reasons:
        print(f"each one is in {rejects}")
    if refused:
        print(f"{refused:,} refused by the collector; its reasons are in the log", file=sys.stderr)
