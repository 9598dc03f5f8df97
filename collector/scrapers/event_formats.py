"""The formats of event logs, one function each: events in the order of the file, as names and texts, in bounded memory.

An event that cannot be read is yielded as a `Flaw`, and those behind it are read on. What is wrong with the file as a whole is
an EventLogError.
"""

import ast
import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from controltower.collector.scrapers.definition import OBJECTS, EventLogSource
from controltower.collector.scrapers.errors import EventLogError
from controltower.collector.scrapers.observation import Fields

ROWS: Final = 2_000  # of a Parquet file that are in memory as Python's objects
OBJECT: Final = "object:"  # and a type: the ids of an event's objects of it
RELATED: Final = "related:"  # and a type: the ids of the objects that those are related with


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why an event cannot be read: ``reason: detail``."""

    text: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a log that is kept whole."""

    text: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is read."""

    events: Iterator[Fields | Flaw | Piece]
    fields: frozenset[str]  # that events have; none when only reading all of it could tell
    left: Callable[[], int]  # bytes that were not read yet


def opened(source: EventLogSource, folder: Path, closing: ExitStack) -> Opened:
    """Open the file of *source*; what has to be put in order first goes into *folder*. EventLogError, OSError."""
    assert source.file is not None
    return FORMATS[source.format or ""](source, source.file, folder, closing)


# -- CSV


def _csv(source: EventLogSource, path: Path, folder: Path, closing: ExitStack) -> Opened:
    raw = closing.enter_context(path.open("rb", buffering=0))
    encoding = "utf-8-sig" if source.encoding == "utf-8" else source.encoding
    text = closing.enter_context(
        io.TextIOWrapper(io.BufferedReader(raw), encoding=encoding, errors="surrogateescape", newline="")
    )
    rows = csv.reader(text, delimiter="\t" if path.suffix.lower() == ".tsv" else source.delimiter, strict=True)
    try:
        columns = next(rows)
    except (StopIteration, csv.Error):
        raise EventLogError(f"{path} has no row of column names.") from None
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise EventLogError(f"{path} has more than one column called {', '.join(repeated)}.")
    size = path.stat().st_size
    events = _csv_events(rows, columns, frozenset(source.lists))
    return Opened(events, frozenset(columns), lambda: max(size - raw.tell(), 0))


def _csv_events(rows: Iterator[list[str]], columns: list[str], lists: frozenset[str]) -> Iterator[Fields | Flaw]:
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as exc:
            yield Flaw(f"bad_row: {exc}")
            continue
        if not row:
            continue
        if len(row) != len(columns):
            yield Flaw(f"bad_row: {len(row)} columns instead of {len(columns)}")
            continue
        event: dict[str, Any] = dict(zip(columns, row, strict=True))
        try:
            "".join(row).encode()
            for name in lists & event.keys():
                event[name] = _list(event[name])
        except UnicodeEncodeError:
            yield Flaw("bad_encoding")
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            yield Flaw(f"bad_list: {name}")
        else:
            yield event


def _list(text: str) -> list[str]:
    """Return the texts of a list as JSON or Python writes it."""
    if not text.strip():
        return []
    found = ast.literal_eval(text)
    if not isinstance(found, list | tuple):
        raise ValueError("no list")  # noqa: TRY004 - as literal_eval says it
    return [str(each) for each in found]


# -- Parquet


def _parquet(source: EventLogSource, path: Path, folder: Path, closing: ExitStack) -> Opened:
    import pyarrow  # type: ignore[import-untyped]  # published without types; only who imports such files needs it
    from pyarrow import parquet

    try:
        file = closing.enter_context(parquet.ParquetFile(path))
    except pyarrow.ArrowInvalid as exc:
        raise EventLogError(f"{path} is no Parquet file: {exc}.") from exc
    done = [0]
    size, rows = path.stat().st_size, max(file.metadata.num_rows, 1)

    def events() -> Iterator[Fields]:
        for batch in file.iter_batches(ROWS):
            for row in batch.to_pylist():
                done[0] += 1
                yield {name: _plain(value) for name, value in row.items() if value is not None}

    return Opened(events(), frozenset(file.schema_arrow.names), lambda: size - size * done[0] // rows)


def _plain(value: Any) -> Any:
    """Return a value as text, and what holds values with texts in it."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case float():
            return format(Decimal(repr(value)), "f")
        case list():
            return [_plain(each) for each in value if each is not None]
        case dict():
            return {name: _plain(each) for name, each in value.items() if each is not None}
        case bytes():
            return value.decode(errors="replace")
        case _:
            return str(value)


