"""Documents that others wrote, through the rules that ship: each is a step, known and of no rule, or refused with the reason."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.redaction.policy import default_policy
from controltower.collector.scrapers.definition import FolderSource, parse_sources
from controltower.collector.scrapers.folder import FolderReader
from controltower.collector.scrapers.mapper import Mapped, Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.packs import packs
from controltower.tracer import attributes
from controltower.tracer.tokens import Key, Tokeniser
from tests.samples import SAMPLES, needs_samples

pytestmark = needs_samples

NOW_NS = 2**62
GOZER = "edi-gozer-x12/"
NET = "edi-net/"
HL7 = "hl7v2-messages/"
NO_INTERCHANGE = "no_interchange: ISA"
GROUP_AND_NAME = ["wrong_count: GE01", "bad_segment: its name"]

REFUSED: dict[str, list[str]] = {
    f"{GOZER}asn856/asn856.txt": ["wrong_control_number: IEA02"],
    f"{GOZER}po850/po850.txt": ["wrong_count: SE01"],
    f"{GOZER}x12.base.txt": GROUP_AND_NAME,
    f"{GOZER}x12.base.loop.txt": GROUP_AND_NAME,
    f"{GOZER}x12.base.no.line.breaks.txt": GROUP_AND_NAME,
    f"{GOZER}x12.base.no.line.breaks.empty.line.txt": GROUP_AND_NAME,
    f"{GOZER}x12.base.no.line.breaks.odd.char.txt": GROUP_AND_NAME,
    f"{GOZER}x12.base.one.txt": ["wrong_count: IEA01"],
    f"{GOZER}x12.missing.ISA.txt": [NO_INTERCHANGE],
    f"{GOZER}x12.wrong.ISA.txt": [NO_INTERCHANGE],
    f"{GOZER}x12.wrong.GS.txt": ["unexpected_segment: outside GS"],
    f"{GOZER}x12.no.line.break.no.delim.txt": ["bad_separators: ISA"],
    f"{NET}204-MGCTLYST-SAMPLE.EDI": ["wrong_count: SE01"],
    f"{NET}x12.832.edi": ["wrong_count: SE01"],
    f"{NET}x12.850.edi": ["wrong_control_number: IEA02"],
    f"{NET}x12.850a.edi": ["wrong_control_number: IEA02"],
    f"{NET}x12.Issue172.edi": ["wrong_control_number: IEA02"],
    f"{NET}edifact.01.edi": ["wrong_control_number: UNZ02"],
    f"{NET}edifact.01.multi-message.edi": ["wrong_control_number: UNZ02"],
    f"{NET}edifact.D01B.IFCSUM.EDI": ["wrong_count: UNT01"],
    f"{NET}edifact.D01B.IFCSUM.NewLines.EDI": ["bad_separators: UNB"],
    f"{NET}edifact.Issue121.ElementList.edi": ["bad_header: UNB02"],
    f"{NET}edifact.Issue121.ElementList.Conditions.edi": ["bad_header: UNB02"],
    f"{NET}edifact.Issue149.SegmentGroups.edi": ["wrong_count: UNT01"],
    f"{NET}edifact.Issue170.ElementList.edi": ["bad_header: UNB02"],
    f"{NET}edifact.ORDRSP.edi": ["wrong_control_number: UNZ02"],
    f"{NET}edifact.ORDRSP-formatted.edi": ["wrong_control_number: UNZ02"],
    f"{NET}tradacoms.order9.edi": ["no_interchange: UNB"],
    f"{NET}tradacoms.productplanning.edi": ["no_interchange: UNB"],
}
ENVELOPES = ("batch.group.", "batch.interchange.")  # what is told of them is in test_x12_envelopes
OF_NO_RULE = {  # correct, and of sets that no rule is for: a carrier's answer and status, and a timetable
    f"{NET}214-MGCTLYST-SAMPLE.EDI": 1,
    f"{NET}990-MGCTLYST-SAMPLE.EDI": 1,
    f"{NET}x12.214.edi": 1,
    f"{NET}edifact.Issue152.Wikipedia.edi": 1,
    f"{NET}edifact.Issue157.Wikipedia.edi": 1,
}


def files() -> list[str]:
    """Return all files of EDI and of HL7; the records of a delivery (DEX) have no interchange at all."""
    found = [
        *(SAMPLES / GOZER).rglob("*.txt"),
        *(SAMPLES / NET).glob("*.[Ee][Dd][Ii]"),
        *(SAMPLES / HL7).glob("*.hl7"),
    ]
    return sorted(str(path.relative_to(SAMPLES)) for path in found if path.name != "SOURCE.txt")


def pack_of(name: str) -> str:
    if name.startswith(HL7):
        return "hl7"
    return "edifact" if Path(name).name.startswith(("edifact", "tradacoms")) else "x12"


def scraped(name: str, **options: Any) -> Mapped:
    """Return what the rules that ship make of a file."""
    (source,) = parse_sources(packs()[pack_of(name)], "pack").sources.values()
    assert isinstance(source, FolderSource)
    source = source.model_copy(update={"files": (str(SAMPLES / name),), **options})
    reader = FolderReader(source, lambda: NOW_NS)
    mapper = Mapper(source, "samples", Policies(default_policy(), Tokeniser((Key(1, b"k" * 32),))), lambda: NOW_NS)
    mapped = mapper.map(reader.read().records, reader)
    *found, run = mapped.steps
    mapped.steps = [step for step in found if not step.code.startswith(ENVELOPES)]
    mapped.records -= len(found) - len(mapped.steps)
    assert (run.code, run.attributes[attributes.RUN_RECORDS]) == ("batch.file.received", mapped.records - 1)
    assert run.attributes[attributes.RUN_REJECTED] == len(mapped.rejected)
    return mapped


@pytest.mark.parametrize("name", files() if SAMPLES.is_dir() else [])
def test_each_document_is_accounted_for(name: str) -> None:
    """Nothing is passed over in silence: a step, a reason, or a count; and the file is told of, with as many."""
    mapped = scraped(name)

    default = [NO_INTERCHANGE] if "/dex/" in name else []
    assert [str(rejection) for _, rejection in mapped.rejected] == REFUSED.get(name, default)
    assert mapped.unmatched == OF_NO_RULE.get(name, 0)
    assert mapped.records == len(mapped.rejected) + mapped.unmatched + len(mapped.steps) + 1  # and the file
    assert mapped.records > 1


def lines_of(mapped: Mapped) -> list[tuple[Any, ...]]:
    names = (attributes.LINE, attributes.ITEM, attributes.LINE_QUANTITY, attributes.UNIT_PRICE, attributes.LINE_AMOUNT)
    return [tuple(line.get(name) for name in names) for step in mapped.steps for line in step.lines]


@pytest.mark.parametrize(
    ("file", "number"), [("x12.810a.edi", "DO091003TESTINV01"), ("x12.810b.edi", "DO091003TESTINV01TAX")]
)
def test_invoices(file: str, number: str) -> None:
    """Their numbers, order, money and lines, which add up as the documents say; a header that is too short is no obstacle."""
    mapped = scraped(NET + file)
    (step,) = mapped.steps

    taken = step.attributes
    assert (taken["controltower.key.invoice"], taken["controltower.key.purchase_order"]) == (number, "DO091003")
    assert taken[attributes.CURRENCY] == "USD"
    assert [(line, item, quantity, price) for line, item, quantity, price, _ in lines_of(mapped)][:2] == [
        ("1", "ID001", "2", "99.99"),
        ("2", "ID002", "2", "79.99"),
    ]
    goods = sum(
        Decimal(quantity) * Decimal(price) for _, _, quantity, price, _ in lines_of(mapped) if quantity and price
    )
    assert goods == Decimal("359.96")
    exact = scraped(NET + file, exact=True)
    assert ([str(rejection) for _, rejection in exact.rejected], exact.steps) == (["bad_header: ISA02"], [])


def test_charges_and_orders() -> None:
    """Both charges of the financial transaction with their money, and each order by itself with its own charge."""
    charges = scraped(f"{HL7}DFT-P03-01.hl7")
    (step,) = charges.steps
    assert step.code == "c2c.charge.captured"
    assert (step.attributes[attributes.AMOUNT], step.attributes[attributes.CURRENCY]) == ("220", "USD")
    assert step.attributes["controltower.key.charge"] == "12345"
    assert lines_of(charges) == [("1", "71045", "2", "50", "100"), ("2", "626.2", "1", None, "120")]

    found = [scraped(f"{HL7}ORM-O01-0{number}.hl7").steps for number in (1, 2, 3)]
    assert [[each.code for each in steps] for steps in found] == [["c2c.order.placed"] * count for count in (1, 1, 2)]
    both = [[line for line in each.lines if attributes.LINE_AMOUNT in line] for each in found[2]]
    assert [[line[attributes.LINE_AMOUNT] for line in lines] for lines in both] == [["100"], ["120"]]


def test_nothing_of_a_patient_is_taken() -> None:
    """Not their names, numbers, addresses and birthdays; what joins is a token."""
    for number in ("DFT-P03-01", "ORM-O01-01", "ORM-O01-02", "ORM-O01-03"):
        for step in scraped(f"{HL7}{number}.hl7").steps:
            texts = repr((step.attributes, step.lines, step.name))
            found = Counter(
                word for word in ("EVERYMAN", "ADAM", "PATID", "Lane", "19880818", "4000776") if word in texts
            )

            assert found == Counter()
            assert str(step.attributes["controltower.key.account"]).startswith("t1:")


def test_separators_that_a_partner_agreed_on() -> None:
    """A file without a UNA that separates by line ends is read when the source says so, and its count is found wrong."""
    mapped = scraped(f"{NET}edifact.D01B.IFCSUM.NewLines.EDI", una=":+.? \n")

    assert [str(rejection) for _, rejection in mapped.rejected] == ["wrong_count: UNT01"]
