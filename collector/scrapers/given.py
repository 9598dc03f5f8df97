"""Messages that a test in a file of sources gives: one a line, as JSON, read as a broker's are.

``{"headers": {"x-death": [...]}, "exchange": "orders", "body": {"po": "PO-1"}}``; the body is an object or a text.
"""

import json
from typing import Any, Final

from controltower.collector.scrapers.definition import MessageSource
from controltower.collector.scrapers.log_formats import FORMATS
from controltower.collector.scrapers.message import FIELDS, Message, fields_of
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Record, Taken

BODY: Final = "body"
HEADERS: Final = "headers"


class GivenMessages(HoldsNothing):
    """Reads the messages of one test."""

    def __init__(self, source: MessageSource, given: str) -> None:
        self._source = source
        self._parse = FORMATS[source.format].parse
        self._lines = [line for line in given.splitlines() if line.strip()]

    def restore(self, saved: dict[str, Any]) -> None:
        """Nothing is saved of a test."""

    def state(self) -> dict[str, Any]:
        """Return nothing: a test is read once."""
        return {}

    def read(self) -> Taken:
        """Return all messages."""
        lines, self._lines = self._lines, []
        return Taken([_record(number, line) for number, line in enumerate(lines)], caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of a message."""
        return fields_of(record.content, self._source.encoding, self._parse)

    def behind(self) -> int:
        """Return 0: all of it is read at once."""
        return 0

    @property
    def problems(self) -> dict[str, str]:
        """Return nothing: a text can be read."""
        return {}

    def close(self) -> None:
        """Nothing is open."""


def _record(number: int, line: str) -> Record:
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    if not isinstance(told, dict) or told.keys() - {*FIELDS, HEADERS, BODY} or not _are_texts(told):
        return Record(f"given:{number}", b"", "bad_given: a line is a message, such as {headers: {}, body: {}} in JSON")
    body = told.pop(BODY, "")
    text = body if isinstance(body, str) else json.dumps(body)
    return Record(f"given:{number}", Message(**told).content(text.encode()))


def _are_texts(told: dict[str, Any]) -> bool:
    return all(isinstance(told.get(name, ""), str) for name in FIELDS) and isinstance(told.get(HEADERS, {}), dict)
