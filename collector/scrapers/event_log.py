"""A file of events that was written elsewhere, as a kind of source: each event is a record, and is resumed by its number.

A record's content is its fields as JSON, so that ids do not depend on how a format writes them.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

from controltower.collector.scrapers.definition import EventLogSource, TimeSpec, fields_of
from controltower.collector.scrapers.errors import EventLogError, Rejection
from controltower.collector.scrapers.event_formats import Flaw, Opened, Piece, opened
from controltower.collector.scrapers.getting import time_getter
from controltower.collector.scrapers.observation import KEPT, Fields, Level, Record, Taken
from controltower.store.ocel.kept import MOST_CHARACTERS

MOST_RECORDS: Final = 10_000  # of one batch
MOST_BYTES: Final = 1024 * 1024  # of one batch, one record more
LONGEST_BYTES: Final = 1024 * 1024  # of one event
OCEL: Final = "ocel"
ENDINGS: Final[Mapping[str, str]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".xes": "xes",
    **dict.fromkeys((".jsonocel", ".xmlocel", ".json", ".xml", ".sqlite", ".db"), OCEL),
}
TIMES: Final[Mapping[str, str]] = {"xes": "time:timestamp", OCEL: "time"}

Json = dict[str, Any]


def of_file(source: EventLogSource, path: Path) -> EventLogSource:
    """Return a map for the file at *path*, with what the file tells; EventLogError when the two do not fit."""
    form = source.format or ENDINGS.get(path.suffix.lower())
    if form is None:
        raise EventLogError(f"The name of {path} does not tell its format: write format: into the map.")
    time = source.time or (TimeSpec(field=TIMES[form]) if form in TIMES else None)
    if time is None:
        raise EventLogError(f"The map {source.name} does not say which column is the time: write time: into it.")
    return source.model_copy(update={"format": form, "time": time, "file": path})


class EventLogReader:
    """Reads one file once. For one thread."""

    def __init__(self, source: EventLogSource, clock: Callable[[], int]) -> None:
        assert source.time is not None  # of_file
        self._source = source
        self._time = time_getter(source.time, source.time_zone, clock)
        self._earliest_ns = _nanoseconds(source.earliest)
        a_day_ahead_ns = clock() + 86_400 * 10**9
        self._latest_ns = _nanoseconds(source.latest + timedelta(days=1)) if source.latest else a_day_ahead_ns
        self._number = 0  # of events that were read
        self._opened: Opened | None = None
        self._closing = ExitStack()

    # -- the contract

    @staticmethod
    def times(source: EventLogSource) -> list[TimeSpec]:
        """Return where the times of events are; the source says it."""
        return []

    def restore(self, saved: Json) -> None:
        """Go on behind the events that were read."""
        self._number = saved["number"]

    def state(self) -> Json:
        """Return how many events were read, to be saved."""
        return {"number": self._number}

    def read(self) -> Taken:
        """Return the next events."""
        events = self._begun().events
        records: list[Record] = []
        used = 0
        for event in events:
            self._number += 1
            record = self._record(event)
            records.append(record)
            used += len(record.content)
            if used >= MOST_BYTES or len(records) >= MOST_RECORDS:
                return Taken(records, caught_up=False)
        return Taken(records, caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of an event; Rejection when it has no time that can be meant."""
        fields: Json = json.loads(record.content)
        at_ns = self._time(fields, {})
        if at_ns is None:
            raise Rejection("missing", "time")
        if not self._earliest_ns <= at_ns < self._latest_ns:
            raise Rejection("time_out_of_range")
        return fields

    def acknowledged(self, saved: Json) -> None:
        """Nothing is moved or removed behind an import."""

    def behind(self) -> int:
        """Return how many bytes were not read yet."""
        return self._opened.left() if self._opened else 0

    @property
    def problems(self) -> dict[str, str]:
        """Return nothing: what is wrong with the one file is raised."""
        return {}

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return nothing: a file is no queue."""
        return ()

    @property
    def holding(self) -> bool:
        """Say that nothing waits for what is acknowledged."""
        return False

    def close(self) -> None:
        """Close the file."""
        self._closing.close()
        self._opened = None

    # -- events

    def _begun(self) -> Opened:
        if self._opened is not None:
            return self._opened
        folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="controltower-import-"))
        found = opened(self._source, Path(folder), self._closing)
        wanted = {name for name in (*fields_of(self._source), self._source.id or "") if name}
        wanted |= {self._source.time.field} if self._source.time else set()
        if found.fields and (unknown := sorted(wanted - found.fields)):
            have = ", ".join(sorted(found.fields))
            raise EventLogError(f"{self._source.file} has no column {', '.join(unknown)}; it has {have}.")
        _pass_over(found.events, self._number)
        self._opened = found
        return found

    def _record(self, event: Fields | Flaw | Piece) -> Record:
        place = str(self._number)
        if isinstance(event, Piece):
            flaw = "too_long" if len(event.text) > MOST_CHARACTERS else ""
            return Record(place, event.text.encode(), flaw, part=KEPT)
        if isinstance(event, Flaw):
            return Record(place, b"", event.text)
        id_ = event.get(self._source.id or ("id" if self._source.format == OCEL else ""))
        content = json.dumps(event, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        if len(content) > LONGEST_BYTES:
            return Record(place, b"", "too_long")
        return Record(f"id {id_}" if isinstance(id_, str) else place, content)


def _pass_over(events: Iterator[object], count: int) -> None:
    for _ in islice(events, count):
        pass


def _nanoseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9
