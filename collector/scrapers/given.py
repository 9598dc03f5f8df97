"""Messages, rows and entries of a journal that a test in a file of sources gives: one a line, as JSON, read as a broker's or a table's are.

A message is ``{"headers": {"x-death": [...]}, "exchange": "orders", "body": {"po": "PO-1"}}``; the body is an object or a text. A row is an object of its columns, and ``row.changed``.
An entry is an object of its fields.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from controltower.collector.scrapers import journal, rows
from controltower.collector.scrapers.definition import ROW_CHANGED, JournalSource, MessageSource, RowSource
from controltower.collector.scrapers.log_formats import FORMATS, as_texts
from controltower.collector.scrapers.message import FIELDS, Message, fields_of
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Record, Taken

BODY: Final = "body"
HEADERS: Final = "headers"
DEAD: Final = "dead"


class Given(HoldsNothing):
    """Reads the messages, rows or entries of one test."""

    def __init__(self, source: MessageSource | RowSource | JournalSource, given: str) -> None:
        self._source = source
        self._lines = [line for line in given.splitlines() if line.strip()]

    def restore(self, saved: dict[str, Any]) -> None:
        """Nothing is saved of a test."""

    def state(self) -> dict[str, Any]:
        """Return nothing: a test is read once."""
        return {}

    def read(self) -> Taken:
        """Return all of them."""
        lines, self._lines = self._lines, []
        return Taken([self._make(f"given:{number}", line) for number, line in enumerate(lines)], caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of one."""
        if isinstance(self._source, RowSource):
            return rows.fields_of(record, self._source.json_columns)
        if isinstance(self._source, JournalSource):
            return journal.fields_of(record)
        return fields_of(record.content, self._source.encoding, FORMATS[self._source.format].parse)

    def behind(self) -> int:
        """Return 0: all of it is read at once."""
        return 0

    @property
    def problems(self) -> dict[str, str]:
        """Return nothing: a text can be read."""
        return {}

    def close(self) -> None:
        """Nothing is open."""

    def _make(self, place: str, line: str) -> Record:
        if isinstance(self._source, JournalSource):
            return journal.entry(place, line.encode())
        return _row(place, line) if isinstance(self._source, RowSource) else _message(place, line)


def _row(place: str, line: str) -> Record:
    told = _object(line, as_texts)
    if told is None:
        return Record(place, b"", "bad_given: a line is a row, such as {id: 1, status: done} in JSON")
    changed = str(told.pop(ROW_CHANGED, ""))
    return Record(place, json.dumps({name: rows.text(value) for name, value in told.items()}).encode(), part=changed)


def _message(place: str, line: str) -> Record:
    told = _object(line)
    if told is None or told.keys() - {*FIELDS, HEADERS, DEAD, BODY} or not _are_texts(told):
        return Record(place, b"", "bad_given: a line is a message, such as {headers: {}, body: {}} in JSON")
    body = told.pop(BODY, "")
    text = (
        body if isinstance(body, str) else json.dumps(as_texts(line)[BODY])
    )  # no number is another one than a broker's
    return Record(place, Message(**told).content(text.encode()))


def _object(line: str, read: Callable[[str], Any] = json.loads) -> dict[str, Any] | None:
    try:
        told = read(line)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _are_texts(told: dict[str, Any]) -> bool:
    texts = [told.get(name, "") for name in FIELDS]
    return all(isinstance(each, str) for each in texts) and all(
        isinstance(told.get(each, {}), dict) for each in (HEADERS, DEAD)
    )
