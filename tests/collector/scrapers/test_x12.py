"""X12: what was written is read, with any separators; what is damaged is refused with a reason, and never read in part."""

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.segment_fields import Document, path_of
from controltower.collector.scrapers.x12 import interchanges
from controltower.collector.scrapers.x12_fields import document as fields_of_record
from tests.collector.scrapers.x12_writer import Marks, Segment, encoded, interchange, order
from tests.samples import SAMPLES, needs_samples

elements = st.text("ABCXYZ0189 .-'/", max_size=12).map(str.strip)
names = st.sampled_from(["BEG", "REF", "N1", "PO1", "DTM", "CTT", "K3"])
segments = st.builds(
    lambda name, first, rest: (name, first, *rest, "Z"), names, elements, st.lists(elements, max_size=5)
)
groups = st.lists(st.lists(st.lists(segments, max_size=6), min_size=1, max_size=4), min_size=1, max_size=3)
marks = st.builds(
    lambda three, end: Marks(three[0], three[1], three[2], end),
    st.lists(st.sampled_from("*~>|^!<\x1c\x1d\x1f"), min_size=3, max_size=3, unique=True),
    st.sampled_from(["", "\n", "\r\n"]),
)
DEFAULT = Marks()


def document(record: Record) -> Document:
    return fields_of_record(record, "latin-1")


def read(content: bytes) -> list[Record]:
    return [record for record in interchanges(content) if not record.flaw]


def flaws(content: bytes) -> list[str]:
    return [record.flaw for record in interchanges(content) if record.flaw]


def written_sets(written: list[Segment], using: Marks) -> list[bytes]:
    """Return the content of the record of each set of an interchange."""
    sets: list[bytes] = []
    group: list[Segment] = []
    begin = 0
    for at, segment in enumerate(written):
        if segment[0] == "GS":
            group = [segment]
        elif segment[0] == "ST":
            begin = at
        elif segment[0] == "SE":
            plain = Marks(using.element, using.component, using.segment)
            sets.append(encoded([written[0], *group, *written[begin : at + 1]], plain))
    return sets


@given(groups, marks)
def test_what_was_written_is_read(given_groups: list[list[list[Segment]]], using: Marks) -> None:
    """Every set, once, as it was; whatever the separators are."""
    written = interchange(given_groups, marks=using)
    content = encoded(written, using)

    assert flaws(content) == []
    assert [record.content for record in read(content)] == written_sets(written, using)
    assert len({record.place for record in read(content)}) == len(read(content))


@given(groups, marks, st.data())
def test_a_file_that_was_cut_off_is_refused_whole(
    given_groups: list[list[list[Segment]]], using: Marks, data: st.DataObject
) -> None:
    """Wherever it ends before its IEA is whole, nothing of it is read."""
    content = encoded(interchange(given_groups, marks=using), using)
    end = len(using.segment + using.end)
    cut = content[: data.draw(st.integers(1, len(content) - end - 1))]

    assert read(cut) == []
    assert len(flaws(cut)) == 1


@given(groups, st.sampled_from(["delete", "repeat", "swap"]), st.data())
def test_damage_to_segments_is_found(given_groups: list[list[list[Segment]]], damage: str, data: st.DataObject) -> None:
    """A segment that is missing or there twice is found by the counts, and all that is read was written so."""
    written = interchange(given_groups)
    at = data.draw(st.integers(0, len(written) - 1))
    match damage:
        case "delete":
            damaged = written[:at] + written[at + 1 :]
        case "repeat":
            damaged = [*written[: at + 1], *written[at:]]
        case _:
            other = data.draw(st.integers(0, len(written) - 1))
            assume({written[at][0], written[other][0]} & {"ISA", "GS", "ST", "SE", "GE", "IEA"})
            assume(written[at][0] != written[other][0])
            damaged = list(written)
            damaged[at], damaged[other] = damaged[other], damaged[at]
    content = encoded(damaged)

    assert flaws(content)
    assert not Counter(record.content for record in read(content)) - Counter(written_sets(written, DEFAULT))


@given(groups, st.integers(0, 255), st.data())
def test_any_byte_can_be_wrong(given_groups: list[list[list[Segment]]], byte: int, data: st.DataObject) -> None:
    """Reading ends, and each set that is read has the count and the control number that its own SE says."""
    content = bytearray(encoded(interchange(given_groups)))
    content[data.draw(st.integers(0, len(content) - 1))] = byte

    for record in read(bytes(content)):
        found = document(record)
        assert int(found["SE01"]) == record.content.count(found_mark(record.content)) - 2
        assert found["SE02"] == found["ST02"]


