"""What ``doctor`` looks at. Each check answers with a status, what it found and, unless all is well, what to do."""

import json
import os
import shutil
import stat
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypeVar

from controltower.alerts.errors import AlertError
from controltower.alerts.settings import read_settings as read_alert_settings
from controltower.cli.data import DataFolder
from controltower.cli.errors import CommandError
from controltower.cli.logs import printable
from controltower.cli.ports import listen
from controltower.cli.settings import Settings
from controltower.cli.text import lasting
from controltower.store.client import Client
from controltower.store.errors import StoreError
from controltower.store.read import SYSTEMS_LIMIT, collectors, freshness, refusals, sources
from controltower.store.runtime import RuntimeFile, open_store, running
from controltower.store.schema import pending
from controltower.store.schema import version as schema_version
from controltower.store.source_rows import NOT_WELL, Standing

PYTHON: Final = (3, 11)
# What each extra brings, by one package that only it needs.
EXTRAS: Final = {"chdb-core": "server", "fastapi": "server", "streamlit": "dashboard"}
GIB: Final = 1024**3
LEAST_SPACE: Final = 1 * GIB  # below it the journal and merges of the store fail soon
GOOD_SPACE: Final = 10 * GIB  # the journal's default budget
FSYNCS: Final = 20
SLOW_FSYNC_MS: Final = 20.0  # every acknowledgement waits for one
CLOCK_SKEW: Final = timedelta(minutes=5)
EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)  # this program is younger
PORTS: Final = {"--collector-port": 4318, "--grpc-port": 4317, "--endpoint-port": 8124, "--dashboard-port": 8501}
HTTP_TIMEOUT_S: Final = 3.0
NAMED: Final = 5  # of what is not well, in one line


Answer = TypeVar("Answer")


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; ``todo`` says what to do about it."""

    name: str
    status: Status
    detail: str
    todo: str = ""


def checks(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Yield every finding, in an order in which the first failure explains those after it."""
    folder = DataFolder(settings.data)
    runtime = running(settings.data)
    yield python()
    yield packages()
    yield data_folder(folder)
    yield space(folder)
    yield fsync_cost(folder)
    yield store(settings, runtime)
    yield journal(folder)
    yield collector(runtime)
    yield intake(settings, runtime)
    yield names(settings, runtime)
    yield scraped(settings, runtime)
    yield ports(runtime)
    yield clock(settings, runtime)
    yield webhook(environment)


def python() -> Check:
    """Check the interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        return Check("python", Status.FAIL, found, "install Python 3.11 or newer")
    return Check("python", Status.OK, found)


def packages() -> Check:
    """Check that the extras are installed."""
    missing = {extra for package, extra in EXTRAS.items() if not _installed(package)}
    own = f"controltower {version('controltower')}"
    if not missing:
        return Check("packages", Status.OK, own)
    extras = ",".join(sorted(missing))
    status = Status.FAIL if "server" in missing else Status.WARN
    return Check("packages", status, f"{own}, without {extras}", f"pip install 'controltower[{extras}]'")


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def data_folder(folder: DataFolder) -> Check:
    """Check that the data folder can be written, by its owner only."""
    root = folder.root
    if not root.exists():
        parent = _existing(root)
        if not os.access(parent, os.W_OK):
            return Check("data folder", Status.FAIL, f"{root} cannot be made", "choose another with --data")
        return Check("data folder", Status.OK, f"{root} is made at the first start")
    if not os.access(root, os.W_OK | os.X_OK):
        return Check("data folder", Status.FAIL, f"{root} cannot be written", f"chown or chmod {root}")
    if stat.S_IMODE(root.stat().st_mode) & 0o077:
        return Check("data folder", Status.WARN, f"{root} is open to other users", f"chmod 700 {root}")
    return Check("data folder", Status.OK, str(root))


def space(folder: DataFolder) -> Check:
    """Check the room on the disk of the data folder."""
    free = shutil.disk_usage(_existing(folder.root)).free
    detail = f"{free / GIB:.1f} GiB free"
    if free < LEAST_SPACE:
        return Check("disk space", Status.FAIL, detail, "make room: at least 1 GiB is needed")
    if free < GOOD_SPACE:
        return Check("disk space", Status.WARN, detail, "less than the journal may use in a long outage (10 GiB)")
    return Check("disk space", Status.OK, detail)


def fsync_cost(folder: DataFolder) -> Check:
    """Measure what one acknowledgement costs on this disk."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder.root)) as file:
            costs = sorted(_timed(file.fileno()) for _ in range(FSYNCS))
    except OSError as exc:
        return Check("fsync", Status.FAIL, f"cannot be measured: {exc.strerror}", "choose another folder with --data")
    middle = statistics.median(costs)
    detail = f"{middle:.1f} ms (slowest of {FSYNCS}: {costs[-1]:.1f} ms)"
    if middle > SLOW_FSYNC_MS:
        return Check("fsync", Status.WARN, detail, "every request waits as long: use a faster disk for the journal")
    return Check("fsync", Status.OK, detail)


