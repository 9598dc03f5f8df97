"""X12 as a sender writes it: sets in groups in an interchange, with right counts and control numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

Segment = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """The separators of an interchange; *end* is what stands behind each segment's terminator."""

    element: str = "*"
    component: str = ">"
    segment: str = "~"
    end: str = ""


def header(marks: Marks = Marks(), number: int = 1) -> Segment:
    """Return the elements of an ISA segment."""
    parts = ("00", " " * 10, "00", " " * 10, "ZZ", f"{'HOSPITAL':<15}", "ZZ", f"{'V-1011':<15}", "261103", "1312", "U")
    return ("ISA", *parts, "00401", f"{number:09d}", "0", "P", marks.component)


def interchange(
    groups: Sequence[Sequence[Sequence[Segment]]], number: int = 1, marks: Marks = Marks()
) -> list[Segment]:
    """Return all segments of an interchange: of each group its sets, of each set what stands between ST01 and SE."""
    written: list[Segment] = [header(marks, number)]
    for at, sets in enumerate(groups, 1):
        written.append(("GS", "PO", "HOSPITAL", "V-1011", "20261103", "1312", str(at), "X", "004010"))
        for each, segments in enumerate(sets, 1):
            control = f"{each:04d}"
            written += [("ST", "850", control), *segments, ("SE", str(len(segments) + 2), control)]
        written.append(("GE", str(len(sets)), str(at)))
    return [*written, ("IEA", str(len(groups)), f"{number:09d}")]


def encoded(segments: Sequence[Segment], marks: Marks = Marks()) -> bytes:
    """Return segments as a file holds them."""
    return "".join(marks.element.join(each) + marks.segment + marks.end for each in segments).encode()


def order(number: str) -> list[Segment]:
    """Return what an order says."""
    return [("BEG", "00", "SA", number, "", "20261103"), ("PO1", "1", "10", "BX", "125.00", "", "VN", "A-77")]
