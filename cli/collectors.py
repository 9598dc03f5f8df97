"""Where commands send spans to: argument, then environment, then what runs on this machine."""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Final

from controltower.cli.errors import CommandError
from controltower.cli.settings import Settings
from controltower.collector.scrapers.delivery import Collector
from controltower.store.runtime import running

ENDPOINT_VARIABLE: Final = "CONTROLTOWER_ENDPOINT"
TOKEN_VARIABLE: Final = "CONTROLTOWER_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_BYTES: Final = 4_096  # a token is a line; what is more is the wrong file


def add_collector(parser: ArgumentParser) -> None:
    """Add ``--endpoint`` and ``--token``."""
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help=f"collector to send to ({ENDPOINT_VARIABLE}); default: that of the running serve",
    )
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help=f"ingest token ({TOKEN_VARIABLE}, {TOKEN_VARIABLE}_FILE); default: that of the running serve",
    )


def collector_of(settings: Settings, endpoint: str | None, token: str | None) -> Collector:
    """Return where spans go: argument, then environment, then what runs on this machine."""
    found = running(settings.data)
    chosen = endpoint or os.environ.get(ENDPOINT_VARIABLE) or (found.collector if found else "")
    if not chosen:
        raise CommandError(
            f"No collector is known: start `controltower serve`, or name one with --endpoint or {ENDPOINT_VARIABLE}."
        )
    collector = Collector(chosen, token or _token())
    if not collector.token and found is not None and found.collector == collector.base:
        return Collector(chosen, found.token)
    return collector


def _token() -> str:
    given, file = os.environ.get(TOKEN_VARIABLE, ""), os.environ.get(f"{TOKEN_VARIABLE}_FILE", "")
    if given and file:
        raise CommandError(f"{TOKEN_VARIABLE} and {TOKEN_VARIABLE}_FILE are both set; keep one of them.")
    if not file:
        return given
    try:
        with Path(file).open("rb") as opened:
            return opened.read(TOKEN_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise CommandError(f"{TOKEN_VARIABLE}_FILE names {file}, which cannot be read: {why}.") from None