def _timed(descriptor: int) -> float:
    os.write(descriptor, bytes(4096))
    since = time.perf_counter()
    os.fsync(descriptor)
    return (time.perf_counter() - since) * 1000


def store(settings: Settings, runtime: RuntimeFile | None) -> Check:
    """Check that the store answers and has this program's schema."""
    address = settings.address
    if address.path is not None and runtime is None and not address.path.exists():
        return Check("store", Status.OK, f"{address} is made at the first start")
    try:
        with closing(open_store(settings.data, settings.store, role="reader")) as client:
            missing, number = pending(client), schema_version(client)
    except StoreError as exc:
        return Check("store", Status.FAIL, str(exc), "see the sentence before")
    if missing:
        return Check("store", Status.WARN, f"{address} lacks {', '.join(missing)}", "run `controltower migrate`")
    return Check("store", Status.OK, f"{address}, schema {number}")


def journal(folder: DataFolder) -> Check:
    """Check what is acknowledged and not loaded, and what was set aside."""
    backlog = sum(path.stat().st_size for path in folder.journals.glob("*/*.otlp"))
    refused = [path for path in folder.journals.glob("*/quarantine/*") if not path.name.endswith(".reason.json")]
    detail = f"{backlog / 1024**2:.1f} MiB waiting, {len(refused)} set aside"
    if refused:
        where = folder.journals / "*" / "quarantine"
        return Check("journal", Status.WARN, detail, f"read the .reason.json files in {where}")
    return Check("journal", Status.OK, detail)


def collector(runtime: RuntimeFile | None) -> Check:
    """Check that the collector is ready."""
    if runtime is None or not runtime.collector:
        return Check("collector", Status.WARN, "not running", "start `controltower up` or `controltower serve`")
    try:
        with urllib.request.urlopen(f"{runtime.collector}/readyz", timeout=HTTP_TIMEOUT_S):  # noqa: S310 - our own
            return Check("collector", Status.OK, f"ready at {runtime.collector}")
    except urllib.error.HTTPError as exc:
        with exc:
            problems = json.load(exc).get("problems", [])
        return Check("collector", Status.WARN, " ".join(problems), "takes spans in and catches up when this is over")
    except OSError as exc:
        return Check("collector", Status.FAIL, f"{runtime.collector} does not answer: {exc}", "restart it")


