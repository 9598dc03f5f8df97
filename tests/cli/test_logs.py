"""Logs: one line for each event, whatever comes from outside."""

import io
import json
import logging
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.cli.logs import MESSAGE_CHARACTERS, JsonLines, PlainLines, log_to, printable

HOSTILE = "a\r\nERROR forged: line\x1b[2J\u2028\u202e\x00\x9b end %s {} \ud800"


def event(message: str, *arguments: object, error: bool = False) -> logging.LogRecord:
    """Return what a logger hands to its formatters."""
    info = sys.exc_info() if error else None
    return logging.LogRecord("controltower.test", logging.ERROR, __file__, 1, message, arguments, info)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, which is as it was afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield root
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def test_an_event_is_one_line_of_json() -> None:
    """Breaks, escapes and what is not text come back from the line as they were, and do nothing in it."""
    line = JsonLines().format(event("span %s is odd", HOSTILE))

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "at": json.loads(line)["at"],
        "level": "ERROR",
        "logger": "controltower.test",
        "message": f"span {HOSTILE} is odd",
    }


@given(st.text(max_size=200))
def test_nothing_acts_on_a_terminal(text: str) -> None:
    """Whatever a message holds, people see one line of it without control characters."""
    line = PlainLines().format(event("got %s", text))

    assert len(line.splitlines()) == 1
    assert not [character for character in line if ord(character) < 32 or 127 <= ord(character) < 160]


def test_what_acts_is_shown() -> None:
    """Nothing vanishes: an escape sequence is readable."""
    assert printable("\x1b[31mred\r\n") == "\\x1b[31mred\\r\\n"


def test_long_messages_are_cut() -> None:
    """A megabyte in a message is told, and does not push other events out of the file."""
    for formatter in (JsonLines(), PlainLines()):
        line = formatter.format(event("%s", "x" * 1_000_000))

        assert len(line) < MESSAGE_CHARACTERS + 300
        assert "1000000 characters" in line


def test_a_message_that_cannot_be_put_together_is_told() -> None:
    """A mistake of ours in a message costs its beauty and not the event."""
    assert "TypeError" in json.loads(JsonLines().format(event("%d spans", "three")))["message"]


def test_a_traceback_belongs_to_its_event() -> None:
    """In the file it is a field of the line, for people it is lines."""
    try:
        raise RuntimeError("no\x1bway")
    except RuntimeError:
        failed = event("it failed", error=True)

    assert "RuntimeError: no\x1bway" in json.loads(JsonLines().format(failed))["trace"]
    assert "RuntimeError: no\\x1bway" in PlainLines().format(failed)


def test_the_file_is_private_and_standard_error_can_be_left_out(tmp_path: Path, root: logging.Logger) -> None:
    """Both get the event, each in its form; quiet means the file alone."""
    shown = io.StringIO()
    log_to(tmp_path, "serve", quiet=False, stream=shown)
    log_to(tmp_path, "quiet", quiet=True, stream=shown)
    logging.getLogger("controltower.test").warning("seen %s", "once")

    (line,) = (tmp_path / "serve.log").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["message"] == "seen once"
    assert shown.getvalue().count("WARNING controltower.test: seen once") == 1
    assert (tmp_path / "quiet.log").read_text(encoding="utf-8").count("\n") == 1
    assert stat.S_IMODE((tmp_path / "serve.log").stat().st_mode) == 0o600
