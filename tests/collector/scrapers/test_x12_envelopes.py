"""What goes out must be acknowledged: a group that is whole is told of, once, and so is what is said of it as a whole."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.settings import Redaction
from controltower.collector.scrapers.definition import parse_sources
from controltower.collector.scrapers.trial import check
from controltower.collector.scrapers.x12 import interchanges
from controltower.collector.scrapers.x12_fields import document
from controltower.tracer import attributes
from tests.collector.scrapers.sources import NOW_NS
from tests.collector.scrapers.x12_writer import encoded, interchange, order

ALL = frozenset(("ISA", "GS", "AK1"))
ANSWER = (
    "ISA*00*          *00*          *ZZ*V-1011         *ZZ*HOSPITAL       *261103*1340*U*00401*000000500*1*P*>~"
    "GS*FA*V-1011*HOSPITAL*20261103*1340*500*X*004010~ST*997*0001~AK1*PO*81~AK2*850*0001~AK5*A~"
    "AK2*850*0002~AK5*R*5~AK9*P*2*2*1~SE*8*0001~GE*1*500~IEA*1*000000500~"
)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_each_group_and_each_interchange_once(sets: list[int]) -> None:
    """Behind its documents, which are those that there are without; a group says how many it has."""
    content = encoded(interchange([[order(f"PO-{number}") for number in range(count)] for count in sets]))
    found = list(interchanges(content, envelopes=ALL))
    groups = [document(record, "latin-1") for record in found if record.part == "GS"]

    assert [(group["GS06"], group["GE01"]) for group in groups] == [
        (str(at), str(count)) for at, count in enumerate(sets, 1)
    ]
    assert [record.part for record in found].count("ISA") == 1
    assert [record for record in found if not record.part] == list(interchanges(content))
    assert len({record.place for record in found}) == len(found)


def test_a_group_that_is_refused_was_not_sent() -> None:
    """Nobody will acknowledge what nobody can read: only the other one is told of."""
    content = encoded(interchange([[order("PO-1")], [order("PO-2")]])).replace(b"GE*1*2~", b"GE*7*2~")
    found = list(interchanges(content, envelopes=ALL))

    assert [document(each, "latin-1")["GS06"] for each in found if each.part == "GS"] == ["1"]
    assert [each.flaw for each in found if each.flaw] == ["wrong_count: GE01"]


def test_what_is_said_of_a_group_as_a_whole() -> None:
    """Of a 997 that tells of its sets: the group's own code, and nothing of a set."""
    (answer,) = (each for each in interchanges(ANSWER.encode(), envelopes={"AK1"}) if each.part == "AK1")
    said = document(answer, "latin-1")

    assert (said["AK101"], said["AK102"], said["AK901"], said["GS02"]) == ("PO", "81", "P", "V-1011")
    assert said.get("ST01") is None
    assert said.get("AK201") is None


def test_envelopes_are_no_records_of_a_file(tmp_path: Path) -> None:
    """A file's count is that of its documents, whatever else a source has rules for."""
    file = tmp_path / "orders.edi"
    file.write_bytes(encoded(interchange([[order("PO-1"), order("PO-2")]])))
    os.utime(file, (0, 0))
    text = f"""
sources:
  edi:
    kind: folder
    format: x12
    files: ['{file}']
    rules:
      - {{when: {{part: GS, GS01: RA}}, step: batch.group.sent, keys: {{group: GS06}}}}
      - {{when: {{ST01: '850'}}, step: p2p.purchase_order.dispatched, keys: {{purchase_order: BEG03}}}}
      - {{when: {{part: file}}, step: batch.file.received, keys: {{file: name}}, run: {{id: sha256, records: records}}}}
"""
    checked = check("edi", parse_sources(text, "edi.yaml").sources["edi"], Redaction(default_policy()), lambda: NOW_NS)

    assert [step.code for step in checked.steps] == ["p2p.purchase_order.dispatched"] * 2 + ["batch.file.received"]
    assert checked.steps[-1].attributes[attributes.RUN_RECORDS] == 2
    assert checked.unmatched == 0