def intake(
    settings: Settings, runtime: RuntimeFile | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Check:
    """Check what the collectors said of themselves: quarantine, and what they refused within an hour."""
    here = now()
    states = _read(settings, runtime, lambda client: list(collectors(client, here)))
    refused = _read(settings, runtime, lambda client: list(refusals(client, here - timedelta(hours=1), here)))
    rows, files = sum(s.quarantined_rows for s in states), sum(s.quarantined_files for s in states)
    said = [f"{one.requests} × {one.reason}" for one in refused]
    detail = f"refused within an hour: {', '.join(said) or 'nothing'}; in quarantine: {rows} rows, {files} files"
    if rows or files:
        return Check("intake", Status.WARN, detail, "`controltower quarantine list` says why")
    if said:
        return Check("intake", Status.WARN, detail, "the overview of the dashboard says what each reason is about")
    return Check("intake", Status.OK, detail)


def names(settings: Settings, runtime: RuntimeFile | None) -> Check:
    """Check that no sender makes names of services up: each is a system, and more than can be shown are no systems."""
    systems = sum(source.systems for source in _read(settings, runtime, freshness))
    if systems > SYSTEMS_LIMIT:
        detail = f"{systems:,} systems, of which {SYSTEMS_LIMIT:,} are told apart"
        return Check(
            "names", Status.WARN, detail, "find the sender whose service.name is new with each process or request"
        )
    return Check("names", Status.OK, f"{systems:,} systems")


def scraped(
    settings: Settings, runtime: RuntimeFile | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Check:
    """Check that what is scraped goes on: sources that were stopped are at rest."""
    here = now()
    found = [(each.source, each.standing(here)) for each in _read(settings, runtime, lambda c: list(sources(c)))]
    at_work = sum(standing is not Standing.STOPPED for _, standing in found)
    not_well = [f"{printable(name)} is {standing}" for name, standing in found if standing in NOT_WELL]
    if not_well:
        more = f"; {len(not_well) - NAMED} more" if len(not_well) > NAMED else ""
        detail = "; ".join(not_well[:NAMED]) + more
        return Check("sources", Status.WARN, detail, "`controltower scrape status` says why")
    return Check("sources", Status.OK, f"{at_work} scraped, {len(found) - at_work} stopped")


def ports(runtime: RuntimeFile | None) -> Check:
    """Check that the default ports can be listened on, unless this program does already."""
    if runtime is not None:
        return Check("ports", Status.OK, f"in use by process {runtime.pid}")
    taken = [f"{port} ({option})" for option, port in PORTS.items() if not _free(port, option)]
    if taken:
        return Check("ports", Status.WARN, f"taken: {', '.join(taken)}", "choose others with these options")
    return Check("ports", Status.OK, "free: " + ", ".join(map(str, PORTS.values())))


def _free(port: int, option: str) -> bool:
    try:
        listen("127.0.0.1", port, option).close()
    except CommandError:
        return False
    return True


def clock(
    settings: Settings, runtime: RuntimeFile | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Check:
    """Check this machine's clock, and that no sender's is ahead of it."""
    here = now()
    if here < EARLIEST:
        return Check("clock", Status.FAIL, f"this machine believes it is {here:%Y-%m-%d}", "set its clock")
    ahead = [
        f"{source.system} by {lasting(source.last_span_at - here)}"
        for source in _read(settings, runtime, freshness)
        if source.last_span_at - here > CLOCK_SKEW
    ]
    if ahead:
        return Check("clock", Status.WARN, f"spans from the future: {', '.join(ahead)}", "synchronise these clocks")
    return Check("clock", Status.OK, f"{here:%Y-%m-%d %H:%M:%S} UTC")


def _read(settings: Settings, runtime: RuntimeFile | None, question: Callable[[Client], list[Answer]]) -> list[Answer]:
    path = settings.address.path
    if path is not None and runtime is None and not path.exists():
        return []
    try:
        with closing(open_store(settings.data, settings.store, role="reader")) as client:
            return [] if pending(client) else question(client)
    except StoreError:
        return []  # the check of the store says why


def webhook(environment: Mapping[str, str]) -> Check:
    """Check that somebody is told about what is late."""
    try:
        settings = read_alert_settings(environment)
    except AlertError as exc:
        return Check("webhook", Status.FAIL, str(exc), "correct the setting")
    if not settings.webhook_url:
        return Check("webhook", Status.WARN, "nobody is told", "set CONTROLTOWER_WEBHOOK_URL and _SECRET")
    return Check("webhook", Status.OK, "configured and signed")


def _existing(path: Path) -> Path:
    """Return *path*, or the nearest folder above it that exists."""
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())
