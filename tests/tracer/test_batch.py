"""Runs of jobs: visible from the start, counted, and compared with what was expected."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from controltower import tracer
from controltower.tracer.testing import FIRST_NS, Captured, capture, lines_of


def named(captured: Captured, name: str) -> ReadableSpan:
    """Return the one span with this name."""
    [found] = [span for span in captured.spans if span.name == name]
    return found


def of_run(span: ReadableSpan) -> dict[str, object]:
    """Return what a run says about itself."""
    wanted = ("run.", "outcome", "reason", "context.", "interface", "style", "currency")
    return {
        short: value
        for name, value in (span.attributes or {}).items()
        if (short := name.removeprefix("controltower.")).startswith(wanted)
    }


def test_start_is_sent_at_once_and_end_is_linked() -> None:
    """A run that never ends is known to have started; its end is a span below the start, linked to it."""
    with capture() as captured, tracer.batch("nightly-invoice-load", expected=2, run_id="R-7") as run:
        before_end = [span.name for span in captured.spans]
        with run.record("p2p.invoice.registered", keys={"invoice": "I-1"}):
            pass
        run.count()

    started, finished = named(captured, "nightly-invoice-load started"), named(captured, "nightly-invoice-load")
    record = captured.assert_step("p2p.invoice.registered", keys={"invoice": "I-1"})
    assert before_end == ["nightly-invoice-load started"]
    assert of_run(started) == {
        "run.id": "R-7",
        "style": "batch",
        "interface": "nightly-invoice-load",
        "run.expected_records": 2,
        "context.run_phase": "started",
    }
    assert (record.attributes or {})["controltower.run.id"] == "R-7"
    assert started.context is not None
    assert record.parent == finished.parent == started.context
    assert [link.context for link in finished.links] == [started.context]
    assert finished.start_time == started.start_time
    assert of_run(finished)["outcome"] == "ok"
    assert "controltower.step" not in (finished.attributes or {})


def test_records_rejections_and_control_total() -> None:
    """Amounts of accepted records add up exactly; rejections are counted by reason."""
    with capture() as captured, tracer.batch("load", expected=5, currency="USD") as run:
        for amount in ("0.10", "0.20"):
            with run.record("p2p.invoice.registered", amount=amount, currency="USD"):
                pass
        with run.record("p2p.invoice.registered", amount="9.99", currency="USD") as step:
            step.outcome("rejected", reason="duplicate_invoice")
        with pytest.raises(KeyError), run.record("p2p.invoice.registered", amount="5.00"):
            raise KeyError("vendor")
        run.reject("unreadable")

    assert (run.records, run.rejected, str(run.control_total)) == (5, 3, "0.30")
    assert of_run(named(captured, "load")) == {
        "run.id": run.run_id,
        "style": "batch",
        "interface": "load",
        "run.expected_records": 5,
        "currency": "USD",
        "run.records": 5,
        "run.rejected": 3,
        "run.control_total": "0.30",
        "outcome": "ok",
        "context.rejected_reasons": "duplicate_invoice=1, error=1, unreadable=1",
        "context.run_phase": "finished",
    }


@pytest.mark.parametrize(
    ("options", "count", "outcome", "reason"),
    [
        ({}, 3, "ok", None),
        ({"expected": 3, "expected_total": "30.00"}, 3, "ok", None),
        ({"expected": 4}, 3, "pending", "partial"),
        ({"expected": 2}, 3, "exception", "more_records_than_expected"),
        ({"expected": 3, "expected_total": "29.99"}, 3, "exception", "control_total_mismatch"),
    ],
)
def test_run_is_compared_with_its_manifest(
    options: dict[str, Any], count: int, outcome: str, reason: str | None
) -> None:
    """Too few records are still expected, too many or another total are an exception."""
    with capture() as captured, tracer.batch("load", **options) as run:
        run.count(count, amount=count * 10)

    finished = of_run(named(captured, "load"))
    assert (finished["outcome"], finished.get("reason")) == (outcome, reason)


def test_aborted_run_says_so() -> None:
    """The exception that ends a run passes on; the run is marked with its type and with what was done until then."""

    def job() -> None:
        with tracer.batch("load", expected=2) as run:
            run.count()
            raise ConnectionError("patient Jane Doe")

    with capture() as captured, pytest.raises(ConnectionError):
        job()

    finished = named(captured, "load")
    assert finished.status.status_code.name == "ERROR"
    assert (finished.attributes or {})["error.type"] == "ConnectionError"
    assert of_run(finished)["reason"] == "aborted"
    assert of_run(finished)["run.records"] == 1
    assert "Jane" not in finished.to_json()


def test_run_can_be_a_step_itself() -> None:
    """With a code the end of the run is a business step with keys of its own, which its records do not inherit."""
    with (
        capture() as captured,
        tracer.batch("payment run", step="p2p.payment.issued", keys={"payment": "P-1"}, context={"bank": "B"}) as run,
        run.record("p2p.remittance.sent", keys={"invoice": "I-1"}),
    ):
        pass

    captured.assert_step("p2p.payment.issued", keys={"payment": "P-1"}, context={"bank": "B"})
    record = captured.assert_step("p2p.remittance.sent", keys={"invoice": "I-1"})
    assert "controltower.key.payment" not in (record.attributes or {})


def test_totals_of_several_currencies_are_kept_apart() -> None:
    """Currencies are never added up: each total is a line of its own."""
    with capture() as captured, tracer.batch("load") as run:
        run.count(amount="1", currency="USD")
        run.count(amount="2", currency="EUR")

    finished = named(captured, "load")
    assert "run.control_total" not in of_run(finished)
    assert lines_of(finished) == [{"item": "total:EUR", "amount": "2"}, {"item": "total:USD", "amount": "1"}]


def test_back_dated_run() -> None:
    """History can be emitted with the times it had."""
    with capture() as captured, tracer.batch("load", start_time=FIRST_NS, end_time=FIRST_NS + 5):
        pass

    started, finished = named(captured, "load started"), named(captured, "load")
    assert (started.start_time, started.end_time) == (FIRST_NS, FIRST_NS)
    assert (finished.start_time, finished.end_time) == (FIRST_NS, FIRST_NS + 5)
