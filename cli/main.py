"""The ``controltower`` command: find the command, run it, and turn every error into one sentence."""

import logging
import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from keyword import iskeyword
from pathlib import Path
from typing import Final, Protocol, cast

from controltower.cli.errors import CommandError
from controltower.cli.options import Subparsers

# Only the module of the command that was asked for is imported: `--help` must not wait for the engine.
COMMANDS: Final = {
    "up": "run everything on this machine: serve and dashboard",
    "serve": "collector, engine and alerts over one store",
    "collect": "the collector alone, for a ClickHouse server",
    "engine": "the engine alone, for a ClickHouse server",
    "alert": "the alerts alone, for a ClickHouse server",
    "dashboard": "the dashboard alone",
    "migrate": "show and apply the store's migrations",
    "trace": "the end-to-end path of a purchase order, invoice, payment …",
    "search": "find transactions",
    "cut": "say that two keys, or a step and a key, do not belong together",
    "confirm": "say that two keys, or a step and a key, belong together",
    "waive": "say that a deadline need not be met",
    "corrections": "what people cut, confirmed and waived, and whether it holds",
    "kpi": "key figures, each with its definition",
    "paths": "variants, hops between systems, rework and double effects",
    "flows": "list and check flow definitions",
    "demo": "a simulated hospital network that sends its spans here",
    "score": "compare the paths with what really happened",
    "scrape": "business steps out of logs that nobody will instrument",
    "run": "run a batch job and watch it from outside",
    "import": "event logs of other systems: CSV, Parquet, XES, OCEL",
    "export": "transactions as an object-centric log: OCEL, CSV, Parquet",
    "redact": "try and check a redaction policy",
    "quarantine": "see and decide what could not be stored",
    "bench": "measure the collector, the store and the engine",
    "token": "who may send: create, list, rotate and revoke tokens",
    "backup": "make a backup of the store",
    "restore": "fill an empty store from a backup",
    "doctor": "check this installation",
}
FAILED: Final = 1
INTERRUPTED: Final = 130
KNOWN_ERRORS: Final = {  # module -> its error that says everything in one sentence
    "controltower.cli.errors": "CommandError",
    "controltower.store.errors": "StoreError",
    "controltower.collector.errors": "CollectorError",
    "controltower.alerts.errors": "AlertError",
    "controltower.tracer.errors": "TracerError",
    "controltower.tracer.journal.errors": "JournalError",
}

logger = logging.getLogger(__name__)


class Command(Protocol):
    """A module of ``cli.commands``."""

    def register(self, subparsers: Subparsers) -> None:
        """Add the command's parser."""

    def run(self, arguments: Namespace) -> int:
        """Run the command and return its exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* asks for and return its exit code; errors are one sentence on standard error."""
    words = list(sys.argv[1:] if argv is None else argv)
    logging.getLogger().addHandler(logging.NullHandler())  # a library's warning is no answer to the user
    os.environ.setdefault(
        "GRPC_VERBOSITY", "NONE"
    )  # nor is a line of gRPC's for each peer that fails; read at its import
    chosen = next((word for word in words if not word.startswith("-")), "")
    try:
        parser, command = _parser(chosen)
        arguments = parser.parse_args(words)
        if command is None:
            parser.print_help()
            return 0
        return command.run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`| head`); what is buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except _known_errors() as exc:
        return _refuse(str(exc), "--debug" in words)
    except ModuleNotFoundError as exc:
        return _refuse(_missing(exc), "--debug" in words)
    except Exception as exc:  # noqa: BLE001 - the last resort: nobody is shown a traceback
        return _refuse(_surprise(exc, words), "--debug" in words)


def _parser(chosen: str) -> tuple[ArgumentParser, Command | None]:
    parser = ArgumentParser(
        prog="controltower",
        description="Follow every business transaction end to end.",
        epilog="controltower COMMAND --help",
    )
    parser.add_argument("--debug", action="store_true", help="show the details of an unexpected error")
    parser.add_argument("--version", action="version", version=f"controltower {version('controltower')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    command: Command | None = None
    for name, summary in COMMANDS.items():
        if name == chosen:
            command = cast(Command, import_module(f"controltower.cli.commands.{name}{'_' * iskeyword(name)}"))
            command.register(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser, command


def _known_errors() -> tuple[type[Exception], ...]:
    """Return the errors that speak for themselves; of a module that was not imported, none was raised."""
    return tuple(getattr(sys.modules[module], name) for module, name in KNOWN_ERRORS.items() if module in sys.modules)


def _refuse(sentence: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(sentence, file=sys.stderr)
    return FAILED


def _missing(error: ModuleNotFoundError) -> str:
    return (
        f"This command needs the package {error.name}, which is not installed; "
        "install everything with: pip install 'controltower[all]'."
    )


def _surprise(error: Exception, words: Sequence[str]) -> str:
    """Return the sentence for an error nobody expected, after writing its details down."""
    engine = _engine_sentence(error)
    if engine:
        return engine
    try:
        log = _write_details(words)
    except (OSError, CommandError):  # the data folder itself is what is wrong
        return f"Unexpected {type(error).__name__}: {_one_line(error)} Run it again with --debug for the details."
    return f"Unexpected {type(error).__name__}: {_one_line(error)} The details are in {log}."


def _engine_sentence(error: Exception) -> str:
    """Return the engine's own refusal as a sentence; nothing when the error is not the engine's."""
    driver = sys.modules.get("clickhouse_connect.driver.exceptions")
    if driver is None or not isinstance(error, driver.Error):
        return ""
    return f"The store refused: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300] or "no reason given"
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _write_details(words: Sequence[str]) -> Path:
    from controltower.cli.data import DataFolder
    from controltower.cli.settings import read_settings

    given = Namespace(data=words[words.index("--data") + 1] if "--data" in words[:-1] else None, store=None)
    folder = DataFolder(
        read_settings(given, {**os.environ, "CONTROLTOWER_STORE": "", "CONTROLTOWER_STORE_FILE": ""}).data
    )
    folder.make()
    log = folder.logs / "errors.log"
    with log.open("a", encoding="utf-8") as file:
        command = next((word for word in words if word in COMMANDS), "")  # arguments may hold secrets
        file.write(f"{datetime.now(UTC).isoformat()} controltower {command}\n{traceback.format_exc()}\n")
    return log
