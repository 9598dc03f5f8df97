"""HL7 messages: what was written is read, in files of any frame; what is damaged is refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.hl7 import document, messages
from controltower.collector.scrapers.hl7_fields import Message, path_of
from controltower.collector.scrapers.observation import Record

PATIENT = "PID|1||MRN-1^^^MAIN^MR~555^^^USA^SS||DOE^JANE||19700101|F||||||||||A-77"
values = st.text("ABC019 .'", max_size=8)
names = st.sampled_from(["PID", "PV1", "OBX", "NTE", "ZAB"])
bodies = st.lists(
    st.builds(lambda name, parts: "|".join([name, *parts]), names, st.lists(values, min_size=1, max_size=6)),
    min_size=1,
    max_size=6,
)
ends = st.sampled_from(["\r", "\n", "\r\n", "\n\n"])


def header(number: int = 1, kind: str = "ADT^A08", marks: str = "^~\\&") -> str:
    return f"MSH|{marks}|EHR|MAIN|BILL|MAIN|20261104093000-0500||{kind}|M-{number}|P|2.5.1"


def message(*segments: str, number: int = 1, kind: str = "ADT^A08") -> str:
    return "\r".join([header(number, kind), *segments]) + "\r"


def read(content: bytes) -> list[Record]:
    return [record for record in messages(content) if not record.flaw]


def flaws(content: bytes) -> list[str]:
    return [record.flaw for record in messages(content) if record.flaw]


def fields(*segments: str, kind: str = "ADT^A08") -> Message:
    (record,) = read(message(*segments, kind=kind).encode())
    return document(record, "utf-8")


@given(
    st.lists(bodies, min_size=1, max_size=4),
    ends,
    st.booleans(),
    st.booleans(),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_what_was_written_is_read(given_bodies: list[list[str]], end: str, batch: bool, last: bool, bom: bytes) -> None:
    """Every message, once, whatever ends its segments, with and without a batch around, also without the last end."""
    written = [[header(number), *body] for number, body in enumerate(given_bodies)]
    lines = [line for each in written for line in each]
    if batch:
        lines = ["FHS|^~\\&", "BHS|^~\\&", *lines, f"BTS|{len(written)}", "FTS|1"]
    text = end.join(lines) + ("" if last else end)

    assert flaws(bom + text.encode()) == []
    assert [record.content for record in read(bom + text.encode())] == [
        "".join(line + "\r" for line in each).encode() for each in written
    ]


@given(st.lists(bodies, min_size=1, max_size=4), st.data())
def test_frames(given_bodies: list[list[str]], data: st.DataObject) -> None:
    """Of MLLP each message is one; a frame that does not end is refused, and those before it are read."""
    framed = [b"\x0b" + message(*body, number=number).encode() + b"\x1c\r" for number, body in enumerate(given_bodies)]
    whole = b"".join(framed)
    assert (len(read(whole)), flaws(whole)) == (len(framed), [])

    cut = whole[: data.draw(st.integers(len(whole) - len(framed[-1]) + 1, len(whole) - 3))]
    assert (len(read(cut)), flaws(cut)) == (len(framed) - 1, ["truncated: a frame without its end"])


@given(st.binary(max_size=300))
def test_bytes_that_are_no_message(content: bytes) -> None:
    """Reading ends, and nothing is passed over in silence but blanks and frames around nothing."""
    found = list(messages(content))

    assert [record.flaw for record in found if record.flaw] or not content.removeprefix(b"\xef\xbb\xbf").strip(
        b"\r\n\t \x1a\x0b\x1c"
    )


@pytest.mark.parametrize(
    ("content", "flaw", "left"),
    [
        ("MSH", "bad_separators: MSH", 0),
        ("MSH|^~|A|B|C|D|20260101||ADT^A01|1|P|2.5\rPID|1\r", "bad_separators: MSH", 0),
        ("MSH|^^\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rPID|1\r", "bad_separators: MSH-2", 0),
        (message(PATIENT).replace("ADT^A08", ""), "missing: MSH-9", 0),
        (message(PATIENT).replace("|M-1|", "||"), "missing: MSH-10", 0),
        (message(PATIENT).replace("|2.5.1", ""), "missing: MSH-12", 0),
        (message(PATIENT).replace("|2.5.1", "|3.0"), "bad_header: MSH-12", 0),
        (message(PATIENT).replace("ADT^A08", "12^A08"), "bad_header: MSH-9", 0),
        (message(), "missing: a segment behind MSH", 0),
        (message(PATIENT, "a note that goes on"), "bad_segment: its name", 0),
        (message(PATIENT, "pv1|1"), "bad_segment: its name", 0),
        (PATIENT + "\r" + message(PATIENT), "no_message: MSH", 1),
        (message(PATIENT) + message(PATIENT), "repeated: MSH-10", 1),
        ("BHS|^~\\&\r" + message(PATIENT) + "BTS|2\r", "wrong_count: BTS-1", 0),
        ("BHS|^~\\&\r" + message(PATIENT), "missing: BTS", 0),
        (message(PATIENT) + "BTS|1\r", "missing: BHS", 0),
        ("FHS|^~\\&\rBHS|^~\\&\r" + message(PATIENT) + "BTS|1\rFTS|2\r", "wrong_count: FTS-1", 0),
        ("FHS|^~\\&\rBHS|^~\\&\r" + message(PATIENT) + "BTS|1\r", "missing: FTS", 0),
        ("BHS|^~\\&\r" + message(PATIENT) + "BTS|1\rFTS|1\r", "missing: FHS", 0),
        ("FHS|^~\\&\rBHS|^~\\&\r" + message(PATIENT) + "FTS|1\r", "missing: BTS", 0),
        ("x\x0b" + message(PATIENT) + "\x1c\r", "unframed: before the first message", 1),
        ("\x0b" + message(PATIENT) + "\x1cx", "unframed: behind a message", 1),
    ],
)
def test_what_is_wrong_is_told(content: str, flaw: str, left: int) -> None:
    """With what is wrong, and where; what stands beside it is read."""
    assert flaws(content.encode()) == [flaw]
    assert len(read(content.encode())) == left


def test_paths() -> None:
    """The first repetition, component and subcomponent, unless a path says another; what is escaped, what is empty."""
    found = fields(
        PATIENT,
        'FT1|1|C-1||2026||CG|L8699^A \\T\\ B\\E\\^HCPCS|||1|2500.00&USD|""',
        "FT1|2|C-2~C-3||2026||CG|250|||5|50&USD",
        "ORC|NW|P-1",
        "ORC|CA|P-2",
    )

    paths = [
        "PID-3",
        "PID-3[5=SS]",
        "PID-18",
        "FT1-7.2",
        "FT1-11",
        "FT1-11.1.2",
        "FT1-12",
        "ORC[1=CA]-2",
        "MSH-9.2",
        "MSH-1",
        "MSH-2",
    ]
    expected = ["MRN-1", "555", "A-77", "A & B\\", "2500.00", "USD", None, "P-2", "A08", "|", "^~\\&"]
    assert [found.get(path) for path in paths] == expected
    assert found["FT1-2+"] == ["C-1", "C-2", "C-3"]
    assert found["FT1-11.1.2*"] == ["USD", "USD"]
    assert [(line["FT1-1"], line["PID-18"], line.get("FT1-12")) for line in found["FT1"]] == [
        ("1", "A-77", None),
        ("2", "A-77", None),
    ]


@pytest.mark.parametrize("text", ["pid-3", "PID", "PID-0", "PID-3.0", "PI-3", "PID-", "$.a", "BEG03"])
def test_what_is_no_path_of_a_value(text: str) -> None:
    """It is told when the file of sources is read."""
    path = path_of(text)

    assert path is None or not path.field


def test_orders_are_told_one_by_one() -> None:
    """Each with what is its own, and with the patient; nothing of one is in another."""
    content = message(PATIENT, "ORC|NW|P-1", "FT1|1|C-1", "ORC|NW|P-2", "OBR|1", kind="ORM^O01").encode()
    first, second = [document(record, "utf-8") for record in read(content)]

    assert (first["ORC-2"], first["FT1-2"], first["PID-18"], first["part"]) == ("P-1", "C-1", "A-77", "ORC")
    assert (second["ORC-2"], second.get("FT1-2"), second["PID-18"]) == ("P-2", None, "A-77")


def test_encodings() -> None:
    """The source's, or that of MSH-18; otherwise it is refused."""
    text = message("NTE|1||Größe").encode("latin-1")
    (record,) = read(text)
    with pytest.raises(Rejection, match="bad_encoding"):
        document(record, "utf-8")
    assert document(record, "latin-1")["NTE-3"] == "Größe"

    (named,) = read(text.replace(b"|2.5.1", b"|2.5.1||||||8859/1"))
    assert document(named, "utf-8")["NTE-3"] == "Größe"
