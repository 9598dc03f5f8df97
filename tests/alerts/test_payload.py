"""What a notification says."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.alerts.decide import Policy, decide, repeat
from controltower.alerts.payload import BODY_LIMIT, build
from controltower.store.alert_rows import Alert
from controltower.store.rows import ExceptionRow, Key
from tests.factories import AT, exception

POLICY = Policy(AT, timedelta(hours=24), announce=True)
DASHBOARD = "https://tower.example:8501"


def firing(row: ExceptionRow | None = None) -> Alert:
    """Return the alert of an exception that was just seen."""
    alert = decide(None, row or exception(), POLICY).alert
    assert alert is not None
    return alert


def ended(**values: object) -> Alert:
    """Return the alert after its exception ended."""
    alert = decide(firing(), replace(exception(version=2), **values), POLICY).alert  # type: ignore[arg-type]  # fields of the row
    assert alert is not None
    return alert


def test_a_firing_notification_says_what_where_and_how_much() -> None:
    """The whole body of an ordinary notification."""
    row = exception(
        anchor=Key("purchase_order", "ACME & Co", "PO 10/42"), opened_at=AT - timedelta(minutes=5), subject="INV-9"
    )

    body = json.loads(build(firing(row), DASHBOARD))

    assert body == {
        "type": "controltower.alert.firing",
        "timestamp": "2026-03-02T09:00:00.000Z",
        "data": {
            "dedup_key": firing(row).dedup_key,
            "severity": "page",
            "flow": "procure_to_pay",
            "anchor": {"type": "purchase_order", "scope": "ACME & Co", "value": "PO 10/42"},
            "kind": "deadline",
            "rule": "supplier acknowledges",
            "reason": "breached",
            "subject": "INV-9",
            "decision": "first",
            "summary": "The supplier has not acknowledged purchase order PO-1042.",
            "amount": "1250.00",
            "currency": "USD",
            "transactions": 1,
            "opened_at": "2026-03-02T08:55:00.000Z",
            "resolved_at": None,
            "url": "https://tower.example:8501/transaction"
            "?flow=procure_to_pay&type=purchase_order&scope=ACME+%26+Co&value=PO+10%2F42",
        },
    }


def test_a_silent_source_is_no_transaction() -> None:
    """What is said of a source leads to the overview, which shows when it was heard of."""
    row = exception(anchor=Key("source", "", "edi"), kind="silent", detail="edi is silent since 09:00 UTC.")
    body = json.loads(build(firing(row), DASHBOARD))

    assert (body["data"]["url"], body["data"]["summary"]) == (DASHBOARD, "edi is silent since 09:00 UTC.")


def test_ends_say_that_they_are_ends() -> None:
    """Resolved and retracted notifications have their own types, times and words."""
    resolved = json.loads(build(ended(resolved_at=AT), DASHBOARD))
    retracted = json.loads(build(ended(is_deleted=True), DASHBOARD))

    assert resolved["type"] == "controltower.alert.resolved"
    assert resolved["data"]["resolved_at"] == "2026-03-02T09:00:00.000Z"
    assert resolved["data"]["summary"].startswith("Resolved: The supplier")
    assert retracted["type"] == "controltower.alert.retracted"
    assert retracted["data"]["summary"].startswith("Retracted after a correction: The supplier")
    assert resolved["data"]["dedup_key"] == retracted["data"]["dedup_key"] == firing().dedup_key


def test_a_repeat_is_a_firing_notification() -> None:
    """Being told again has the same type and says that it is a repeat."""
    again = repeat(firing(), POLICY).alert
    assert again is not None

    body = json.loads(build(again, ""))

    assert (body["type"], body["data"]["decision"]) == ("controltower.alert.firing", "repeat")
    assert body["data"]["url"] is None


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            exception(detail=""),
            "Purchase order PO-1042 is late for supplier acknowledges, 1,250.00 USD at stake.",
        ),
        (
            exception(detail=" ", kind="match", rule="three_way_match", subject="1", amount=Decimal("-3.5")),
            "Purchase order PO-1042 does not add up in three way match (1), 3.50 USD at stake.",
        ),
        (
            exception(detail="", kind="rejected", rule="dead letter", amount=Decimal(0), currency=""),
            "Purchase order PO-1042 needs attention: dead letter.",
        ),
    ],
)
def test_an_exception_without_words_gets_a_sentence(row: ExceptionRow, sentence: str) -> None:
    """What the engine gave no sentence for is told in one all the same."""
    assert json.loads(build(firing(row), ""))["data"]["summary"] == sentence


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0.00"), ("1250", "1250.00"), ("1E+9", "1000000000.00"), ("0.000001", "0.000001"), ("-12.5000", "-12.50")],
)
def test_money_is_exact_text(amount: str, text: str) -> None:
    """An amount keeps every decimal that means something and has at least two; never an exponent."""
    assert json.loads(build(firing(exception(amount=Decimal(amount))), ""))["data"]["amount"] == text


HOSTILE = st.text(max_size=3_000) | st.sampled_from(['"' * 3_000, "\\" * 3_000, "\U0001f600" * 3_000, "\x00\u202e" * 9])


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_text_makes_a_body_too_large_or_too_odd(detail: str, value: str, rule: str) -> None:
    """Whatever stands in an exception, the body is valid JSON below 20 kB on clean lines."""
    row = exception(
        detail=detail,
        rule=rule,
        subject=value,
        reason=rule,
        flow=rule,
        anchor=Key(value[:100], value, value),
        kind=rule,
    )

    body = build(firing(row), DASHBOARD)

    assert len(body.encode()) < BODY_LIMIT
    data = json.loads(body)["data"]
    assert all(text.isprintable() for text in (data["summary"], data["rule"], data["anchor"]["value"]))
    assert data["url"] is None or parse_qs(urlsplit(data["url"]).query, keep_blank_values=True)["scope"] == [value]


@pytest.mark.parametrize(
    ("kind", "transactions"),
    [("deadline", 1), ("silent", 0), ("source", 0), ("gap", 0), ("schedule", 0), ("cause", 412)],
)
def test_it_says_of_how_many_transactions_it_is(kind: str, transactions: int) -> None:
    """A source is none, a cause is as many as it has open members."""
    told = replace(firing(exception(kind=kind)), members=412 if kind == "cause" else 0)

    assert json.loads(build(told, ""))["data"]["transactions"] == transactions
