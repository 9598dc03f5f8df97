"""What a record becomes: keys, tokens, amounts, lines, and steps that begin in one record and end in another."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controltower.collector.scrapers.errors import KeyMissingError, SourcesError
from controltower.collector.scrapers.observation import Step
from controltower.tracer import attributes
from controltower.tracer.tokens import Tokeniser
from tests.collector.scrapers.sources import KEY, NOW_NS, Trial

ORDER = """
    rules:
      - match: {line: '^(?P<at>[0-9T:Z-]+) sent (?P<po>[^ ]+) (?P<amount>[^ ]+)(?: (?P<vendor>[^ ]+))?$'}
        step: p2p.purchase_order.dispatched
        name: send 850
        style: edi
        time: at
        keys: {purchase_order: po}
        scopes: {purchase_order: {text: '1000'}}
        context: {vendor: vendor}
        amount: amount
        currency: {text: USD}
"""
DOCUMENT = """
    format: json
    rules:
      - when: {event: invoice}
        step: p2p.invoice.received
        keys: {invoice: $.invoice.number, purchase_order: '$.invoice.lines[*].po'}
        amount: $.invoice.total
        business_time: {field: $.invoice.date, format: '%Y%m%d', zone: America/New_York}
        trace: {trace_id: trace_id, span_id: span_id}
        lines:
          each: $.invoice.lines[*]
          line: number
          item: item
          quantity: qty
          unit_price: {field: price, do: [{places: 4}]}
          keys: {purchase_order: po}
"""
PAIRED = """
    rules:
      - match: {line: '^(?P<at>[^ ]+) begin (?P<file>[^ ]+) for (?P<po>[^ ]+)$'}
        step: batch.file.transferred
        time: at
        failed: [exception]
        by: file
        keys: {purchase_order: po, file: file}
        end:
          match: {line: '^(?P<at>[^ ]+) (?:done|(?P<why>failed)) (?P<file>[^ ]+)$'}
          time: at
          within: 10 minutes
          reason: why
          outcome: {field: why, do: [{map: {failed: exception}}]}
