"""A small store with something of everything that the pages show; times are relative to a given now."""

from datetime import datetime, timedelta
from decimal import Decimal

from clickhouse_connect.driver.client import Client

from controltower.store.collector_rows import CollectorSample
from controltower.store.rows import (
    Change,
    DeadlineState,
    Key,
    MatchStatus,
    ParkedStep,
    Step,
    Transaction,
    TransactionState,
    TransactionStep,
    Via,
)
from controltower.store.write import insert, insert_all
from tests.factories import (
    FLOW,
    alert,
    deadline,
    document_line,
    exception,
    membership,
    purchase_order,
    reconciliation,
    step,
    transaction,
)
from tests.scraped import say, say_level

CAUSE = "ct_shared"
LATE = purchase_order("PO-1042", "GENERAL")
DONE = purchase_order("PO-1001", "GENERAL")
INVOICE = Key("invoice", "V-7", "INV-9")
NASTY = "<script>alert(1)</script>=1+1"  # a vendor that is neither HTML nor a formula
WAY = (
    ("requested", "p2p.requisition.created", "requisitions", "api"),
    ("approved", "p2p.requisition.approved", "requisitions", "api"),
    ("created", "p2p.purchase_order.created", "erp", "event"),
    ("dispatched", "p2p.purchase_order.dispatched", "edi-gateway", "edi"),
    ("functional_acknowledged", "p2p.purchase_order.functional_acknowledged", "edi-gateway", "edi"),
    ("shipped", "p2p.shipment.notified", "supplier", "edi"),
    ("received", "p2p.goods.received", "warehouse", "queue"),
    ("invoiced", "p2p.invoice.received", "accounts-payable", "edi"),
)


def fill(client: Client, now: datetime) -> None:
    """Write the scenario: one order late and overcharged, one completed, many in flight, two steps parked."""
    start = now - timedelta(days=9)
    steps = [_step(number, start) for number in range(len(WAY))]
    failed = step(at=start + timedelta(hours=50), failed=True, system="edi-gateway", keys=(LATE,), outcome="exception")
    insert(client, [*steps, failed])
    insert_all(client, [[_late(now, start)], [_membership(one) for one in (*steps, failed)]])
    _documents(client, steps, now, start)
    _logged(client, steps[3])
    _done(client, now)
    _others(client, now)
    _parked(client, now)
    _collectors(client, now)
    _heard(client, now)
    _scraped(client, now)


def _step(number: int, start: datetime) -> Step:
    stage, code, system, style = WAY[number]
    keys = (LATE,) if stage != "invoiced" else (INVOICE,)
    return step(
        stage=stage,
        step=code,
        system=system,
        style=style,
        interface="",
        actor="human" if stage == "approved" else "system",
        at=start + timedelta(hours=18 * number),
        observed_at=start + timedelta(hours=18 * number),
        keys=keys,
        amount=Decimal("1400.00") if stage == "invoiced" else Decimal("1250.00") if stage == "created" else None,
    )


def _membership(of: Step) -> TransactionStep:
    if INVOICE not in of.keys:
        return membership(of, LATE, via=(Via(*LATE, "key", of.trace_id, of.span_id),))
    via = (Via(*INVOICE, "key", of.trace_id, of.span_id), Via(*LATE, "key", of.trace_id, of.span_id))
    return membership(of, LATE, via=via)


def _late(now: datetime, start: datetime) -> Transaction:
    stages = tuple(stage for stage, *_ in WAY)
    return transaction(
        anchor=LATE,
        state=TransactionState.BREACHED,
        started_at=start,
        last_step_at=start + timedelta(hours=18 * (len(WAY) - 1)),
        stage="invoiced",
        stages=stages,
        systems=("requisitions", "erp", "edi-gateway", "supplier", "warehouse", "accounts-payable"),
        steps=len(WAY) + 1,
        keys=(INVOICE, LATE),
        context={"vendor": "V-7", "company": "GENERAL"},
        at_stake=Decimal("1250.00"),
        open_deadlines=2,
        breached_deadlines=1,
        next_due_at=now + timedelta(days=30),
        open_exceptions=2,
    )


