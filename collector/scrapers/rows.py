"""Rows of a table, as a kind of source: each is a record when it is inserted and whenever what is read of it changes.

A column that grows with each change says where to go on. Transactions commit in another order than they wrote, so what was
written shortly before the latest change is read again at each look, and what was there already is known. Nothing is
locked, and the session cannot write.
"""

import base64
import hashlib
import json
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any, Final

from controltower.collector.scrapers.database import Table, opened
from controltower.collector.scrapers.definition import ROW_CHANGED, RowSource, TimeSpec
from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.log_formats import as_texts
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Record, Taken

MOST_RECORDS: Final = 2_000  # of a batch, and rows of a query
MOST_KNOWN: Final = 20_000  # rows that are read again at each look
KNOWN: Final = struct.Struct("<q8s")  # where it stands in the order of changes, and what it was
LONGEST_BYTES: Final = 1024 * 1024  # of one row

Json = dict[str, Any]


class RowReader(HoldsNothing):
    """Reads one table. For one thread."""

    def __init__(
        self, source: RowSource, clock: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._clock = clock
        self._monotonic = monotonic
        self._every_s = source.every.span.total_seconds()
        self._due_s = monotonic()
        self._table: Table | None = None
        self._behind: tuple[Any, ...] | None = None  # the row behind which this look goes on
        self._known: dict[bytes, int] = {}  # digest of a row -> its mark
        self._mark: int | None = None  # of the latest change
        self._start: int | None = None  # what that was when this look began: where it begins again after a crash
        self._low: int | None = None  # from which on this look reads
        self._dropped: int | None = None  # mark of the latest row that had to be forgotten in it
        self._floor: int | None = None  # below it nothing is read, because it would not be known
        self._passing = source.begin == "end"  # what is there now is only noted
        self._problems: dict[str, str] = {}

    # -- the contract

    @staticmethod
    def times(source: RowSource) -> list[TimeSpec]:
        """Return where the times of rows are."""
        return [TimeSpec(field=ROW_CHANGED)]

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._mark, self._floor, self._passing = saved["mark"], saved["floor"], saved["passing"]
        packed = base64.b64decode(saved["known"])
        self._known = {digest: mark for mark, digest in KNOWN.iter_unpack(packed)}

    def state(self) -> Json:
        """Return how far the table was read, to be saved."""
        packed = b"".join(KNOWN.pack(mark, digest) for digest, mark in self._known.items())
        known = base64.b64encode(packed).decode()
        mark = self._mark if self._behind is None else self._start
        return {"mark": mark, "floor": self._floor, "passing": self._passing, "known": known}

    def read(self) -> Taken:
        """Return rows that are new, or not as they were, in the order of their changes."""
        if self._behind is None and self._monotonic() < self._due_s:
            return Taken([], caught_up=True)
        if self._table is None:
            self._table = opened(self._source)
        if self._behind is None:
            self._low, self._start, self._dropped = self._from(), self._mark, None
        rows = self._table.rows(self._low, self._behind, MOST_RECORDS)
        records = list(self._new(rows))
        if len(rows) == MOST_RECORDS:
            self._behind = self._table.place(rows[-1])
            return Taken(records, caught_up=False)
        self._finish()
        return Taken(records, caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the columns of a row, as texts."""
        return fields_of(record, self._source.json_columns)

    def behind(self) -> int:
        """Return 0: a table does not say how many bytes there are."""
        return 0

    @property
    def problems(self) -> dict[str, str]:
        """Return what makes it impossible to know all rows."""
        return self._problems

    def close(self) -> None:
        """Close the connection."""
        table, self._table = self._table, None
        if table is not None:
            table.close()

    # -- rows

    def _from(self) -> int | None:
        """Return the mark from which on rows are read again; None for all."""
        assert self._table is not None
        if self._mark is None:
            return None
        latest = min(self._mark, self._table.mark_of_now(self._clock()))  # a row dated ahead must not hide others
        low = latest - self._table.overlap
        return low if self._floor is None else max(low, self._floor)

    def _new(self, rows: list[Any]) -> Iterator[Record]:
        assert self._table is not None
        for row in rows:
            record, mark = record_of(self._table, row), self._table.mark(row)
            digest = hashlib.sha256(b"%b\0%b" % (record.place.encode(), record.content)).digest()[:8]
            is_new = self._known.pop(digest, None) is None
            self._known[digest] = mark
            self._mark = mark if self._mark is None else max(mark, self._mark)
            if is_new and not self._passing:
                yield record
        while len(self._known) > MOST_KNOWN:
            self._dropped = max(self._dropped or 0, self._known.pop(next(iter(self._known))))

    def _finish(self) -> None:
        """End a look: forget what is not read again, and do not read again what had to be forgotten."""
        self._behind, self._passing = None, False
        self._due_s = self._monotonic() + self._every_s
        if self._dropped is not None:
            self._floor, self._dropped = self._dropped + 1, None
        low = self._from()
        if low is not None:
            self._known = {digest: mark for digest, mark in self._known.items() if mark >= low}
        self._problems.clear()
        if low is not None and low == self._floor:
            what = f"more than {MOST_KNOWN} rows changed within the overlap: what commits late may be missed"
            self._problems[self._source.table] = what


def record_of(table: Table, row: Any) -> Record:
    """Return the record of a row."""
    place = f"{table.name}:{json.dumps(table.key(row))}"
    content = json.dumps({name: text(value) for name, value in table.columns(row).items()}, ensure_ascii=False)
    encoded = content.encode("utf-8", "replace")
    if len(encoded) > LONGEST_BYTES:
        return Record(place, b"", "too_long: a row")
    return Record(place, encoded, part=table.changed_at(row))


def fields_of(record: Record, json_columns: Iterable[str] = ()) -> Fields:
    """Return the fields of a row's record: its columns, and when it changed. Rejection when one of *json_columns* is no JSON."""
    try:
        found = json.loads(record.content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Rejection("not_json", "a row is an object")
    for name in json_columns:
        if isinstance(found.get(name), str):
            found[name] = _read(name, found[name])
    return {**found, ROW_CHANGED: record.part} if record.part else found


def _read(name: str, text: str) -> Any:
    try:
        return as_texts(text)
    except (ValueError, RecursionError):
        raise Rejection("not_json", name) from None


def text(value: object) -> Any:
    """Return a column's value as fields have it: a text, or objects of JSON with texts in them; nothing for NULL."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(name): text(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [text(each) for each in value]
    return str(value)