def found_mark(content: bytes) -> bytes:
    return content[105:106]


@given(st.binary(max_size=400))
def test_bytes_that_are_no_interchange_are_refused(content: bytes) -> None:
    """Nothing is passed over in silence but blanks."""
    assert read(content) == []
    assert bool(flaws(content)) == bool(content.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n\t \x1a"))


@pytest.mark.parametrize(
    ("old", "new", "flaw", "left"),
    [
        (b"SE*4*0001", b"SE*5*0001", "wrong_count: SE01", 1),
        (b"SE*4*0001", b"SE*4*0009", "wrong_control_number: SE02", 1),
        (b"SE*4*0001~", b"", "missing: SE", 1),
        (b"ST*850*0002", b"ST*850*0001", "repeated_control_number: ST02", 1),
        (b"GE*2*1", b"GE*3*1", "wrong_count: GE01", 0),
        (b"GE*2*1", b"GE*2*7", "wrong_control_number: GE02", 0),
        (b"GE*2*1~", b"", "missing: GE", 0),
        (b"IEA*1*", b"IEA*2*", "wrong_count: IEA01", 0),
        (b"IEA*1*000000001", b"IEA*1*000000002", "wrong_control_number: IEA02", 0),
        (b"IEA*1*000000001~", b"", "missing: IEA", 0),
        (b"GS*PO", b"N1*ST~GS*PO", "unexpected_segment: outside GS", 0),
        (b"ST*850*0001", b"N1*ST~ST*850*0001", "unexpected_segment: outside ST", 0),
        (b"BEG*00*SA*PO-1", b"be*00*SA*PO-1", "bad_segment: its name", 1),
        (b"*P*>~", b"*P**~", "bad_separators: ISA", 0),
    ],
)
def test_what_is_wrong_is_told(old: bytes, new: bytes, flaw: str, left: int) -> None:
    """A level that is wrong is refused whole, what stands beside it is read, and so is the interchange behind it."""
    content = encoded(interchange([[order("PO-1"), order("PO-2")]]))
    assert old in content
    whole = content.replace(old, new, 1) + encoded(interchange([[order("PO-3")]], number=2))
    assert flaw in flaws(whole)
    assert len(read(whole)) == left + 1
    assert document(read(whole)[-1])["BEG03"] == "PO-3"


HEADER = b"ISA*00*          *00*          *ZZ*HOSPITAL       *ZZ*V-1011         *261103*1312*U*00401*000000001*0*P*>~"


@pytest.mark.parametrize(
    "header",
    [
        b"ISA*00* *00* *ZZ*HOSPITAL *ZZ*V-1011 *261103*1312*U*00401*000000001*0*P*>~",
        b"ISA*00**00**ZZ*HOSPITAL*ZZ*V-1011*261103*1312*U*00401*000000001*0*P*>~",
        HEADER.replace(b"HOSPITAL       ", b"HOSPITAL" + b"\xc2\xa0" * 7),
        HEADER.replace(b"*261103", b"\r\n*261103"),
    ],
)
def test_a_header_that_can_only_mean_one_thing(header: bytes) -> None:
    """It is read as if it was as wide as it should be, unless the source wants it exact; also of a second interchange."""
    right = encoded(interchange([[order("PO-1")]]))
    first = encoded(interchange([[order("PO-0")]], number=9))
    assert right.startswith(HEADER)
    short = first + right.replace(HEADER, header)

    assert read(short) == read(first + right)
    assert [record.flaw[:11] for record in interchanges(short, exact=True)] == ["", "bad_header:"]


@pytest.mark.parametrize(
    ("old", "new", "flaw"),
    [
        (b"*261103*", b"*1103*", "bad_header: ISA09"),
        (b"*1312*", b"*13:12*", "bad_header: ISA10"),
        (b"*V-1011         *", b"*V-1011 OF THE SOUTH*", "bad_header: ISA08"),
        (b"*>~", b"*>G", "bad_separators: ISA"),
        (b"*>~", b"*", "bad_header: ISA16"),
        (b"*P*>~", b"", "bad_header: ISA"),
    ],
)
def test_a_header_that_is_wrong(old: bytes, new: bytes, flaw: str) -> None:
    """The first element that is wrong is named."""
    content = encoded(interchange([[order("PO-1")]]))
    whole = content[: len(HEADER)].replace(old, new)

    assert flaws(whole) == [flaw]


def test_what_stands_around_a_file() -> None:
    """A mark of UTF-8, blank lines, indented segments, a terminator of two bytes, control numbers with other zeros."""
    content = encoded(interchange([[order("PO-1")]]))
    for changed in (
        b"\xef\xbb\xbf" + content,
        b"\r\n " + content + b"\r\n\x20\x1a",
        content.replace(b"~", b"~\r\n\t  "),
        content.replace(b"~", "Ö".encode()),
        content.replace(b"IEA*1*000000001", b"IEA*1*1").replace(b"GE*1*1", b"GE*1*01"),
    ):
        (record,) = read(changed)
        assert (flaws(changed), document(record)["BEG03"]) == ([], "PO-1")
    assert (read(b""), flaws(b"")) == ([], [])


def test_a_control_number_that_is_there_twice() -> None:
    """The second interchange of its number is refused."""
    content = encoded(interchange([[order("PO-1")]])) + encoded(interchange([[order("PO-2")]]))

    assert [record.flaw for record in interchanges(content)] == ["", "repeated_control_number: ISA13"]


def test_the_same_document_has_the_same_place() -> None:
    """Whatever stands around an interchange in its file."""
    one = encoded(interchange([[order("PO-1")]]))
    other = encoded(interchange([[order("PO-9")]], number=9))

    assert read(other + one)[1] == read(one + other)[0]


def test_an_acknowledgement_is_a_record_for_each_set() -> None:
    """Each has what stands around all of them."""
    said: list[Segment] = [
        *[("AK1", "PO", "81"), ("AK2", "850", "0001"), ("AK5", "A"), ("AK2", "850", "0002"), ("AK5", "R", "5")],
        ("AK9", "P", "2", "2", "1"),
    ]
    content = encoded(interchange([[said]])).replace(b"ST*850", b"ST*997")

    found = [document(record) for record in read(content)]
    assert [(each["AK102"], each["AK202"], each["AK501"], each["AK901"]) for each in found] == [
        ("81", "0001", "A", "P"),
        ("81", "0002", "R", "P"),
    ]


def fields_of(*said: Segment) -> Document:
    (record,) = read(encoded(interchange([[list(said)]])))
    return document(record)


def test_paths() -> None:
    """Elements, by qualifier, by component, behind a code, many."""
    found = fields_of(
        ("REF", "DP", "038"),
        ("REF", "IA", " 77 "),
        ("SV1", "HC>99213", "10.50"),
        ("PRF", "PO-1"),
        ("PRF", "PO-2"),
        ("PRF", "PO-1"),
        ("LIN", "1", "VN", "A-77", "UP", "0042"),
    )

    paths = ["REF02", "REF[IA]02", "SV101-2", "SV102", "PRF01+", "LIN/UP", "REF[ZZ]02", "REF09", "SV101-7"]
    expected = ["038", "77", "99213", "10.50", ["PO-1", "PO-2"], "0042", None, None, None]
    assert [found.get(path) for path in paths] == expected
    assert found["interchange_time"] == "2611031312"


def test_lines_know_what_stands_above_them() -> None:
    """Of a hierarchy each item has the order it is below, and no other's; the summary belongs to no line."""
    found = fields_of(
        *[("BSN", "00", "S-9"), ("HL", "1", "", "S"), ("HL", "2", "1", "O"), ("PRF", "PO-1"), ("HL", "3", "2", "I")],
        *[
            ("SN1", "", "5"),
            ("HL", "4", "1", "O"),
            ("PRF", "PO-2"),
            ("HL", "5", "4", "I"),
            ("SN1", "", "6"),
            ("CTT", "5"),
        ],
    )

    lines = [(line["SN102"], line["PRF01"], line["BSN02"]) for line in found["HL[03=I]"]]
    assert lines == [("5", "PO-1", "S-9"), ("6", "PO-2", "S-9")]
    assert len(found["HL"]) == 5


@pytest.mark.parametrize("text", ["beg03", "BEG3", "BEG00", "BEGIN03", "REF[]02", "$.a", "", "PO1/", "BEG031"])
def test_what_is_no_path(text: str) -> None:
    """It is told when the file of sources is read."""
    assert path_of(text) is None


@needs_samples
def test_documents_that_others_wrote() -> None:
    """An order whose SE counts wrong, an interchange whose IEA is another's, and files that are no interchange at all."""
    folder = SAMPLES / "edi-gozer-x12"

    assert flaws((folder / "po850" / "po850.txt").read_bytes()) == ["wrong_count: SE01"]
    assert flaws((folder / "asn856" / "asn856.txt").read_bytes()) == ["wrong_control_number: IEA02"]
    assert flaws((folder / "x12.missing.ISA.txt").read_bytes()) == ["no_interchange: ISA"]
    for file in folder.rglob("*.txt"):
        content = file.read_bytes()
        assert len(read(content)) + len(flaws(content)) > 0