"""


def attribute(step: Step, name: str) -> Any:
    return step.attributes.get(attributes.PREFIX + name)


def test_a_line_becomes_a_step() -> None:
    """Everything that the rule says is on the step, and nothing else of the line."""
    step = Trial(ORDER).step("2026-01-02T03:04:05Z sent PO-1 1250.00 V-7")

    assert (step.code, step.name, step.at_ns) == ("p2p.purchase_order.dispatched", "send 850", 1_767_323_045 * 10**9)
    assert step.attributes == {
        "controltower.step": "p2p.purchase_order.dispatched",
        "controltower.interface": "app",
        "controltower.style": "edi",
        "controltower.context.synthetic": "true",
        "controltower.key.purchase_order": "PO-1",
        "controltower.scope.purchase_order": "1000",
        "controltower.context.vendor": "V-7",
        "controltower.amount": "1250.00",
        "controltower.currency": "USD",
    }


def test_ids_follow_from_place_and_content() -> None:
    """The same line at the same place has the same ids, in every process; another place or content has others."""
    first, again = Trial(ORDER), Trial(ORDER)
    line = "2026-01-02T03:04:05Z sent PO-1 1250.00"

    assert first.step(line).ids == again.step(line).ids
    assert len({first.step(line).ids, again.step(line + "1").ids, Trial(ORDER).step(line).ids}) == 3
    assert Trial(ORDER).step(line).ids.hex() == "e444d2fed3d932ca200716fa3bb541f69ff0fff8fd429c41"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2026-13-02T03:04:05Z sent PO-1 1.00", "bad_time"),
        ("2026-01-02T03:04:05Z sent PO-1 1,00", "bad_amount: controltower.amount"),
        ("2026-01-02T03:04:05Z sent " + "9" * 600 + " 1.00", "bad_key: controltower.key.purchase_order"),
    ],
)
def test_what_cannot_be_is_rejected(line: str, reason: str) -> None:
    """A record whose values cannot be has a reason that names the field and not the value."""
    assert Trial(ORDER).reason(line) == reason


def test_a_line_of_no_interest_is_no_fault() -> None:
    """It is counted, and not rejected."""
    mapped = Trial(ORDER).lines("starting", "2026-01-02T03:04:05Z sent PO-1 1.00")

    assert (mapped.records, mapped.unmatched, len(mapped.steps), mapped.rejected) == (2, 1, 1, [])


def test_the_first_rule_that_fits_counts() -> None:
    """A record becomes one step."""
    rule = "      - {match: {line: '(?P<n>[0-9]+)'}, step: a.b.STEP, keys: {purchase_order: n}}\n"
    trial = Trial("    rules:\n" + rule.replace("STEP", "first") + rule.replace("STEP", "second"))

    assert trial.step("17").code == "a.b.first"


def test_a_document_of_json() -> None:
    """Paths find values, many of one key, and lines with keys of their own; numbers stay exact."""
    document = {
        "event": "invoice",
        "trace_id": "ab" * 16,
        "span_id": "cd" * 8,
        "invoice": {
            "number": "I-1",
            "date": "20261010",
            "total": 1250.10,
            "lines": [
                {"number": 1, "item": "0081", "qty": 2, "price": 6250500, "po": "PO-1"},
                {"number": 2, "item": "0082", "qty": 0.5, "price": 1, "po": "PO-2"},
            ],
        },
    }
    step = Trial(DOCUMENT).step(json.dumps(document))

    assert attribute(step, "key.purchase_order") == ("PO-1", "PO-2")
    assert attribute(step, "amount") == "1250.1"
    assert attribute(step, "business_time") == "2026-10-10"
    assert step.at_ns == NOW_NS
    assert (step.ids[:16].hex(), step.parent.hex()) == ("ab" * 16, "cd" * 8)
    assert step.lines == [
        {
            "line": "1",
            "item": "0081",
            "quantity": "2",
            "unit_price": "625.0500",
            "controltower.key.purchase_order": "PO-1",
        },
        {
            "line": "2",
            "item": "0082",
            "quantity": "0.5",
            "unit_price": "0.0001",
            "controltower.key.purchase_order": "PO-2",
        },
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"invoice": {"lines": []}}, "missing: controltower.key.invoice"),
        ({"trace_id": "00" * 16}, "bad_trace"),
        ({"trace_id": "xyz"}, "bad_trace"),
        ({"invoice": {"number": {"not": "a value"}}}, "missing: controltower.key.invoice"),
    ],
)
def test_documents_that_cannot_be(changes: dict[str, Any], reason: str) -> None:
    """What is missing or malformed is told by its name."""
    document = {"event": "invoice", "invoice": {"number": "I-1", "lines": [{"po": "PO-1"}]}}

    assert Trial(DOCUMENT).reason(json.dumps(document | changes)) == reason


def test_numbers_of_patients_become_tokens() -> None:
    """Types that the policy lists are tokens as every sender makes them, by type and issuer; the number is nowhere."""
    trial = Trial(
        "    rules:\n"
        "      - match: {line: 'case (?P<case>[0-9]+) mrn (?P<mrn>[0-9]+)'}\n"
        "        step: implant.case.scheduled\n"
        "        keys: {case: case}\n"
        "        scopes: {case: {text: or}}\n"
        "        context: {mrn: mrn}\n"
    )
    step = trial.step("case 4711 mrn 0815")
    (token,) = Tokeniser((KEY,)).tokens("case", b"or", b"4711")

    assert attribute(step, "key.case") == token.decode()
    assert "4711" not in repr(step)
    assert "0815" not in repr(step)


def test_without_a_key_for_tokens_nothing_starts() -> None:
    """A source that maps patients' numbers is refused, rather than dropping what it was made for."""
    rules = "    rules:\n      - {match: {line: '(?P<n>[0-9]+)'}, step: a.b.c, keys: {claim_pcn: n, account: n}}\n"

    with pytest.raises(KeyMissingError, match="account, claim_pcn"):
        Trial(rules, keys=())


def test_a_beginning_and_its_end_are_one_step() -> None:
    """The step lasts from one record to the other, and the end adds what it knows."""
    trial = Trial(PAIRED)
    begun = trial.lines("2026-01-02T03:04:05Z begin a.edi for PO-1", "2026-01-02T03:04:06Z begin b.edi for PO-2")
    ended = trial.lines("2026-01-02T03:04:09Z failed b.edi", "2026-01-02T03:05:05Z done a.edi")

    assert begun.steps == []
    second, first = ended.steps
    assert (second.end_ns - second.at_ns, attribute(second, "reason")) == (3 * 10**9, "failed")
    assert attribute(second, "outcome") == "exception"
    assert (first.failed, second.failed) == (False, True)
    assert (first.end_ns - first.at_ns, attribute(first, "reason")) == (60 * 10**9, None)
    assert attribute(first, "key.purchase_order") == "PO-1"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(["begin a for PO-1", "begin b for PO-2", "done a", "failed b", "done c", "noise"]), max_size=9
    )
)
def test_steps_that_are_handed_on_are_those_that_are_listed(events: list[str]) -> None:
    """One by one they are the same, in the same order, and the counts are, whatever ends, is begun again or is rejected."""
    lines = [f"2026-01-02T03:04:{second:02d}Z {event}" for second, event in enumerate(events)]
    listed = Trial(PAIRED).lines(*lines)
    steps: list[Step] = []
    handed = Trial(PAIRED).lines(*lines, into=steps.append)

    assert (steps, handed.steps) == (listed.steps, [])
    assert (handed.made, handed.records, handed.unmatched) == (len(steps), listed.records, listed.unmatched)
    assert [str(each) for _, each in handed.rejected] == [str(each) for _, each in listed.rejected]


