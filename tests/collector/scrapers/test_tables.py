"""Tables and XML in files: each row and element is a record, with the texts it holds; what is not whole is refused."""

import csv
import io
import json
import os
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.redaction.policy import default_policy
from controltower.collector.scrapers.definition import FolderSource, parse_sources
from controltower.collector.scrapers.errors import SourcesError
from controltower.collector.scrapers.folder import FolderReader
from controltower.collector.scrapers.mapper import Mapped, Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.tables import csv_rows, document
from controltower.tracer import attributes
from controltower.tracer.tokens import Tokeniser
from tests.collector.scrapers.test_file_rules import RUN
from tests.collector.scrapers.test_folder import NOW_NS, OLD_NS

Json = dict[str, Any]
ROW: Json = {
    "step": "p2p.invoice.registered",
    "keys": {"voucher": "voucher", "invoice": "invoice"},
    "amount": "amount",
    "currency": {"text": "USD"},
}
LINES = [["voucher", "invoice", "amount"], ["V-1", "I-1", "1250.00"], ["V-2", "I, 2", "0.50"]]


def source_of(folder: Path, **options: Any) -> FolderSource:
    given_: Json = {"kind": "folder", "files": [str(folder / "in" / "*")], "rules": [ROW], **options}
    source = parse_sources(json.dumps({"sources": {"ap": given_}}), "ap.yaml").sources["ap"]
    assert isinstance(source, FolderSource)
    return source


def mapped(folder: Path, content: bytes, **options: Any) -> Mapped:
    """Return what becomes of a file."""
    (folder / "in").mkdir(exist_ok=True)
    file = folder / "in" / "today"
    file.write_bytes(content)
    os.utime(file, ns=(OLD_NS, OLD_NS))
    source = source_of(folder, **options)
    reader = FolderReader(source, lambda: NOW_NS)
    mapper = Mapper(source, "ap", Policies(default_policy(), Tokeniser(())), lambda: NOW_NS)
    return mapper.map(reader.read().records, reader)


def told(found: Mapped) -> list[tuple[Any, ...]]:
    names = ("controltower.key.voucher", "controltower.key.invoice", attributes.AMOUNT)
    return [tuple(step.attributes.get(name) for name in names) for step in found.steps]


def reasons(found: Mapped) -> list[str]:
    return [str(rejection) for _, rejection in found.rejected]


def as_csv(rows: list[list[str]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


BOTH = [("V-1", "I-1", "1250.00"), ("V-2", "I, 2", "0.50")]


def test_csv(tmp_path: Path) -> None:
    """With the names of its first row, or those of the source; with a mark of UTF-8; with another delimiter."""
    assert told(mapped(tmp_path, as_csv(LINES), format="csv")) == BOTH
    assert told(mapped(tmp_path, b"\xef\xbb\xbf" + as_csv(LINES), format="csv")) == BOTH
    named = mapped(tmp_path, as_csv(LINES[1:], ";"), format="csv", columns=LINES[0], delimiter=";")
    assert told(named) == BOTH


cells = st.text("ab,;\"'\n 0é", max_size=6).map(str.strip)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width).filter(any), max_size=5)
)


@given(tables)
def test_rows_are_as_they_were_written(rows: list[list[str]]) -> None:
    """Whatever stands in them, each by itself, with a place of its own."""
    width = len(rows[0]) if rows else 1

    class Source:
        columns = tuple(f"c{number}" for number in range(width))
        delimiter, encoding, format, trailer = ",", "utf-8", "csv", None

    records = list(csv_rows(as_csv(rows), Source))
    assert [list(document(record, "utf-8").values()) for record in records] == rows
    assert len({record.place for record in records}) == len(rows)


