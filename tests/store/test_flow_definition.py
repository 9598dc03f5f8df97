"""Flow files: what is refused, and where the mistake stands."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.store.errors import FlowError
from controltower.store.flows.definition import Tolerance, is_placeholder
from controltower.store.flows.examples import failures
from controltower.store.flows.files import load_flow, load_packs, parse_flow
from tests.store.flow_steps import SMALL


def refused(text: str) -> list[str]:
    """Return what is wrong with a flow, as lines of ``file:line: field: problem``."""
    with pytest.raises(FlowError) as caught:
        parse_flow(text, "small.yaml")
    return str(caught.value).splitlines()


def test_packs_are_sound() -> None:
    """The flows that ship with the product pass their own checks."""
    names = [flow.flow for flow in load_packs()]

    assert "procure_to_pay" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("title: Small", "titel: Small", "small.yaml:4: titel: unknown field"),
        ("  slip: {parent: order}", "  slip: {parent: ordr}", "small.yaml:10: keys.slip.parent: ordr is not one of the keys"),
        ("  slip: {parent: order}", "  slip: {}", "small.yaml:10: keys.slip: leads to no anchor"),
        ("  slip: {parent: order}", "  slip: {parent: slip}", "small.yaml:10: keys.slip.parent: slip is its own ancestor"),
        ("anchors: [order, bill]", "anchors: [order, till]", "small.yaml:6: anchors[1]: till is not one of the keys"),
        ("fence: 10 days", "fence: 10 moons", "small.yaml:13: keys.pay.fence: '10 moons' is not a limit"),
        ("final: true", "final: false", "small.yaml:14: stages: no stage is final"),
        ("step: s.bill.received", "step: t.bill.received", "small.yaml:16: stages[1].step: t.bill.received does not start"),
        ("name: billed", "name: opened", "small.yaml:16: stages[1].name: two stages are named opened"),
        ("step: s.bill.received", "step: s.bill.received, joined_by: [till]", "small.yaml:16: stages[1].joined_by[0]: till is not one of the keys"),
        ("version: 1", "version: 1\nversion: 2", "small.yaml:4: version: stands here twice"),
        ("version: 1", "version: one", "small.yaml:3: version: "),
        ("flow: small", "flow: [small", "small.yaml:"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line(before: str, after: str, problem: str) -> None:
    """Every mistake says file, line, field and what is wrong."""
    broken = SMALL.replace(before, after)
    assert broken != SMALL

    assert any(line.startswith(problem) for line in refused(broken)), refused(broken)


def test_several_mistakes_are_named_at_once() -> None:
    """One run of the check finds all of them."""
    rules = "sla:\n  - {name: a, from: opened, to: nowhere, within: 1 business day}\n  - {name: a, from: opened, to: paid, within: 1 day, per: nothing}\n"

    assert len(refused(SMALL + rules)) == 4


def test_money_is_never_a_float() -> None:
    """A bare decimal is refused, a quoted one is exact."""
    assert Tolerance(abs="0.10").abs is not None  # type: ignore[arg-type]  # pydantic reads the text
    with pytest.raises(ValueError, match="never a float"):
        Tolerance(abs=0.1)  # type: ignore[arg-type]  # what is being refused


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, an empty one and bytes that are no text are refused like a mistake inside."""
    empty, binary = tmp_path / "empty.yaml", tmp_path / "binary.yaml"
    empty.write_text("")
    binary.write_bytes(b"\xff\xfe\x00")

    for path in (tmp_path / "missing.yaml", empty, binary):
        with pytest.raises(FlowError, match=path.name):
            load_flow(path)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever a file holds, the answer is a flow or a FlowError."""
    with contextlib.suppress(FlowError):
        parse_flow(text, "any.yaml")


@pytest.mark.parametrize("value", ["", "N/A", "n/a", "NA", "0000", "000-00", "---", "TBD", "unknown", "none", "test"])
def test_placeholders(value: str) -> None:
    """What people write for "no number" is no key."""
    assert is_placeholder(value)


@pytest.mark.parametrize("value", ["1", "0001", "PO-1", "TEST-1", "A"])
def test_numbers_are_no_placeholders(value: str) -> None:
    """A short number is a number."""
    assert not is_placeholder(value)


CUT_OFFS = """
sla:
  - {name: today, from: opened, to: billed, at: "17:00", calendar: office}
  - {name: books, from: opened, to: paid, within: 1 business day, at: close, calendar: office}
calendars:
  office: {time_zone: America/New_York, close: {open_day: -1, at: "12:00"}}
examples:
  - name: an order of a Friday evening
    now: 2026-03-30T21:00:00Z
    steps:
      - {step: s.order.opened, at: 2026-03-27T21:30:00Z, keys: {order: A}}
    expect:
      - {transaction: "order:A", state: breached, deadlines: {today: breached, books: running}}
"""


def test_cut_offs_say_when_in_words() -> None:
    """A rule with a cut-off is judged by it, and reads as people say it."""
    flow = parse_flow(SMALL + CUT_OFFS, "small.yaml")

    assert [rule.limit for rule in flow.sla] == ["by 17:00", "within 1 business day, by the close"]
    assert [*failures(flow)] == []


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('at: "17:00", calendar', "at: 17:00, calendar", 'sla[0].at: write a time of the day in quotes, as "17:00"'),
        ('at: "17:00", calendar', 'at: "5 pm", calendar', "sla[0].at: '5 pm' is no cut-off"),
        (', at: "17:00", calendar: office', ', at: "17:00"', "sla[0].at: a cut-off needs a calendar"),
        (', at: "17:00", calendar', ", calendar", "sla[0]: today says neither within nor at"),
        (", close: {open_day: -1", ", closed: {open_day: -1", "calendars.office.closed: unknown field"),
        (
            ', close: {open_day: -1, at: "12:00"}',
            "",
            "sla[1].at: the calendar office does not say when the books close",
        ),
        ("open_day: -1", "open_day: 0", "calendars.office: close: open_day 0 is no day"),
    ],
)
def test_cut_offs_that_cannot_be_meant(before: str, after: str, problem: str) -> None:
    """A cut-off is a time in quotes on a calendar, a close is on one that has it."""
    broken = CUT_OFFS.replace(before, after)
    assert broken != CUT_OFFS

    assert any(problem in line for line in refused(SMALL + broken)), refused(SMALL + broken)
