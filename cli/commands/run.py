"""``controltower run``: a batch job that nobody can change, as a run with its start, heartbeat, duration and exit code."""

import os
import sys
from argparse import REMAINDER, ArgumentTypeError, Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from controltower import tracer
from controltower.cli.data import DataFolder
from controltower.cli.errors import CommandError
from controltower.cli.job import Ended, run_job
from controltower.cli.logs import log_to
from controltower.cli.options import Subparsers, add_command, positive, span
from controltower.cli.settings import Settings, read_settings
from controltower.collector.errors import CollectorError
from controltower.tracer.batch import MAX_HEARTBEAT_S, Batch, BatchOptions
from controltower.tracer.configure import Options
from controltower.tracer.pseudonyms import NO_KEY

# What only some jobs need is imported when it is needed: each of two hundred jobs a night would wait for it.
if TYPE_CHECKING:
    from controltower.collector.redaction.patterns import Masker

FOLDER: Final = "spool"  # of the data folder: what the collector does not have yet
SERVICE: Final = "jobs"
MOST_TAIL: Final = 100
TAIL_CHARACTERS: Final = 4_000
LEFT_OUT: Final = "A key that leads to a patient was left out: there is no key to make a token of it (CONTROLTOWER_REDACTION_KEY_FILE)."
EXIT_S: Final = 5.0  # what the end of a job may wait for the collector


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "run",
        "run a batch job and watch it from outside",
        "Run COMMAND, keep its exit code, and tell the collector when it started, that it is alive, how long it took and how "
        "it ended. Works while the collector is down; prints nothing of its own.",
    )
    parser.usage = "controltower run [options] -- COMMAND [ARGUMENT ...]"
    parser.add_argument("--name", metavar="NAME", help="name of the job; default: that of the command")
    parser.add_argument(
        "--service", metavar="NAME", help=f"name of the system (CONTROLTOWER_SERVICE); default: {SERVICE}"
    )
    parser.add_argument("--run-id", metavar="ID", help="the scheduler's id of this run; default: a new one")
    parser.add_argument("--attempt", type=positive, metavar="N", help="which attempt of this run it is")
    parser.add_argument(
        "--schedule",
        metavar="CRON",
        help="when the job is to start, in this machine's zone: the run is the one that a source of `kind: schedule` expects",
    )
    parser.add_argument("--expected-by", type=span, metavar="LENGTH", help="how long the job may take: 30m, 2h")
    parser.add_argument(
        "--heartbeat", type=_seconds, default=60.0, metavar="SECONDS", help="how often to say that it is alive"
    )
    parser.add_argument("--step", metavar="CODE", help="the step code, when the run is a business step")
    parser.add_argument("--key", action="append", type=_key, default=[], metavar="TYPE=VALUE", help="a key of the run")
    parser.add_argument(
        "--tail",
        type=_lines,
        default=0,
        metavar="LINES",
        help="send the last lines of its output, masked by the redaction policy; default: none",
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="collector (CONTROLTOWER_ENDPOINT); default: the running serve"
    )
    parser.add_argument("--token", metavar="TOKEN", help="ingest token (CONTROLTOWER_TOKEN, CONTROLTOWER_TOKEN_FILE)")
    parser.add_argument("command", nargs=REMAINDER, metavar="-- COMMAND", help="what to run, with its arguments")


def run(arguments: Namespace) -> int:
    """Run the job and return its exit code; trouble with telling about it never keeps the job from running."""
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise CommandError("Name what to run: controltower run [options] -- COMMAND.")
    try:
        masker = _masker() if arguments.tail else None
        _configure(arguments)
    except (CommandError, CollectorError, tracer.TracerError, OSError) as error:
        print(f"The job runs unwatched: {error}", file=sys.stderr)
        return _told(run_job(command, {}, 0)).code
    with tracer.batch(_name(arguments), **_options(arguments)) as watched:
        ended = run_job(command, tracer.environment(), arguments.tail)
        _describe(watched, ended, masker)
    tracer.shutdown(EXIT_S)
    if tracer.health().misuse.get(NO_KEY):
        print(LEFT_OUT, file=sys.stderr)
    return _told(ended).code


def _told(ended: Ended) -> Ended:
    if ended.problem:
        print(ended.problem, file=sys.stderr)
    return ended


