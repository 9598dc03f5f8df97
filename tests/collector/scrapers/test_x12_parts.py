"""Sets of many things: each is a record with what stands around it, and the money of a remittance is added up."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.segment_fields import Document
from controltower.collector.scrapers.x12 import interchanges
from controltower.collector.scrapers.x12_fields import document
from tests.collector.scrapers.x12_writer import Segment, encoded, interchange

cents = st.integers(-10_000_00, 10_000_00).map(lambda number: Decimal(number).scaleb(-2))
adjustments = st.lists(cents, max_size=8)
claims = st.lists(
    st.tuples(cents, st.lists(st.tuples(cents, adjustments), max_size=3), adjustments), min_size=1, max_size=4
)


def records(set_id: str, said: list[Segment]) -> list[Record]:
    content = encoded(interchange([[said]])).replace(b"ST*850", f"ST*{set_id}".encode())
    found = list(interchanges(content))
    assert [record.flaw for record in found] == [""] * len(found)
    return found


def fields(set_id: str, *said: Segment) -> list[Document]:
    return [document(record, "utf-8") for record in records(set_id, list(said))]


def adjusted(amounts: list[Decimal]) -> list[Segment]:
    """Return the CAS segments of some adjustments, up to six in each."""
    return [
        ("CAS", "CO", *(part for amount in amounts[at : at + 6] for part in ("45", str(amount), "")))
        for at in range(0, len(amounts), 6)
    ]


def remittance(given_claims: list[tuple[Decimal, list[tuple[Decimal, list[Decimal]]], list[Decimal]]]) -> list[Segment]:
    """Return an 835 whose money adds up."""
    said: list[Segment] = []
    total = Decimal()
    for number, (paid_else, services, own) in enumerate(given_claims):
        lines: list[Segment] = []
        charge = paid_else + sum(own, Decimal())
        for paid, less in services:
            charge += paid + sum(less, Decimal())
            lines += [("SVC", "HC>99213", str(paid + sum(less, Decimal())), str(paid)), *adjusted(less)]
        paid_all = charge - sum(own, Decimal()) - sum((amount for _, less in services for amount in less), Decimal())
        total += paid_all
        said += [("LX", "1"), ("CLP", f"P-{number}", "1", str(charge), str(paid_all)), *adjusted(own), *lines]
    provider = Decimal("-7.25")
    head: list[Segment] = [("BPR", "I", str(total - provider)), ("TRN", "1", "E-1", "15"), ("N1", "PR", "PAYER")]
    return [*head, *said, ("PLB", "1", "20261231", "L6>X", str(provider))]


@given(claims)
def test_money_that_adds_up(
    given_claims: list[tuple[Decimal, list[tuple[Decimal, list[Decimal]]], list[Decimal]]],
) -> None:
    """Of each claim, and of all; each claim is a record that knows its remittance, and no other claim."""
    whole, *parts = fields("835", *remittance(given_claims))

    assert whole["balance"] == "ok"
    assert [(each["balance"], each["CLP01"], each["TRN02"]) for each in parts] == [
        ("ok", f"P-{number}", "E-1") for number in range(len(given_claims))
    ]
    assert [len(each.get("SVC", [])) for each in parts] == [len(services) for _, services, _ in given_claims]


@given(claims, st.data())
def test_an_amount_that_is_changed_is_found(
    given_claims: list[tuple[Decimal, list[tuple[Decimal, list[Decimal]]], list[Decimal]]], data: st.DataObject
) -> None:
    """Whichever it is: what was charged, paid or adjusted, or the sum."""
    said = remittance(given_claims)
    places = {"BPR": 2, "CLP": 3, "SVC": 2, "CAS": 3, "PLB": 4}
    at = data.draw(st.sampled_from([number for number, segment in enumerate(said) if segment[0] in places]))
    element = places[said[at][0]]
    changed = str(Decimal(said[at][element]) + Decimal("0.01"))
    said[at] = (*said[at][:element], changed, *said[at][element + 1 :])

    assert {each["balance"] for each in fields("835", *said)} != {"ok"}


def test_groups_of_adjustments_are_lines() -> None:
    """A CAS with two reasons is two lines."""
    said = [*remittance([(Decimal(5), [], [])]), ("CAS", "PR", "1", "15.00", "", "3", "5.00", "2")]
    said.insert(-1, said.pop())
    _, claim = fields("835", *said)

    assert [(line["CAS01"], line["CAS02"], line["CAS03"], line.get("CAS04")) for line in claim["CAS02x3"]] == [
        ("PR", "1", "15.00", None),
        ("PR", "3", "5.00", "2"),
    ]


@pytest.mark.parametrize(
    ("said", "balance"),
    [
        ([("BPR", "C", "30"), ("ENT", "1"), ("RMR", "IV", "I-1", "", "10"), ("RMR", "IV", "I-2", "", "20")], "ok"),
        ([("BPR", "C", "25"), ("ENT", "1"), ("ADX", "-5", "01"), ("RMR", "IV", "I-1", "", "30")], "ok"),
        ([("BPR", "C", "30"), ("ENT", "1"), ("RMR", "IV", "I-1", "", "30"), ("ADX", "-5", "01")], "ok"),
        ([("BPR", "C", "30"), ("ENT", "1"), ("RMR", "IV", "I-1", "", "29.99")], "transaction"),
    ],
)
def test_payments(said: list[Segment], balance: str) -> None:
    """What is paid on invoices, behind their own adjustments, and the adjustments that stand alone are the sum."""
    (found,) = fields("820", *said)

    assert found["balance"] == balance


def test_an_amount_that_is_none() -> None:
    """It is told, and not taken for nothing."""
    (record,) = records("820", [("BPR", "C", "3O"), ("RMR", "IV", "I-1", "", "30")])
    with pytest.raises(Rejection, match="bad_amount: BPR02"):
        document(record, "utf-8")


def test_claims_know_the_levels_above_them() -> None:
    """A patient's claim has the subscriber and the provider above, and neither another's."""
    first, second, third = fields(
        "837",
        *[("BHT", "0019", "00", "B-1"), ("HL", "1", "", "20", "1"), ("NM1", "85", "2", "HOSPITAL")],
        *[
            ("HL", "2", "1", "22", "0"),
            ("NM1", "PR", "2", "ONE"),
            ("CLM", "P-1", "10"),
            ("LX", "1"),
            ("CLM", "P-2", "20"),
        ],
        *[("HL", "3", "1", "22", "1"), ("NM1", "PR", "2", "TWO"), ("HL", "4", "3", "23", "0"), ("CLM", "P-3", "30")],
    )

    assert [each["CLM01"] for each in (first, second, third)] == ["P-1", "P-2", "P-3"]
    assert [each["NM1[PR]03"] for each in (first, second, third)] == ["ONE", "ONE", "TWO"]
    assert [each["HL03"] for each in (first, second, third)] == ["22", "22", "23"]
    assert {each["NM1[85]03"] for each in (first, second, third)} == {"HOSPITAL"}
    assert (len(first["LX"]), second.get("LX")) == (1, [])


def test_a_set_without_parts_is_a_record() -> None:
    """Nothing of it is passed over."""
    (found,) = fields("837", ("BHT", "0019", "00", "B-1"))

    assert (found["part"], found["BHT03"]) == ("", "B-1")


def test_lines_within_lines() -> None:
    """Each answer has the order line it is in; a line without an answer stands for itself."""
    (found,) = fields(
        "855",
        ("PO1", "1", "10"),
        ("ACK", "IA", "6"),
        ("ACK", "IB", "4"),
        ("PO1", "2", "3"),
        ("PO1", "3"),
        ("ACK", "IR"),
    )

    assert [(line["PO101"], line.get("ACK01")) for line in found["PO1>ACK"]] == [
        ("1", "IA"),
        ("1", "IB"),
        ("2", None),
        ("3", "IR"),
    ]