def _documents(client: Client, steps: list[Step], now: datetime, start: datetime) -> None:
    created, received, invoiced = steps[2], steps[6], steps[7]
    lines = [
        document_line(created),
        document_line(received, unit_price=None, amount=None),
        document_line(invoiced, unit_price=Decimal("700.00"), amount=Decimal("1400.00")),
    ]
    due = [
        deadline(
            anchor=LATE,
            due_at=start + timedelta(days=4),
            from_at=start + timedelta(hours=54),
            state=DeadlineState.BREACHED,
        ),
        deadline(
            anchor=LATE,
            rule="functional acknowledgement",
            to_stage="functional_acknowledged",
            from_at=start + timedelta(hours=54),
            due_at=start + timedelta(hours=58),
            met_at=start + timedelta(hours=72),
            state=DeadlineState.MET_LATE,
        ),
        deadline(
            anchor=LATE,
            rule="invoice paid",
            subject="INV-9",
            from_stage="invoiced",
            to_stage="paid",
            from_at=start + timedelta(hours=126),
            due_at=now + timedelta(days=30),
        ),
    ]
    changes = [
        Change(FLOW, LATE, start, "in progress", "", "requested", 1, Decimal(0), {}, 1),
        Change(
            FLOW,
            LATE,
            now,
            "breached",
            "in progress",
            "invoiced",
            8,
            Decimal(1250),
            {"supplier acknowledges": "breached"},
            2,
        ),
    ]
    exceptions = [
        exception(anchor=LATE, reason="missing", opened_at=start + timedelta(days=4)),
        exception(
            anchor=LATE,
            kind="match",
            rule="three_way_match",
            subject="1",
            reason="price_variance",
            amount=Decimal("150.00"),
            opened_at=start + timedelta(hours=126),
            detail="Line 1: price variance of 150.00 USD.",
        ),
    ]
    causes = [
        alert(
            CAUSE,
            kind="cause",
            anchor=Key("counterparty", "", NASTY),
            subject="deadline",
            amount=Decimal(8_750),
            members=7,
            opened_at=start,
        ),
        alert("ct_of_it", anchor=LATE, cause=CAUSE, announced=False),
    ]
    insert_all(client, [lines, due, changes, exceptions, [reconciliation(anchor=LATE)], causes])


def _done(client: Client, now: datetime) -> None:
    began = now - timedelta(days=40)
    row = transaction(
        anchor=DONE,
        state=TransactionState.COMPLETED,
        stage="cleared",
        started_at=began,
        last_step_at=now - timedelta(days=3),
        open_deadlines=0,
        next_due_at=None,
        context={"vendor": NASTY},
    )
    met = deadline(
        anchor=DONE,
        state=DeadlineState.MET,
        from_at=began,
        due_at=began + timedelta(days=1),
        met_at=began + timedelta(hours=5),
    )
    insert_all(
        client,
        [[row], [met], [reconciliation(anchor=DONE, status=MatchStatus.MATCHED, reason="", difference=Decimal(0))]],
    )


def _others(client: Client, now: datetime) -> None:
    rows = [
        transaction(
            anchor=purchase_order(f"PO-{2000 + number}", "GENERAL"),
            state=TransactionState.IN_PROGRESS,
            stage=("created", "dispatched", "shipped")[number % 3],
            started_at=now - timedelta(days=number % 20, hours=3),
            last_step_at=now - timedelta(days=number % 20),
            amount=Decimal(100 + number),
            next_due_at=now + timedelta(hours=number),
        )
        for number in range(60)
    ]
    insert(client, rows)


def _parked(client: Client, now: datetime) -> None:
    lost = step(
        at=now - timedelta(hours=2),
        step="p2p.invoice.received",
        stage="invoiced",
        keys=(Key("invoice", "", "INV-404"),),
    )
    unclear = step(at=now - timedelta(hours=3), keys=(), ignored_keys=(Key("purchase_order", "", "N/A"),))
    insert(client, [lost, unclear])
    reason = "no link leads from invoice INV-404 to a purchase order"
    insert(
        client,
        [
            ParkedStep(FLOW, lost.trace_id, lost.span_id, "parked", reason, (), version=2),
            ParkedStep(FLOW, unclear.trace_id, unclear.span_id, "ambiguous", "two orders fit", (LATE, DONE), version=1),
        ],
    )


