"""A run of a job: visible from its start, with records, rejections and control totals, compared with what was expected."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import Token
from datetime import UTC, datetime
from decimal import Decimal
from threading import Event, Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict, Unpack
from uuid import uuid4

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, Status, StatusCode

from controltower.tracer import attributes, values
from controltower.tracer.step import (
    ERROR_TYPE,
    Amount,
    AttributeValue,
    KeyValues,
    Moment,
    Outcome,
    Step,
    StepOptions,
    type_name_of,
)

if TYPE_CHECKING:
    from controltower.tracer.system import System

MAX_REASONS: Final = 20  # distinct reject reasons kept on the run; the others are counted as "other"
REJECTED: Final = ("rejected", "exception")
STARTED: Final = "batch.run.started"  # the steps of a run itself, beside what it does
RUNNING: Final = "batch.run.running"
COMPLETED: Final = "batch.run.completed"
RUN: Final = attributes.KEY + "run"
SLOT: Final = attributes.KEY + "slot"
PHASE: Final = attributes.CONTEXT + "run_phase"
REASONS: Final = attributes.CONTEXT + "rejected_reasons"
EXPECTED_TOTAL: Final = attributes.CONTEXT + "expected_control_total"
ATTEMPT: Final = attributes.CONTEXT + "attempt"
DONE_BEFORE: Final = attributes.CONTEXT + "done_before"
PROGRESS: Final = attributes.CONTEXT + "progress"
HEARTBEAT: Final = attributes.CONTEXT + "heartbeat_s"
MAX_HEARTBEAT_S: Final = 86_400.0
HEARTBEAT_S: Final = 60.0  # short runs have none


class BatchOptions(TypedDict, total=False):
    """What a run can be given when it opens."""

    expected: int | None  # records, from the manifest or trailer
    expected_total: Amount | None  # control total, from the manifest or trailer
    currency: str | None  # of the control total
    step: str | None  # a step code, when the run itself is a business step such as file.remittance.received
    keys: Mapping[str, KeyValues]  # of the run itself: file, interchange; they do not travel to the records
    scopes: Mapping[str, str]
    context: Mapping[str, object]
    run_id: str | None  # of the scheduler; a new one otherwise. A run that is resumed keeps the id that it had
    attempt: int | None  # of the run with this id: 2 when it is resumed or tried again
    done_before: int | None  # records that earlier attempts did; they count as done, and not again as records
    total_before: Amount | None  # their control total
    slot: str | None  # of the calendar, which a schedule expects: NAME|2026-11-03T02:00:00-05:00
    heartbeat_s: float | None  # how often the run says that it is alive and where it stands; never with None
    interface: str | None  # registry name of the job; the run's name by default
    start_time: Moment | None
    end_time: Moment | None


class Record(Step):
    """One record of a run: a step that the run counts when it ends."""

    __slots__ = ("_run",)

    def __init__(self, run: "Batch", system: "System", code: str, options: StepOptions) -> None:
        self._run = run
        super().__init__(system, code, options)
        self._attributes[attributes.RUN_ID] = run.run_id

    def close(self, error: BaseException | None = None) -> None:
        """End the record and count it."""
        super().close(error)
        amount = self._attributes.get(attributes.AMOUNT)
        currency = self._attributes.get(attributes.CURRENCY)
        rejected = self.failed or self.result in REJECTED
        reason = self._attributes.get(attributes.REASON) if rejected else None
        self._run.count(
            amount=None if rejected or not isinstance(amount, str) else amount,
            currency=currency if isinstance(currency, str) else None,
            rejected=rejected,
            reason=str(reason or ("error" if self.failed else self.result)) if rejected else None,
        )

    def again(self) -> "Record":
        """Return a fresh record with the same code and options."""
        return Record(self._run, self._system, self._code, self._options)


class Batch:
    """A run. Its start is a span that is sent at once, its end a second span below and linked to the first.

    While it runs, a heartbeat says that it is alive and how far it is: spans below the first.
    """

    def __init__(self, system: "System", name: str, options: BatchOptions) -> None:
        self._system = system
        self._guard = system.guard
        self._options = options
        self._lock = Lock()
        self._reasons: Counter[str] = Counter()
        self._totals: dict[str, Decimal] = {}
        self._more: dict[str, AttributeValue] = {}
        self._said: tuple[Outcome, str | None] | None = None
        self._beating = Event()  # set: no more
        self._beating.set()
        self._started: Span = trace.INVALID_SPAN
        self._start_ns = self._clock_ns = 0
        self._token: Token[Context] | None = None
        self.name = "batch"
        self.run_id = ""
        self.records = 0
        self.rejected = 0
        with self._guard.around("batch"):
            self.name = values.text(name, "the name of a run", self._guard.misuse) or "batch"
            self.run_id = values.text(options.get("run_id"), "run_id", self._guard.misuse) or str(uuid4())

    def __enter__(self) -> Self:
        with self._guard.around("opening a run"):
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> Literal[False]:
        with self._guard.around("ending a run"):
            self._close(error)
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, trace_back)

    def record(self, code: str, **options: Unpack[StepOptions]) -> Record:
        """Return the step for one record, to open with ``with``."""
        return Record(self, self._system, code, options)

    def count(
        self,
        records: int = 1,
        *,
        amount: Amount | None = None,
        currency: str | None = None,
        rejected: bool = False,
        reason: str | None = None,
    ) -> None:
        """Count records that have no step of their own; *amount* is their total."""
        with self._guard.around("count"):
            misuse = self._guard.misuse
            total = values.decimal_of(amount, "amount", misuse)
            number = values.count_of(records, "records", misuse)
            unit = values.currency_code(self._options.get("currency") if currency is None else currency, misuse) or ""
            with self._lock:
                self.records += number
                self.rejected += number if rejected else 0
                if rejected:
                    self._reasons[self._reason(reason)] += number
                if total is not None:
                    self._totals[unit] = self._totals.get(unit, Decimal(0)) + total

    def progress(self) -> None:
        """Send now where the run stands; the heartbeat does it by itself. Costs a span: call it once per file, not per record."""
        with self._guard.around("progress"):
            if not self._beating.is_set():
                self._beat()

    def outcome(self, outcome: Outcome, reason: str | None = None) -> None:
        """Say how the run ended, when counts do not tell; an exception that ends the run stands before it."""
        with self._guard.around("outcome"):
            chosen = values.choice(outcome, attributes.OUTCOMES, "outcome", self._guard.misuse)
            if chosen is not None:
                self._said = (outcome, values.reason_code(reason, self._guard.misuse))

    def context(self, **more: object) -> None:
        """Add what describes the run, at its end."""
        with self._guard.around("context"):
            self._more.update(self._context(more))

    def reject(self, reason: str, records: int = 1) -> None:
        """Count rejected records that have no step of their own; inside ``record`` set its outcome instead."""
        self.count(records, rejected=True, reason=reason)

    @property
    def control_total(self) -> Decimal | None:
        """Sum of the amounts of the records that were not rejected; ``None`` with several currencies."""
        with self._lock:
            return next(iter(self._totals.values())) if len(self._totals) == 1 else None

    def _reason(self, reason: str | None) -> str:
        kept = values.reason_code(reason, self._guard.misuse) or "unknown"
        return kept if kept in self._reasons or len(self._reasons) < MAX_REASONS else "other"

    # -- its two spans

    def _open(self) -> None:
        above, _ = self._system.parent()
        start_ns = values.time_ns(self._options.get("start_time"), "start_time", self._guard.misuse)
        self._clock_ns = time.perf_counter_ns()
        self._start_ns = start_ns if start_ns is not None else (self._system.clock or time.time_ns)()
        self._started = self._system.otel_tracer.start_span(
            f"{self.name} started",
            context=above,
            attributes={**self._described(), **self._run(STARTED), PHASE: "started"},
            start_time=self._start_ns,
        )
        self._started.end(self._start_ns)  # sent now: a run that never ends is seen as one that started
        self._token = otel_context.attach(trace.set_span_in_context(self._started))
        self._beating.clear()
        if (every_s := self._heartbeat_s()) is not None:
            Thread(target=_every, args=(every_s, self._beating, self.progress), daemon=True).start()

    def _beat(self) -> None:
        now_ns = self._start_ns + time.perf_counter_ns() - self._clock_ns
        clock = self._system.clock
        now_ns = now_ns if clock is None else clock()
        self._system.otel_tracer.start_span(
            f"{self.name} running",
            context=trace.set_span_in_context(self._started),
            attributes={**self._described(), **self._counts(), **self._run(RUNNING), PHASE: "running"},
            start_time=now_ns,
        ).end(now_ns)

    def _close(self, error: BaseException | None) -> None:
        self._beating.set()
        if self._token is not None:
            otel_context.detach(self._token)
            self._token = None
        if self._started is trace.INVALID_SPAN:
            return
        finish = self._system.otel_tracer.start_span(
            self.name,
            context=trace.set_span_in_context(self._started),
            attributes={
                **self._described(),
                **self._step_attributes(),
                **self._more,
                **self._result(error),
                PHASE: "finished",
            },
            links=[Link(self._started.get_span_context())],
            start_time=self._start_ns,
        )
        if error is not None and _is_failure(error):
            finish.set_attribute(ERROR_TYPE, type_name_of(error))
            finish.set_status(Status(StatusCode.ERROR))
        for currency, total in sorted(self._totals.items()) if len(self._totals) > 1 else ():
            line = {attributes.ITEM: f"total:{currency or 'none'}", attributes.LINE_AMOUNT: format(total, "f")}
            finish.add_event(attributes.LINE_EVENT, line, self._start_ns)
        end_ns = values.time_ns(self._options.get("end_time"), "end_time", self._guard.misuse)
        elapsed = time.perf_counter_ns() - self._clock_ns
        ended_ns = self._start_ns + elapsed if end_ns is None else max(end_ns, self._start_ns)
        if self._options.get("step") is None:  # the span begins with the run: when it was completed is its end
            finish.set_attribute(attributes.BUSINESS_TIME, _moment(ended_ns))
        finish.end(ended_ns)
        if self._options.get("step") is not None:
            self._completed(error, ended_ns)

    def _completed(self, error: BaseException | None, ended_ns: int) -> None:
        """Say that the run is over, beside the business step that its end is."""
        over = self._system.otel_tracer.start_span(
            f"{self.name} completed",
            context=trace.set_span_in_context(self._started),
            attributes={**self._described(), **self._result(error), **self._run(COMPLETED)},
            start_time=ended_ns,
        )
        if error is not None and _is_failure(error):
            over.set_status(Status(StatusCode.ERROR))
        over.end(ended_ns)

    def _run(self, code: str) -> dict[str, AttributeValue]:
        """Return what makes a span a step of the run itself."""
        slot = values.text(self._options.get("slot"), "slot", self._guard.misuse)
        said: dict[str, AttributeValue] = {attributes.STEP: code, RUN: self.run_id}
        return said | ({SLOT: slot} if slot else {})

    def _described(self) -> dict[str, AttributeValue]:
        misuse = self._guard.misuse
        found: dict[str, AttributeValue | None] = {
            attributes.RUN_ID: self.run_id,
            attributes.STYLE: "batch",
            attributes.INTERFACE: values.text(self._options.get("interface"), "interface", misuse) or self.name,
            attributes.RUN_EXPECTED: self._whole("expected"),
            ATTEMPT: _text(self._whole("attempt")),
            DONE_BEFORE: _text(self._whole("done_before")),
            HEARTBEAT: _text(self._heartbeat_s()),
            attributes.CURRENCY: values.currency_code(self._options.get("currency"), misuse),
            **self._context(self._options.get("context")),
            EXPECTED_TOTAL: values.decimal_text(self._options.get("expected_total"), "expected_total", misuse),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _context(self, given: object) -> dict[str, str | tuple[str, ...]]:
        scopes = values.texts_of(self._options.get("scopes"), "scope", self._guard.misuse)
        return self._system.pseudonyms.context(given, scopes, self._guard.misuse)

    def _step_attributes(self) -> dict[str, AttributeValue]:
        """Return keys, and the code when the run is a business step: on the end only, so that it counts once."""
        code = self._options.get("step")
        found = Step(self._system, COMPLETED if code is None else code, self._step_options()).prepared()
        return found if code is not None else found | self._run(COMPLETED)

    def _step_options(self) -> StepOptions:
        options = StepOptions()
        if "keys" in self._options:
            options["keys"] = self._options["keys"]
        if "scopes" in self._options:
            options["scopes"] = self._options["scopes"]
        return options

    def _whole(self, name: Literal["expected", "attempt", "done_before"]) -> int | None:
        given = self._options.get(name)
        return None if given is None else values.count_of(given, name, self._guard.misuse)

    def _heartbeat_s(self) -> float | None:
        usual = None if self._options.get("start_time") is not None else HEARTBEAT_S  # history does not go on
        given = self._options.get("heartbeat_s", usual)
        if given is None or (isinstance(given, (int, float)) and 0 < given <= MAX_HEARTBEAT_S):
            return given
        self._guard.misuse("bad_heartbeat", f"heartbeat_s is a number of seconds above 0, {MAX_HEARTBEAT_S:g} at most")
        return HEARTBEAT_S

    def _counts(self) -> dict[str, AttributeValue]:
        """Return how far the run is."""
        with self._lock:
            records, rejected = self.records, self.rejected
            reasons = ", ".join(f"{reason}={number}" for reason, number in sorted(self._reasons.items()))
        total, expected = self.control_total, self._whole("expected")
        done = records + (self._whole("done_before") or 0)
        found: dict[str, AttributeValue | None] = {
            attributes.RUN_RECORDS: records,
            attributes.RUN_REJECTED: rejected,
            attributes.RUN_CONTROL_TOTAL: None if total is None else format(total, "f"),
            REASONS: reasons or None,
            PROGRESS: f"{done / expected:.3f}" if expected else None,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _result(self, error: BaseException | None) -> dict[str, AttributeValue]:
        outcome, reason = self._verdict(error)
        return {
            **self._counts(),
            attributes.OUTCOME: outcome,
            **({} if reason is None else {attributes.REASON: reason}),
        }

    def _verdict(self, error: BaseException | None) -> tuple[str, str | None]:
        """Compare the run, with what its earlier attempts did, with what its manifest promised."""
        if _is_failure(error):
            return "exception", "aborted"
        if self._said is not None:
            return self._said
        expected, done = self._whole("expected"), self.records + (self._whole("done_before") or 0)
        promised = values.decimal_of(self._options.get("expected_total"), "expected_total", self._guard.misuse)
        before = values.decimal_of(self._options.get("total_before"), "total_before", self._guard.misuse)
        if expected is not None and done < expected:
            return "pending", "partial"
        if expected is not None and done > expected:
            return "exception", "more_records_than_expected"
        if promised is not None and not self.rejected and promised != (self.control_total or 0) + (before or 0):
            return "exception", "control_total_mismatch"
        if self.rejected:
            return ("rejected", "all_records") if self.rejected == self.records else ("ok", "rejected_records")
        return "ok", None


def _is_failure(error: BaseException | None) -> bool:
    """Return whether a run that *error* ends has failed: a program may leave by ``sys.exit(0)``."""
    return error is not None and not (isinstance(error, SystemExit) and error.code in (None, 0))


def _moment(ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339, cut to what a datetime holds."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).replace(microsecond=ns // 1000 % 1_000_000).isoformat()


def _text(number: float | None) -> str | None:
    return None if number is None else f"{number:g}"


def _every(seconds: float, stop: Event, call: Callable[[], None]) -> None:
    while not stop.wait(seconds):
        call()
