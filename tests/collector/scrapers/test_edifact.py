"""EDIFACT: what was written is read, with any separators; what is damaged is refused with a reason, and never read in part."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.scrapers.edifact import document, interchanges
from controltower.collector.scrapers.observation import Record

Message = list[list[str]]

values = st.text("ABC019 .'+:?*!", max_size=8).map(str.strip)
segments = st.builds(
    lambda name, parts: [name, *parts, "Z"], st.sampled_from(["BGM", "RFF", "LIN", "FTX"]), st.lists(values, max_size=4)
)
given_messages = st.lists(st.lists(segments, max_size=5), min_size=1, max_size=4)
unas = st.sampled_from([":+.? '", "!*,\\ ~", ":+.? \n", "\x1f\x1d.? \x1c"])
DEFAULT = ":+.? '"


def escaped(value: str, una: str) -> str:
    return "".join(una[3] + char if char in (una[0], una[1], una[3], una[5]) else char for char in value)


def written(messages: list[Message], una: str = DEFAULT, end: str = "", number: int = 1) -> bytes:
    """Return an interchange of messages, with right counts and control numbers."""
    lines = [["UNB", f"UNOC{una[0]}3", "HOSPITAL", "SUPPLIER", f"261104{una[0]}0930", f"R-{number}"]]
    for at, body in enumerate(messages, 1):
        lines += [
            ["UNH", str(at), f"ORDERS{una[0]}D{una[0]}96A"],
            *([each[0], *(escaped(value, una) for value in each[1:])] for each in body),
        ]
        lines.append(["UNT", str(len(body) + 2), str(at)])
    lines.append(["UNZ", str(len(messages)), f"R-{number}"])
    text = "".join(una[1].join(line) + una[5] + end for line in lines)
    return ("" if una == DEFAULT else f"UNA{una}").encode() + text.encode()


def read(content: bytes) -> list[Record]:
    return [record for record in interchanges(content) if not record.flaw]


def flaws(content: bytes) -> list[str]:
    return [record.flaw for record in interchanges(content) if record.flaw]


def bodies(content: bytes) -> list[Message]:
    """Return the segments between UNH and UNT of each message that is read."""
    found = [[list(segment) for segment in document(record, "utf-8")._segments] for record in read(content)]
    return [[segment for segment in each if segment[0] not in ("UNB", "UNH", "UNT")] for each in found]


@given(given_messages, unas, st.sampled_from(["", "\n", "\r\n\t "]))
def test_what_was_written_is_read(messages: list[Message], una: str, end: str) -> None:
    """Every message, once, as it was, whatever the separators are and whatever was released."""
    if una[5] == "\n":
        messages = [[each for each in body if not each[1].startswith(" ")] for body in messages]
    content = written(messages, una, end)

    assert flaws(content) == []
    assert bodies(content) == messages
    assert len({record.place for record in read(content)}) == len(messages)


@given(given_messages, st.data())
def test_a_file_that_was_cut_off_is_refused_whole(messages: list[Message], data: st.DataObject) -> None:
    """Wherever it ends before its UNZ is whole, nothing of it is read."""
    content = written(messages)
    cut = content[: data.draw(st.integers(1, len(content) - 3))]

    assert (read(cut), len(flaws(cut))) == ([], 1)


@given(given_messages, st.data())
def test_a_segment_that_is_missing_or_there_twice_is_found(messages: list[Message], data: st.DataObject) -> None:
    """By the counts; and all that is read was written so."""
    plain = [[[each[0], "X"] for each in body] for body in messages]
    lines = written(plain).split(b"'")[:-1]
    at = data.draw(st.integers(0, len(lines) - 1))
    changed = lines[:at] + (lines[at : at + 1] * 2 if data.draw(st.booleans()) else []) + lines[at + 1 :]
    content = b"".join(line + b"'" for line in changed)

    assert flaws(content)
    assert not Counter(map(repr, bodies(content))) - Counter(map(repr, plain))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_interchange(content: bytes) -> None:
    """Nothing is passed over in silence but blanks."""
    assert read(content) == []
    assert bool(flaws(content)) == bool(content.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n\t \x1a"))


@pytest.mark.parametrize(
    ("old", "new", "flaw", "left"),
    [
        ("UNT+3+1'", "UNT+4+1'", "wrong_count: UNT01", 2),
        ("UNT+3+1'", "UNT+3+9'", "wrong_control_number: UNT02", 2),
        ("UNT+3+1'", "", "missing: UNT", 2),
        ("UNH+2+", "UNH+1+", "repeated_control_number: UNH01", 2),
        ("UNH+1+ORDERS:D:96A", "UNH+1+", "bad_header: UNH02", 2),
        ("UNZ+2+R-1'", "UNZ+3+R-1'", "wrong_count: UNZ01", 1),
        ("UNZ+2+R-1'", "UNZ+2+R-2'", "wrong_control_number: UNZ02", 1),
        ("UNZ+2+R-1'", "", "missing: UNZ", 1),
        ("UNH+1+", "BGM+X'UNH+1+", "unexpected_segment: outside UNH", 1),
        ("BGM+A'", "bgm+A'", "bad_segment: its name", 2),
        ("+R-1'UNH", "'UNH", "bad_header: UNB05", 1),
        ("BGM+A'", "BGM+\x01'", "bad_character: a control character", 1),
    ],
)
def test_what_is_wrong_is_told(old: str, new: str, flaw: str, left: int) -> None:
    """A level that is wrong is refused whole, what stands beside it is read, and so is the interchange behind it."""
    content = written([[["BGM", "A"]], [["BGM", "B"]]]).decode()
    assert old in content
    whole = content.replace(old, new, 1).encode() + b"\r\n" + written([[["BGM", "C"]]], number=9)

    assert flaw in flaws(whole)
    assert len(read(whole)) == left
    assert document(read(whole)[-1], "utf-8")["BGM01"] == "C"


def test_groups() -> None:
    """A group is counted and refused by itself; the interchange counts groups then."""
    content = (
        b"UNB+UNOC:3+A+B+261104:0930+R-1'UNG+ORDERS+A+B+261104:0930+7+UN+D:96A'UNH+1+ORDERS:D:96A'BGM+A'UNT+3+1'UNE+1+7'"
        b"UNG+ORDERS+A+B+261104:0930+8+UN+D:96A'UNH+1+ORDERS:D:96A'BGM+B'UNT+3+1'UNE+2+8'UNZ+2+R-1'"
    )

    assert flaws(content) == ["wrong_count: UNE01"]
    (record,) = read(content)
    assert (record.place, document(record, "utf-8")["UNG05"]) == ("A|B|R-1|7|1", "7")
    assert flaws(content.replace(b"UNE+2+8'", b"")) == ["missing: UNE"]


parts_of_answers = st.lists(
    st.tuples(st.sampled_from(["UCF", "UCM"]), st.lists(st.sampled_from(["UCS", "UCD"]), max_size=2)), max_size=6
)


def answer(parts: list[tuple[str, list[str]]]) -> bytes:
    """Return an interchange with one CONTRL: each UCF and UCM has a number, and what stands below it."""
    body = [["UCI", "R-1", "H", "S", "7"]]
    for at, (name, below) in enumerate(parts):
        body += [[name, str(at)], *([each, str(at)] for each in below)]
    return written([body]).replace(b"ORDERS:D:96A", b"CONTRL:D:3")


@given(parts_of_answers)
def test_each_message_that_a_contrl_names_is_told_of_once(parts: list[tuple[str, list[str]]]) -> None:
    """With what stands below its UCM, the UCF above it, and the UCI; without any UCM the CONTRL is told of as a whole."""
    named = [at for at, (name, _) in enumerate(parts) if name == "UCM"]
    expected: list[str | None] = [str(at) for at in named] or [None]
    content = answer(parts)
    found = [document(record, "utf-8") for record in read(content)]

    assert flaws(content) == []
    assert [each.get("UCM01") for each in found] == expected
    assert len({record.place for record in read(content)}) == len(found)
    for at, each in zip(named, found, strict=False):
        groups = [number for number in range(at) if parts[number][0] == "UCF"]
        own = [[name, str(at)] for name in parts[at][1]]
        assert each["UCI01"] == "R-1"
        assert each["part"] == "UCM"
        assert each.get("UCF01") == (str(groups[-1]) if groups else None)
        assert [segment for segment in each._segments if segment[0] in ("UCS", "UCD")] == own


def test_envelopes_are_told_of_where_they_are_asked_for() -> None:
    """An interchange behind its messages, and what a CONTRL says of one as a whole; of what is refused nothing."""
    content = answer([("UCM", [])])
    asked = [(record.place, record.part) for record in interchanges(content, envelopes={"UNB", "UCI"})]
    refused = interchanges(content.replace(b"UNT+4", b"UNT+5"), envelopes={"UNB", "UCI"})

    place = "HOSPITAL|SUPPLIER|R-1"
    assert asked == [(f"{place}|1|0", "UCM"), (f"{place}|1|1", "UCI"), (f"{place}|UNB", "UNB")]
    assert [record.part for record in refused if not record.flaw] == ["UNB"]


def test_separators_of_a_source() -> None:
    """Without a UNA the source may say what separates; otherwise what does not end is refused."""
    content = written([[["BGM", "A"]]]).replace(b"'", b"\n")

    assert flaws(content) == ["bad_separators: UNB"]
    assert [record.flaw for record in interchanges(content, default=":+.? \n")] == [""]


def test_paths() -> None:
    """An element is its first component; a qualifier is compared with it."""
    (record,) = read(
        b"UNA:+,? 'UNB+UNOC:3+A+B+991104:0930+R-1'UNH+1+ORDERS:D:96A'RFF+ON:PO?'1'RFF+CT:C-1'MOA+86:1,5'LIN+1++X?+1:SA'QTY+21:2'UNS+S'UNT+8+1'UNZ+1+R-1'"
    )
    found = document(record, "utf-8")

    paths = ["UNH02", "UNH02-2", "RFF[ON]01-2", "RFF[CT]01-2", "MOA[86]01-2", "RFF01-2+", "interchange_time"]
    expected = ["ORDERS", "D", "PO'1", "C-1", "1,5", ["PO'1", "C-1"], "199911040930"]
    assert [found.get(path) for path in paths] == expected
    assert [(line["LIN03"], line["QTY[21]01-2"], line["RFF[ON]01-2"]) for line in found["LIN"]] == [
        ("X+1", "2", "PO'1")
    ]


def test_encodings() -> None:
    """The source's where it can be, else what UNB says."""
    (record,) = read(written([[["FTX", "Größe"]]]).decode().encode("latin-1"))

    assert document(record, "utf-8")["FTX01"] == "Größe"