@pytest.mark.parametrize(
    ("content", "rejected", "steps"),
    [
        (as_csv([*LINES, ["V-3"]]), ["wrong_columns: row 3"], 2),
        (as_csv(LINES) + b'"V-3,I-3', ["bad_row: line 4"], 0),
        (as_csv(LINES).replace(b"I-1", b"I-\xff"), ["bad_encoding: utf-8"], 0),
        (as_csv([["voucher", "voucher", "amount"]]), ["repeated_column: the first row"], 0),
        (as_csv([*LINES, ["V-3", "I-3", "1O"]]), ["bad_amount: controltower.amount"], 2),
        (b"", ["empty: a file"], 0),
        (b"\r\n", ["empty: a file"], 0),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, content: bytes, rejected: list[str], steps: int) -> None:
    """A row by itself, or all of a file that cannot be told apart into rows."""
    found = mapped(tmp_path, content, format="csv")

    assert (reasons(found), len(found.steps)) == (rejected, steps)


@pytest.mark.parametrize(
    ("last", "rejected", "outcome", "reason"),
    [
        ("T,2,1250.50", [], "ok", None),
        ("T,2,1250.51", [], "exception", "out_of_balance"),
        ("T,3,1250.50", ["wrong_count: the trailer"], "exception", "rejected_records"),
        ("V-3,I-3,1.00", ["missing: the trailer"], "exception", "rejected_records"),
    ],
)
def test_control_totals(tmp_path: Path, last: str, rejected: list[str], outcome: str, reason: str | None) -> None:
    """A file that was cut off, or has not as many rows as it says, is refused whole; a sum that differs is told of the file."""
    trailer = r"^T,(?P<records>\d+),(?P<total>[-0-9.]+)$"
    found = mapped(tmp_path, as_csv(LINES) + last.encode(), format="csv", trailer=trailer, rules=[RUN, ROW])

    *rows, run = found.steps
    assert (reasons(found), len(rows)) == (rejected, 0 if rejected else 2)
    assert (run.attributes[attributes.OUTCOME], run.attributes.get(attributes.REASON)) == (outcome, reason)
    assert run.attributes[attributes.RUN_CONTROL_TOTAL] == ("0" if rejected else "1250.50")


def test_fixed_width(tmp_path: Path) -> None:
    """By the places of characters; a line that is too short is refused by itself."""
    widths = {"voucher": [0, 6], "invoice": [6, 14], "amount": [14, 24]}
    text = "V-1   I-1     0000125000\r\nV-2   I, 2    0000000050\r\nV-3\r\n"
    rule = {**ROW, "amount": {"field": "amount", "do": [{"places": 2}, {"decimal": {"thousands": ""}}]}}
    found = mapped(tmp_path, text.encode(), format="fixed", widths=widths, rules=[rule])

    assert [(voucher, invoice) for voucher, invoice, _ in told(found)] == [each[:2] for each in BOTH]
    assert [float(step.attributes[attributes.AMOUNT]) for step in found.steps] == [1250.0, 0.5]  # type: ignore[arg-type]
    assert reasons(found) == ["wrong_columns: row 3"]


def workbook(rows: list[list[Any]], title: str = "Invoices") -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_workbooks(tmp_path: Path) -> None:
    """Numbers are the decimals that were meant, days are days, empty rows are none; by the name of a sheet."""
    day = datetime(2026, 11, 3)  # noqa: DTZ001 - workbooks have no zones
    first: list[Any] = ["V-1", 4711, 0.1 + 0.2, day]
    rows = [["voucher", "invoice", "amount", "day"], first, [], ["V-2", "I, 2", 19.99, None]]
    rule = {**ROW, "context": {"period": "day"}}
    found = mapped(tmp_path, workbook(rows), format="xlsx", sheet="Invoices", rules=[rule])

    assert told(found) == [("V-1", "4711", "0.3"), ("V-2", "I, 2", "19.99")]
    assert found.steps[0].attributes["controltower.context.period"] == "2026-11-03T00:00:00"
    assert reasons(mapped(tmp_path, workbook(rows), format="xlsx", sheet="Other")) == ["missing: the sheet"]


def test_what_is_no_workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, also when it would fill the memory."""
    whole = workbook(LINES)
    assert reasons(mapped(tmp_path, whole[: len(whole) // 2], format="xlsx")) == ["bad_workbook: it cannot be read"]
    assert reasons(mapped(tmp_path, b"voucher,invoice", format="xlsx")) == ["bad_workbook: it cannot be read"]

    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(9):
            packed.writestr(str(number), b"\0" * 32 * 1024 * 1024)
    assert reasons(mapped(tmp_path, bomb.getvalue(), format="xlsx")) == ["too_long: a workbook"]


XML = """<?xml version="1.0" encoding="iso-8859-1"?>
<i:Invoices xmlns:i="urn:invoices" xmlns:l="urn:lines">
  <i:Invoice id="I-1"><i:Voucher>V-1</i:Voucher><i:Total currency="EUR">1250.00</i:Total>
    <l:Line no="1"><l:Item>A-77</l:Item><l:Amount>1000.00</l:Amount></l:Line><l:Line no="2"><l:Item>Größe</l:Item><l:Amount>250.00</l:Amount></l:Line>
  </i:Invoice>
  <i:Invoice id="I-2"><i:Voucher>V-2</i:Voucher><i:Total currency="EUR">0.50</i:Total></i:Invoice>
</i:Invoices>
""".encode("latin-1")
XML_RULE: Json = {
    "step": "p2p.invoice.registered",
    "keys": {"voucher": "Voucher", "invoice": "@id"},
    "amount": "Total",
    "currency": "Total/@currency",
    "lines": {"each": "Line", "line": "@no", "item": "Item", "amount": "Amount"},
}


def test_xml(tmp_path: Path) -> None:
    """By XPath, without the namespaces, in its own encoding; each line knows itself only."""
    found = mapped(tmp_path, XML, format="xml", each="//Invoice", rules=[XML_RULE])

    assert told(found) == [("V-1", "I-1", "1250.00"), ("V-2", "I-2", "0.50")]
    assert [[line["item"] for line in step.lines] for step in found.steps] == [["A-77", "Größe"], []]
    assert found.steps[0].attributes[attributes.CURRENCY] == "EUR"


@pytest.mark.parametrize(
    ("content", "rejected"),
    [
        (XML[:-20], "bad_xml: line 6"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a><Invoice>&b;</Invoice></a>', "bad_xml: it has a document type"),
        (b"<a/>", "no_document: the path finds no element"),
        (b"", "empty: a file"),
        (b"<", "bad_xml: line 1"),
    ],
)
def test_xml_that_is_refused(tmp_path: Path, content: bytes, rejected: str) -> None:
    """All of it: what is cut off, what could mean anything, what holds nothing."""
    found = mapped(tmp_path, content, format="xml", each="//Invoice", rules=[XML_RULE])

    assert (reasons(found), found.steps) == ([rejected], [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "fixed"}, "is needed for format: fixed"),
        ({"format": "xml"}, "is needed for format: xml"),
        ({"format": "xml", "each": "//["}, "is no XPath"),
        ({"format": "csv", "widths": {"a": [0, 1]}}, "is for format: fixed"),
        ({"format": "fixed", "widths": {"voucher": [3, 1]}}, "ends before it begins"),
        ({"format": "csv", "columns": ["voucher"]}, "invoice is no path"),
        ({"format": "csv", "trailer": "^T"}, "needs one of the groups"),
        ({"format": "csv", "trailer": "^T(?P<total>.*)"}, "there is none"),
        ({"format": "csv", "rules": [{**ROW, "lines": {"each": "a"}}]}, "lines are for|is no path of segments"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, options: Json, words: str) -> None:
    """When the file of sources is read."""
    with pytest.raises(SourcesError, match=words):
        source_of(tmp_path, **options)


@pytest.mark.parametrize(("form", "module", "more"), [("xml", "lxml", {"each": "//a"}), ("xlsx", "openpyxl", {})])
def test_what_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, module: str, more: Json
) -> None:
    """With what to install, when the file of sources is read."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourcesError, match=r"pip install 'controltower\[files\]'"):
        source_of(tmp_path, format=form, **more)


def test_the_same_row_in_another_file_is_another_one(tmp_path: Path) -> None:
    """And in the same content it is the same, whatever the file is called."""

    class Source:
        columns, delimiter, encoding, format, trailer = (), ",", "utf-8", "csv", None

    def places(rows: list[list[str]]) -> list[Record]:
        return list(csv_rows(as_csv(rows), Source))

    assert places(LINES) == places(LINES)
    assert not {record.place for record in places(LINES)} & {record.place for record in places(LINES[:2])}