# -- XES


def _xes(source: EventLogSource, path: Path, folder: Path, closing: ExitStack) -> Opened:
    file = closing.enter_context(path.open("rb"))
    size = path.stat().st_size
    return Opened(_xes_events(path, file), frozenset(), lambda: max(size - file.tell(), 0))


def _xes_events(path: Path, file: Any) -> Iterator[Fields]:
    from lxml import etree

    case: dict[str, str] = {}
    # Nothing outside of the file is fetched, and no entity of its own is expanded.
    parsed = etree.iterparse(
        file,
        events=("start", "end"),
        tag=("{*}trace", "{*}event"),
        resolve_entities=False,
        no_network=True,
        huge_tree=True,
    )
    try:
        for moment, element in parsed:
            is_event = etree.QName(element).localname == "event"
            if moment == "start":
                case = {} if not is_event else case or _xes_values(element.getparent(), "case:")
            elif is_event:
                yield {**case, **_xes_values(element, "")}
                element.clear()
            else:
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except etree.XMLSyntaxError as exc:
        raise EventLogError(f"{path} is no whole XML: {exc}. What stands before that place was read.") from exc


def _xes_values(element: Any, prefix: str) -> dict[str, str]:
    return {f"{prefix}{each.get('key')}": each.get("value") for each in element if each.get("value") is not None}


# -- OCEL


def _ocel(source: EventLogSource, path: Path, folder: Path, closing: ExitStack) -> Opened:
    from controltower.store.ocel.kept import pieces
    from controltower.store.ocel.reading import stage  # needs libraries that only who imports has
    from controltower.store.ocel.staged import Staged

    file = folder / "staged.sqlite"
    file.unlink(missing_ok=True)  # of a process that was killed
    closing.callback(file.unlink, missing_ok=True)
    staged = Staged(file)
    closing.callback(staged.close)
    count = stage(path, staged)
    done = [0]
    size = path.stat().st_size

    def events() -> Iterator[Fields | Flaw | Piece]:
        for _, event in staged.events(0):
            done[0] += 1
            yield _ocel_event(event)
        if source.keep_log:
            yield from map(Piece, pieces(staged))

    return Opened(events(), frozenset(), lambda: size - size * done[0] // count)


def _ocel_event(event: Mapping[str, Any]) -> Fields | Flaw:
    """Return an event by names: id, type, time, its attributes, and its objects by type."""
    if event["repeated"]:
        return Flaw(f"repeated_id: {event['id']}")
    fields: dict[str, Any] = dict(event["attributes"])
    for each in event["objects"]:
        if not each["type"]:
            return Flaw(f"dangling_reference: {each['id']}")
        fields.setdefault(f"{OBJECT}{each['type']}", []).append(each["id"])
        line = {**each["values"], "id": each["id"], "qualifier": each["qualifier"]}
        fields.setdefault(f"{OBJECTS}{each['type']}", []).append(line)
        for name, value in each["values"].items():
            fields.setdefault(f"{OBJECT}{each['type']}.{name}", []).append(value)
    for type_, id_ in event["related"]:
        fields.setdefault(f"{RELATED}{type_}", []).append(id_)
    return {**fields, "id": event["id"], "type": event["type"], "time": event["time"]}


FORMATS: Final[Mapping[str, Callable[[EventLogSource, Path, Path, ExitStack], Opened]]] = {
    "csv": _csv,
    "parquet": _parquet,
    "xes": _xes,
    "ocel": _ocel,
}