def _heard(client: Client, now: datetime) -> None:
    rows = [("erp", now, now, 1200), ("warehouse", now - timedelta(hours=6), now - timedelta(hours=6), 90)]
    client.insert("source_watermarks", rows, column_names=["system", "last_span_at", "last_loaded_at", "spans"])


def _logged(client: Client, about: Step) -> None:
    """Two records: one of the step's trace that failed, one that names the order only, with hostile text."""
    columns = ["Timestamp", "TraceId", "SpanId", "SeverityText", "SeverityNumber", "ServiceName", "Body", "EventName"]
    rows = [
        [about.at, about.trace_id, about.span_id, "ERROR", 17, "edi-gateway", "850 refused by the mailbox", "", {}],
        [about.at, "", "", "INFO", 9, "mailbox", NASTY, "retry", {"controltower.key.purchase_order": LATE.value}],
    ]
    client.insert("otel_logs", rows, [*columns, "LogAttributes"], settings={"async_insert": 0})


def _collectors(client: Client, now: datetime) -> None:
    """A collector that works for traces, is behind with logs and has refused something; another one went silent."""
    gauges: dict[tuple[str, str], dict[str, float]] = {
        ("tower-1:4318", "traces"): {"lag_seconds": 0.4, "journal_left_bytes": 9 * 2**30, "volume_free_bytes": 2**38},
        ("tower-1:4318", "logs"): {
            "lag_seconds": 754,
            "journal_bytes": 3 * 2**30,
            "journal_left_bytes": 6 * 2**30,
            "volume_free_bytes": 2**38,
            "quarantine_rows": 12,
        },
    }
    at = now - timedelta(seconds=7)
    rows = [
        CollectorSample(at, collector, name, signal, "", float(value))
        for (collector, signal), values in gauges.items()
        for name, value in values.items()
    ]
    rows += [
        CollectorSample(now - timedelta(minutes=20), "tower-2:4318", "journal_left_bytes", "traces", "", 2.0**33),
        CollectorSample(at, "tower-1:4318", "requests_refused", "traces", "unauthenticated", 41.0),
        CollectorSample(at - timedelta(hours=2), "tower-1:4318", "requests_refused", "logs", "journal_full", 3.0),
    ]
    insert(client, rows)


def _scraped(client: Client, now: datetime) -> None:
    """Sources of two scrapers: one that works, one with rejects, one that fails, one that is behind; and one silent."""
    at = now - timedelta(seconds=4)
    fresh = {"last_success": at, "last_record": at, "watermark": at}
    rejects = {"reason": "bad_amount", "file": "/var/lib/controltower/scrape/erp_log/rejects.jsonl"}
    refused = {"reason": "PositionError: The folder is full."}
    folder, rows = {"kind": "folder"}, {"kind": "rows"}
    say(client, "supplier_edi", at, {"records": 1_204, "steps": 1_204, **fresh}, words={"running": folder})
    counts = {"records": 99_871, "steps": 4_310, "unmatched": 95_549, "rejected": 12}
    last_reject = now - timedelta(minutes=9)
    say(client, "erp_log", at, {**counts, **fresh, "last_reject": last_reject}, words={"last_reject": rejects})
    say(client, "job_table", at, {"failing": 1, "lag": 7_400}, words={"running": rows, "failing": refused})
    say(client, "gateway", at, {"lag": 754, "behind": 3 * 2**30, "records": 10, **fresh})
    say_level(client, "broker", "orders", at, depth=41, consumers=2, oldest=3)
    say_level(client, "broker", "orders.dead", at, depth=10_000, oldest=7_500, consumers=0)
    say_level(client, "broker", "stock", at, readers="billing", lag=12, held=3, redelivered=1)
    gone = now - timedelta(days=2)
    say(client, NASTY, gone, {"records": 7, "last_success": gone}, host="edi-2")
