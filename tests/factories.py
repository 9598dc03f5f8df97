"""Builders of rows with sensible defaults, for tests that name only what matters to them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any  # keyword overrides of dataclass fields have no common type

from controltower.store.alert_rows import Alert, AlertState
from controltower.store.rows import (
    Deadline,
    DeadlineState,
    DocumentLine,
    ExceptionRow,
    Key,
    MatchStatus,
    Reconciliation,
    Step,
    Transaction,
    TransactionState,
    TransactionStep,
    Via,
)

FLOW = "procure_to_pay"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SPAN_NUMBERS = count(1)


def purchase_order(value: str = "PO-1042", scope: str = "") -> Key:
    """Return the key of a purchase order."""
    return Key("purchase_order", scope, value)


def span_ids(number: int | None = None) -> tuple[str, str]:
    """Return a trace id and a span id, distinct for each number; without one, never used before."""
    used = next(SPAN_NUMBERS) if number is None else number
    return f"{used:032x}", f"{used:016x}"


def step(**values: Any) -> Step:
    """Return a purchase order's dispatch, as the engine stores it."""
    trace_id, span_id = span_ids()
    made = Step(
        flow=FLOW,
        stage="dispatched",
        step="p2p.purchase_order.dispatched",
        trace_id=trace_id,
        span_id=span_id,
        at=AT,
        observed_at=AT,
        duration_ns=5_000_000,
        system="edi-gateway",
        span_name="p2p.purchase_order.dispatched",
        failed=False,
        outcome="ok",
        reason="",
        actor="system",
        style="edi",
        interface="850",
        amount=Decimal("1250.00"),
        currency="USD",
        quantity=None,
        uom="",
        keys=(purchase_order(),),
        ignored_keys=(),
        context={"vendor": "V-7"},
        replay_of="",
        run_id="",
        loaded_at=AT,
        version=1,
    )
    return replace(made, **values)


def membership(of: Step, anchor: Key | None = None, **values: Any) -> TransactionStep:
    """Return the membership of a step in the transaction of *anchor*, explained by the anchor's own key."""
    owner = anchor or purchase_order()
    via = Via(owner.type, owner.scope, owner.value, "key", of.trace_id, of.span_id)
    made = TransactionStep(of.flow, owner, of.trace_id, of.span_id, of.stage, "key", (via,), version=1)
    return replace(made, **values)


def document_line(of: Step, **values: Any) -> DocumentLine:
    """Return the first line of a step's document."""
    made = DocumentLine(
        flow=of.flow,
        trace_id=of.trace_id,
        span_id=of.span_id,
        position=0,
        line="1",
        item="00810012345678",
        quantity=Decimal(2),
        uom="EA",
        unit_price=Decimal("625.00"),
        amount=Decimal("1250.00"),
        currency="USD",
        keys=(),
        version=1,
    )
    return replace(made, **values)


def transaction(**values: Any) -> Transaction:
    """Return a purchase order in progress."""
    made = Transaction(
        flow=FLOW,
        anchor=purchase_order(),
        flow_version=1,
        state=TransactionState.IN_PROGRESS,
        started_at=AT,
        last_step_at=AT + timedelta(hours=1),
        stage="dispatched",
        stages=("created", "dispatched"),
        systems=("erp", "edi-gateway"),
        steps=2,
        keys=(purchase_order(),),
        context={"vendor": "V-7"},
        amount=Decimal("1250.00"),
        currency="USD",
        amounts={"created": Decimal("1250.00")},
        at_stake=Decimal(0),
        open_deadlines=1,
        breached_deadlines=0,
        next_due_at=AT + timedelta(days=1),
        open_exceptions=0,
        evaluate_at=AT + timedelta(days=1),
        version=1,
    )
    return replace(made, **values)


def deadline(**values: Any) -> Deadline:
    """Return a running deadline for the supplier's acknowledgement."""
    made = Deadline(
        flow=FLOW,
        anchor=purchase_order(),
        rule="supplier acknowledges",
        subject="",
        from_stage="dispatched",
        to_stage="acknowledged",
        from_at=AT,
        due_at=AT + timedelta(days=1),
        met_at=None,
        state=DeadlineState.RUNNING,
        severity="page",
        system="edi-gateway",
        at_stake=Decimal("1250.00"),
        currency="USD",
        version=1,
    )
    return replace(made, **values)


def reconciliation(**values: Any) -> Reconciliation:
    """Return a three-way match of one line whose price is too high."""
    made = Reconciliation(
        flow=FLOW,
        anchor=purchase_order(),
        rule="three_way_match",
        line="1",
        item="00810012345678",
        status=MatchStatus.EXCEPTION,
        reason="price_variance",
        quantities={"ordered": Decimal(2), "received": Decimal(2), "invoiced": Decimal(2)},
        prices={"ordered": Decimal("625.00"), "invoiced": Decimal("700.00")},
        amounts={"ordered": Decimal("1250.00"), "invoiced": Decimal("1400.00")},
        difference=Decimal("150.00"),
        currency="USD",
        window_ends_at=None,
        rule_version=1,
        version=1,
    )
    return replace(made, **values)


def exception(**values: Any) -> ExceptionRow:
    """Return an open exception for a breached deadline."""
    made = ExceptionRow(
        flow=FLOW,
        anchor=purchase_order(),
        kind="deadline",
        rule="supplier acknowledges",
        subject="",
        reason="breached",
        severity="page",
        opened_at=AT,
        resolved_at=None,
        amount=Decimal("1250.00"),
        currency="USD",
        detail="The supplier has not acknowledged purchase order PO-1042.",
        version=1,
    )
    return replace(made, **values)


def alert(key: str = "ct_1", **values: Any) -> Alert:
    """Return a firing alert that was announced."""
    made = Alert(
        dedup_key=key,
        flow="procure_to_pay",
        anchor=Key("purchase_order", "ACME", "PO-1"),
        kind="deadline",
        rule="supplier acknowledges",
        subject="",
        state=AlertState.FIRING,
        decision="first",
        episode=1,
        sequence=1,
        announced=True,
        announced_severity="page",
        notification_id=f"msg_{key}",
        reason="breached",
        severity="page",
        amount=Decimal("1250.000001"),
        currency="USD",
        detail="The supplier is late.",
        opened_at=AT,
        resolved_at=None,
        first_seen_at=AT,
        decided_at=AT.replace(microsecond=123_456),
        exception_version=2**63 + 1,
        version=1,
    )
    return replace(made, **values)
