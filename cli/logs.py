"""Logs of the running processes: one line for each event, whatever it holds.

Parts of a message come from outside. A line break in one would forge an event, an escape sequence would change the
terminal of who reads it, and a long one would push all others out of the file.
"""

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, TextIO

from controltower.cli.data import PRIVATE_FILE

LOG_BYTES: Final = 10 * 1024 * 1024
LOG_FILES: Final = 3
MESSAGE_CHARACTERS: Final = 4_096
TRACE_CHARACTERS: Final = 16_384

# Controls of ASCII and of Latin-1, line and paragraph separators, and what turns the direction of text around.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def log_to(folder: Path, name: str, *, quiet: bool, stream: TextIO | None = None) -> list[logging.Handler]:
    """Log to a file of bounded size in *folder* and, unless *quiet*, to standard error; returns what was added."""
    path = folder / f"{name}.log"
    path.touch(mode=PRIVATE_FILE)
    file = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    file.setFormatter(JsonLines())
    handlers: list[logging.Handler] = [file]
    if not quiet:
        shown = logging.StreamHandler(stream)
        shown.setFormatter(PlainLines())
        handlers.append(shown)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for library in ("uvicorn", "httpx"):  # starts, stops and requests are ours to tell
        logging.getLogger(library).setLevel(logging.WARNING)
    for handler in handlers:
        root.addHandler(handler)
    return handlers


class JsonLines(logging.Formatter):
    """An event as one object in one line: ``at``, ``level``, ``logger``, ``message``, and ``trace`` after an error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; JSON escapes everything that is not ASCII."""
        event = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": cut(message_of(record), MESSAGE_CHARACTERS),
        }
        if record.exc_info:
            event["trace"] = cut(_trace(record), TRACE_CHARACTERS)
        return json.dumps(event)


class PlainLines(logging.Formatter):
    """An event as a line for people; what would act on a terminal is shown instead."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the lines of a traceback, which are ours."""
        at = datetime.fromtimestamp(record.created).astimezone()
        line = f"{at:%Y-%m-%d %H:%M:%S} {record.levelname} {record.name}: {printable(message_of(record))}"
        if not record.exc_info:
            return line
        return "\n".join([line, *(printable(one) for one in cut(_trace(record), TRACE_CHARACTERS).split("\n"))])


def printable(text: str) -> str:
    """Return *text* in one line without anything that a terminal acts on, cut to what a line may hold."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), cut(text, MESSAGE_CHARACTERS))


def cut(text: str, most: int) -> str:
    """Return the first *most* characters of *text*, and how many there were if more."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def message_of(record: logging.LogRecord) -> str:
    """Return the message; one that cannot be put together is an event all the same."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - a mistake in a message must not cost the event
        return f"{record.msg!r} with {record.args!r} ({type(error).__name__}: {error})"


def _trace(record: logging.LogRecord) -> str:
    return "".join(traceback.format_exception(*record.exc_info)).rstrip("\n") if record.exc_info else ""