def _options(arguments: Namespace) -> BatchOptions:
    context: dict[str, object] = {}
    if arguments.schedule:
        context["schedule"] = arguments.schedule
    if arguments.expected_by is not None:
        expected: timedelta = arguments.expected_by
        context["expected_by_s"] = f"{expected.total_seconds():.0f}"
    options = BatchOptions()
    if slot := _slot(arguments):
        options["slot"] = slot
    keys: dict[str, list[str]] = {}
    for type_, value in arguments.key:
        keys.setdefault(type_, []).append(value)
    return options | BatchOptions(
        run_id=arguments.run_id,
        attempt=arguments.attempt,
        heartbeat_s=arguments.heartbeat,
        step=arguments.step,
        keys=keys,
        context=context,
    )


def _slot(arguments: Namespace) -> str:
    """Return which time of its schedule the run is for, as a source of `kind: schedule` names it; nothing without one."""
    if not arguments.schedule:
        return ""
    from controltower.collector.scrapers.slots import check_cron, latest, slot_of, zone_of_machine

    try:
        time = latest(check_cron(arguments.schedule), datetime.now(UTC), zone_of_machine())
    except ValueError as error:
        print(f"The run is of no schedule: {arguments.schedule!r} {error}", file=sys.stderr)
        return ""
    return f"{_name(arguments)}|{slot_of(time)}" if time else ""


def _name(arguments: Namespace) -> str:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    return arguments.name or Path(command[0]).name


def _masker() -> "Masker":
    from controltower.collector.redaction.patterns import Masker
    from controltower.collector.redaction.settings import read_redaction

    return Masker(read_redaction(os.environ).policy)


def _describe(watched: Batch, ended: Ended, masker: "Masker | None") -> None:
    watched.context(exit_code=ended.code)
    if ended.signal:
        watched.context(signal=ended.signal)
    if masker is not None and ended.tail:
        masked, _ = masker.mask(ended.tail)
        watched.context(output_tail=masked.decode(errors="replace")[-TAIL_CHARACTERS:])
    if ended.problem:
        watched.outcome("exception", "not_started")
    elif ended.signal:
        watched.outcome("exception", "signal")
    elif ended.code:
        watched.outcome("exception", "exit_code")


def _configure(arguments: Namespace) -> None:
    settings = read_settings(arguments)
    folder = DataFolder(settings.data)
    folder.make()
    log_to(folder.logs, "run", quiet=True)
    tracer.configure(**_tracing(arguments, settings, folder))


def _tracing(arguments: Namespace, settings: Settings, folder: DataFolder) -> Options:
    """Return the tracer's options: arguments, then its own variables, then what runs on this machine."""
    # What misuse would raise in development is counted here: it must not cost the job its exit code.
    options = Options(mode="production")
    if arguments.service or not (os.environ.get("CONTROLTOWER_SERVICE") or os.environ.get("OTEL_SERVICE_NAME")):
        options["service"] = arguments.service or SERVICE
    if not os.environ.get("CONTROLTOWER_DURABLE"):
        options["durable"] = folder.root / FOLDER
    if arguments.token:
        options["token"] = arguments.token
    if arguments.endpoint:
        options["endpoint"] = arguments.endpoint
    elif not any(os.environ.get(name) for name in ENDPOINTS):
        _use_what_runs_here(options, settings)
    return options


def _use_what_runs_here(options: Options, settings: Settings) -> None:
    from controltower.store.runtime import running

    if (found := running(settings.data)) is not None:
        options["endpoint"] = found.collector
        if "token" not in options and not _has_token():
            options["token"] = found.token


ENDPOINTS: Final = (
    "CONTROLTOWER_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)


def _has_token() -> bool:
    return any(os.environ.get(name) for name in ("CONTROLTOWER_TOKEN", "CONTROLTOWER_TOKEN_FILE"))


def _key(text: str) -> tuple[str, str]:
    type_, separator, value = text.partition("=")
    if not (type_ and separator and value):
        raise ArgumentTypeError(f"{text!r} is not a key; use purchase_order=PO-1042")
    return type_, value


def _lines(text: str) -> int:
    if not text.isdigit() or int(text) > MOST_TAIL:
        raise ArgumentTypeError(f"{text!r} is not a number of lines; use 0 to {MOST_TAIL}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_HEARTBEAT_S:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds; use 1 to {MAX_HEARTBEAT_S:.0f}")
    return seconds
