"""The formats of documents in folders, one line each: how a file is split, and what rules find in a document."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from controltower.collector.scrapers import (
    edifact,
    hl7,
    hl7_fields,
    segment_fields,
    tables,
    x12,
    x12_fields,
    xml_documents,
)
from controltower.collector.scrapers.observation import Fields, Record

FILE: Final = "file"
"""The part that is told of a file as a whole, behind its documents, to sources that have a rule for it."""

TRAILER: Final = "trailer"
"""The part that says what should be in a file; it is no record."""

ENVELOPES: Final = frozenset(("ISA", "GS", "AK1", "UNB", "UCI"))
"""The parts that are told of what holds documents, to sources that have a rule for them; they are no documents."""

FILE_NAMES: Final = frozenset(
    ("name", "path", "sha256", "size", "time", "records", "rejected", "expected", "total", "outcome", "reason")
)
"""What is told of a file."""


class Format(NamedTuple):
    """What a format is to a folder."""

    records: Callable[[bytes, Any], Iterator[Record]]  # of a file's content, for a source
    fields: Callable[[Record, str], Fields]  # of a record, in an encoding
    time: tuple[str, str]  # the field that holds the time of a document, and its form
    names: frozenset[str]  # fields that are no paths
    is_path: Callable[[str], bool]
    is_loop: Callable[[str], bool]
    value: str  # a path of a value, as an example
    lines: str  # and of lines
    apart: bool = True  # a path of lines is none of a value


def asked_for(source: Any) -> frozenset[str]:
    """Return the envelopes that a source has a rule for."""
    return ENVELOPES & {rule.when.get("part", "") for rule in source.rules}


def _is_column(text: str) -> bool:
    return not text.startswith("$")


def _is_never(text: str) -> bool:
    return False


FORMATS: Final[Mapping[str, Format]] = {
    "x12": Format(
        lambda content, source: x12.interchanges(content, exact=source.exact, envelopes=asked_for(source)),
        x12_fields.document,
        (x12_fields.TIME, x12_fields.TIME_FORM),
        x12_fields.NAMES,
        lambda text: segment_fields.path_of(text) is not None,
        segment_fields.is_loop,
        "BEG03 or REF[IA]02",
        "PO1 or HL[03=I]",
    ),
    "edifact": Format(
        lambda content, source: edifact.interchanges(content, default=source.una, envelopes=asked_for(source)),
        edifact.document,
        (edifact.TIME, edifact.TIME_FORM),
        edifact.NAMES,
        lambda text: segment_fields.path_of(text) is not None,
        segment_fields.is_loop,
        "BGM02 or RFF[ON]01-2",
        "LIN",
    ),
    "hl7": Format(
        lambda content, source: hl7.messages(content),
        hl7.document,
        (hl7.TIME, hl7.TIME_FORM),
        hl7.NAMES,
        lambda text: hl7_fields.path_of(text) is not None,
        hl7_fields.is_loop,
        "MSH-10 or PID-3[5=MR].1",
        "FT1",
    ),
    "csv": Format(tables.csv_rows, tables.document, ("", ""), frozenset(), _is_column, _is_never, "a column", ""),
    "fixed": Format(tables.fixed_rows, tables.document, ("", ""), frozenset(), _is_column, _is_never, "a column", ""),
    "xlsx": Format(tables.workbook_rows, tables.document, ("", ""), frozenset(), _is_column, _is_never, "a column", ""),
    "xml": Format(
        xml_documents.elements,
        xml_documents.document,
        ("", ""),
        frozenset(),
        xml_documents.is_path,
        xml_documents.is_path,
        "Header/Number or @id",
        "Lines/Line",
        apart=False,
    ),
}
