"""The fields of an X12 document: paths of segments, and what is said of all of it."""

from itertools import pairwise
from typing import Final

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.segment_fields import PART, Document, Form, Segment
from controltower.collector.scrapers.x12 import separators
from controltower.collector.scrapers.x12_balance import BALANCE, balance
from controltower.collector.scrapers.x12_parts import LEVEL, begin_of_part

TIME: Final = "interchange_time"
TIME_FORM: Final = "%y%m%d%H%M"
NAMES: Final = frozenset((TIME, PART, BALANCE))

_ENDS: Final = frozenset(("CTT", "TDS", "PLB", "SE", "GE", "IEA"))


def document(record: Record, encoding: str) -> Document:
    """Return the fields of a record. Rejection when it is not written in *encoding*."""
    marks = separators(record.content)
    if marks is None:
        raise Rejection("no_interchange", "ISA")
    try:
        text = record.content.decode(encoding)
        element, component, segment = (mark.decode(encoding) for mark in marks)
    except UnicodeDecodeError:
        raise Rejection("bad_encoding", encoding) from None
    segments = [each.split(element) for each in text.split(segment) if each]
    form = Form(component, _ENDS, LEVEL)
    given = {PART: record.part, TIME: _time(segments[0]), **balance(segments, record.part)}
    if not record.part:
        return Document(segments, form, given=given)
    begin, end = begin_of_part(segments, record.part)
    return Document(segments[begin:end], form, _around(segments[:begin], segments[end:], form), given)


def _around(before: list[Segment], behind: list[Segment], form: Form) -> Document:
    """Return what stands around a part: its level of the hierarchy in that above it, and so on, in the head of the set."""
    starts = [at for at, segment in enumerate(before) if segment[0] == LEVEL] + [len(before)]
    around = Document([*before[: starts[0]], *behind], form)
    for begin, end in pairwise(starts):
        around = Document(before[begin:end], form, around)
    return around


def _time(header: Segment) -> str:
    return f"{header[9]}{header[10]}" if len(header) > 10 else ""
