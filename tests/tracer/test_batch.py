"""Runs of jobs: visible from the start, counted, and compared with what was expected."""

from datetime import UTC, datetime
from threading import Semaphore
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

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


def step_of(span: ReadableSpan) -> tuple[object, object, object]:
    """Return what makes a span a step: its code, its run and the slot of its schedule."""
    said = span.attributes or {}
    return tuple(said.get(f"controltower.{name}") for name in ("step", "key.run", "key.slot"))  # type: ignore[return-value]


def test_a_run_is_completed_when_it_ends() -> None:
    """The last span begins with the run; its business time is the end, so that a run that took too long is late."""
    begin, end = datetime(2026, 3, 2, 1, tzinfo=UTC), datetime(2026, 3, 2, 9, 30, 0, 250_000, tzinfo=UTC)
    with capture() as captured, tracer.batch("nightly-invoice-load", start_time=begin, end_time=end):
        pass

    finished = named(captured, "nightly-invoice-load")
    assert (finished.attributes or {})["controltower.business_time"] == end.isoformat()
    assert "controltower.business_time" not in (named(captured, "nightly-invoice-load started").attributes or {})


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
        "context.heartbeat_s": "60",
        "context.run_phase": "started",
    }
    assert (record.attributes or {})["controltower.run.id"] == "R-7"
    assert started.context is not None
    assert record.parent == finished.parent == started.context
    assert [link.context for link in finished.links] == [started.context]
    assert finished.start_time == started.start_time
    assert of_run(finished)["outcome"] == "ok"
    assert [step_of(span) for span in (started, finished)] == [
        ("batch.run.started", "R-7", None),
        ("batch.run.completed", "R-7", None),
    ]


def test_records_rejections_and_control_total() -> None:
    """Amounts of accepted records add up exactly; rejections are counted by reason."""
    with capture() as captured, tracer.batch("load", expected=5, currency="USD", heartbeat_s=None) as run:
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
        "reason": "rejected_records",
        "context.progress": "1.000",
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
        ({"expected": 9, "attempt": 2, "done_before": 6}, 3, "ok", None),
        ({"expected": 9, "attempt": 2, "done_before": 5}, 3, "pending", "partial"),
        ({"expected": 9, "attempt": 2, "done_before": 7}, 3, "exception", "more_records_than_expected"),
        ({"expected_total": "90.00", "done_before": 6, "total_before": "60.00"}, 3, "ok", None),
        (
            {"expected_total": "90.00", "done_before": 6, "total_before": "50.00"},
            3,
            "exception",
            "control_total_mismatch",
        ),
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


def test_progress_is_seen_while_the_run_goes_on() -> None:
    """A run says where it stands before it ends: below its start, with the counts of that moment."""
    with capture() as captured, tracer.batch("load", expected=8, attempt=2, done_before=4, heartbeat_s=None) as run:
        run.count(2, amount="5.00", currency="USD")
        run.progress()
        run.reject("unreadable")
        seen = captured.spans
    run.progress()

    started, running = [span for span in seen if span.name.startswith("load")]
    assert of_run(running) == {
        "run.id": run.run_id,
        "style": "batch",
        "interface": "load",
        "run.expected_records": 8,
        "run.records": 2,
        "run.rejected": 0,
        "run.control_total": "5.00",
        "context.attempt": "2",
        "context.done_before": "4",
        "context.progress": "0.750",
        "context.run_phase": "running",
    }
    assert running.parent == started.context
    assert len([span for span in captured.spans if span.name == "load running"]) == 1


def test_heartbeat_beats_until_the_end() -> None:
    """Without a call of the job its run says that it is alive, and stops saying so when it ends."""
    beats = Semaphore(0)

    class Counting(InMemorySpanExporter):
        def export(self, spans: Any) -> Any:
            for span in spans:
                if span.name == "load running":
                    beats.release()
            return super().export(spans)

    system = tracer.System(service="jobs", exporter=Counting(), interval_s=0.001)
    with system.batch("load", heartbeat_s=0.01) as run:
        assert beats.acquire(timeout=30)
        assert beats.acquire(timeout=30)
        stopped = run._beating
    system.shutdown()

    assert stopped.is_set()


@pytest.mark.parametrize(
    ("end", "outcome", "reason"),
    [
        (SystemExit(0), "ok", None),
        (SystemExit(3), "exception", "aborted"),
        (KeyboardInterrupt(), "exception", "aborted"),
    ],
)
def test_programs_leave_in_many_ways(end: BaseException, outcome: str, reason: str | None) -> None:
    """A run that its program leaves by exit code 0 is well, by another code or by Ctrl-C it is aborted."""

    def job() -> None:
        with tracer.batch("load"):
            raise end

    with capture() as captured, pytest.raises(type(end)):
        job()

    finished = of_run(named(captured, "load"))
    assert (finished["outcome"], finished.get("reason")) == (outcome, reason)


@pytest.mark.parametrize(
    ("rejected", "done", "outcome"), [(2, 2, ("rejected", "all_records")), (1, 2, ("ok", "rejected_records"))]
)
def test_rejections_show_in_the_outcome(rejected: int, done: int, outcome: tuple[str, str]) -> None:
    """A run of which every record was rejected is rejected; one of which some were is well, with the reason."""
    with capture() as captured, tracer.batch("load") as run:
        run.reject("unreadable", rejected)
        run.count(done - rejected)

    finished = of_run(named(captured, "load"))
    assert (finished["outcome"], finished["reason"]) == outcome


def test_outcome_can_be_said() -> None:
    """What a job knows of its end stands before what the counts tell, and can be described."""
    with capture() as captured, tracer.batch("load", expected=9) as run:
        run.outcome("exception", "exit_code")
        run.context(exit_code=3)

    finished = of_run(named(captured, "load"))
    assert (finished["outcome"], finished["reason"], finished["context.exit_code"]) == ("exception", "exit_code", "3")


def test_a_run_that_is_a_business_step_is_over_as_well() -> None:
    """Its end is that step, and beside it the run is completed; all of them name the slot that a schedule expects."""
    with capture() as captured, tracer.batch("pay", run_id="R-1", slot="pay|S", step="p2p.payment.issued"):
        pass

    assert [step_of(span) for span in captured.steps] == [
        ("batch.run.started", "R-1", "pay|S"),
        ("p2p.payment.issued", None, None),
        ("batch.run.completed", "R-1", "pay|S"),
    ]


def test_thousands_of_records_are_all_there() -> None:
    """Records are spans below the run, so none is lost to a limit of links."""
    with capture(queue_size=20_000) as captured, tracer.batch("load") as run:
        for number in range(3_000):
            with run.record("p2p.invoice.registered", keys={"invoice": f"I-{number}"}):
                pass

    assert len(captured.steps) == 3_000 + 2  # start and end of the run
    assert of_run(named(captured, "load"))["run.records"] == 3_000