def test_an_end_that_does_not_come() -> None:
    """By the times of the source itself, and by the clock only when all of it was read."""
    trial = Trial(PAIRED)
    trial.lines("2026-01-02T03:04:05Z begin a.edi for PO-1")
    trial.now_ns = 1_767_323_045 * 10**9 + 3600 * 10**9

    assert list(trial.mapper.due(caught_up=False)) == []
    (late,) = trial.mapper.due(caught_up=True)
    assert (attribute(late, "outcome"), attribute(late, "reason"), late.failed) == ("exception", "no_end", True)
    assert late.end_ns - late.at_ns == 600 * 10**9
    assert list(trial.mapper.due(caught_up=True)) == []


def test_an_end_without_a_beginning() -> None:
    """It cannot become a step, and says why."""
    assert Trial(PAIRED).reason("2026-01-02T03:04:09Z done a.edi") == "no_beginning"


def test_what_is_open_outlives_a_restart() -> None:
    """It is saved as what is sent of it, with the same ids."""
    trial, whole = Trial(PAIRED), Trial(PAIRED)
    begin, end = "2026-01-02T03:04:05Z begin secret.edi for PO-1", "2026-01-02T03:05:05Z done secret.edi"
    trial.lines(begin)
    trial.restarted(json.loads(json.dumps(trial.mapper.state())))
    (expected,) = whole.lines(begin, end).steps

    (step,) = trial.lines(end).steps
    assert step == expected


def test_the_key_of_what_is_open_is_not_saved() -> None:
    """What two records have in common may be a patient's number: it is saved as a digest."""
    trial = Trial(PAIRED.replace(", file: file}", "}"))
    trial.lines("2026-01-02T03:04:05Z begin 0815-4711 for PO-1")

    assert "0815-4711" not in json.dumps(trial.mapper.state())


def test_too_many_open_steps_give_the_oldest_up() -> None:
    """What is open is bounded; what is given up for it is sent and says so."""
    trial = Trial(PAIRED)
    trial.mapper.pairs._most = 3
    mapped = trial.lines(*(f"2026-01-02T03:04:05Z begin {number} for PO-{number}" for number in range(5)))

    assert [attribute(step, "key.purchase_order") for step in mapped.steps] == ["PO-0", "PO-1"]
    assert {attribute(step, "reason") for step in mapped.steps} == {"too_many_open"}
    assert len(trial.mapper.pairs) == 3


def test_a_record_dated_ahead_makes_nothing_late() -> None:
    """A clock that was wrong once does not end what is open."""
    trial = Trial(PAIRED)
    trial.lines("2026-01-09T23:00:00Z begin a.edi for PO-1", "2099-01-02T03:04:05Z begin b.edi for PO-2")

    assert list(trial.mapper.due(caught_up=False)) == []


def test_columns() -> None:
    """A row is read by the names of its columns; a field that is no column is a mistake."""
    rows = """
    format: csv
    columns: [po, vendor, amount]
    delimiter: ';'
    rules:
      - {step: p2p.purchase_order.created, keys: {purchase_order: po}, amount: {field: amount, do: [{decimal: {}}]}}
"""
    mapped = Trial(rows).lines("po;vendor;amount", "PO-1;V-7;1,250.00", "PO-2;V-7")

    assert [attribute(step, "amount") for step in mapped.steps] == ["1250.00"]
    assert [str(rejection) for _, rejection in mapped.rejected] == ["not_csv: 3 columns are expected"]
    assert mapped.unmatched == 1
    with pytest.raises(SourcesError, match="no field here"):
        Trial(rows.replace("purchase_order: po", "purchase_order: order"))
    with pytest.raises(SourcesError, match="needs columns"):
        Trial(rows.replace("columns: [po, vendor, amount]", "columns: []"))
