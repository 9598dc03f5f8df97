"""Tables in files: CSV, fixed width and workbooks; a row is a record, and its columns are its fields, as the texts they are."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from controltower.collector.redaction.linear import Groups
from controltower.collector.scrapers.observation import Fields, Record

MOST_UNPACKED_BYTES: Final = 256 * 1024 * 1024  # of a workbook; it is a ZIP file, and read as a whole
MOST_COLUMNS: Final = 16_384  # as many as a workbook can have

_BOM: Final = "\ufeff"
TRAILER_GROUPS: Final = frozenset(("records", "total"))


class _Defect(Exception):
    """A file is refused."""


def csv_rows(content: bytes, source: Any) -> Iterator[Record]:
    """Yield a record for each row of a CSV file, and one with a flaw for all that is refused.

    The first row names the columns, unless the source does. A row that has not as many is refused by itself.
    """
    try:
        lines, trailer = _lines(content, source)
        rows = list(_csv(lines, source.delimiter))
    except _Defect as defect:
        yield Record("0", content, str(defect))
        return
    names: Sequence[str] = source.columns or (rows.pop(0) if rows else ())
    yield from _checked(content, names, rows, trailer)


def fixed_rows(content: bytes, source: Any) -> Iterator[Record]:
    """Yield a record for each line of fixed width, and one with a flaw for all that is refused."""
    try:
        lines, trailer = _lines(content, source)
    except _Defect as defect:
        yield Record("0", content, str(defect))
        return
    places: dict[str, tuple[int, int]] = dict(source.widths)
    width = max(end for _, end in places.values())
    whole = (line.rstrip("\r\n") for line in lines)
    rows = [
        [line[begin:end].strip() for begin, end in places.values()] if len(line) >= width else [line]
        for line in whole
        if line.strip()
    ]
    yield from _checked(content, list(places), rows, trailer)


def workbook_rows(content: bytes, source: Any) -> Iterator[Record]:
    """Yield a record for each row of a workbook's sheet, and one with a flaw for a file that is none."""
    try:
        rows = _sheet(content, source.sheet)
    except _Defect as defect:
        yield Record("0", content[:0], str(defect))
        return
    names: Sequence[str] = source.columns or (rows.pop(0) if rows else ())
    named = [name for name in names if name]
    rows = [row[: len(named)] if not any(row[len(named) :]) else row for row in rows]
    yield from _checked(content, named, rows, None)


def document(record: Record, encoding: str) -> Fields:
    """Return the fields of a row."""
    return dict(json.loads(record.content))


def _checked(
    content: bytes, names: Sequence[str], rows: list[list[str]], trailer: dict[str, str] | None
) -> Iterator[Record]:
    digest = hashlib.sha256(content).hexdigest()[:16]
    if len({*names}) != len(names):
        yield Record(digest, b"", "repeated_column: the first row")
        return
    if trailer is not None:
        if trailer.get("records") and int(trailer["records"]) != len(rows):
            yield Record(digest, b"", "wrong_count: the trailer")
            return
        told = {name: trailer.get(name, "") for name in TRAILER_GROUPS}
        yield Record(digest, json.dumps(told, sort_keys=True).encode(), part="trailer")
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            yield Record(f"{digest}:{number}", json.dumps(row).encode(), f"wrong_columns: row {number}")
        else:
            yield Record(f"{digest}:{number}", json.dumps(dict(zip(names, row, strict=True))).encode())


def _lines(content: bytes, source: Any) -> tuple[list[str], dict[str, str] | None]:
    """Return the lines of a file with their ends, without its trailer, and what that says."""
    try:
        text = content.decode(source.encoding).removeprefix(_BOM)
    except UnicodeDecodeError:
        raise _Defect(f"bad_encoding: {source.encoding}") from None
    lines = text.splitlines(keepends=True) if source.format == "fixed" else list(io.StringIO(text, newline=""))
    if source.trailer is None:
        return lines, None
    while lines and not lines[-1].strip():
        lines.pop()
    found = _found(source.trailer, lines.pop().rstrip("\r\n")) if lines else None
    if found is None:
        raise _Defect("missing: the trailer")
    return lines, found


def _found(expression: str, line: str) -> dict[str, str] | None:
    groups = Groups(expression)
    encoded = line.encode()
    spans = groups.find(encoded)
    if spans is None:
        return None
    named = {name: spans[number] for name, number in groups.numbers.items()}
    return {name: encoded[begin:end].decode() for name, (begin, end) in named.items() if begin >= 0}


def _csv(lines: list[str], delimiter: str) -> Iterator[list[str]]:
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for row in rows:
            if len(row) > MOST_COLUMNS:
                raise _Defect(f"wrong_columns: line {rows.line_num}")
            if any(value.strip() for value in row):
                yield [value.strip() for value in row]
    except csv.Error:
        raise _Defect(f"bad_row: line {rows.line_num}") from None


def _sheet(content: bytes, sheet: str | None) -> list[list[str]]:
    from openpyxl import load_workbook  # needs the extra `files`, as a source of this format does

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(each.file_size for each in packed.infolist()) > MOST_UNPACKED_BYTES:
                raise _Defect("too_long: a workbook")
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        try:
            if sheet is not None and sheet not in book.sheetnames:
                raise _Defect("missing: the sheet")
            chosen = book[sheet] if sheet is not None else book.worksheets[0]
            rows = [[_text(value) for value in row] for row in chosen.iter_rows(values_only=True)]
        finally:
            book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError, SyntaxError, OSError):
        raise _Defect("bad_workbook: it cannot be read") from None
    return [row for row in rows if any(row)]


def _text(value: object) -> str:
    """Return a cell as text. A workbook keeps numbers as doubles, and means 15 digits of them."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(f"{value:.15g}"), "f")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value).strip()
