"""The JSON that commands print. Money and quantities are decimal strings, times RFC 3339 in UTC. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from controltower.cli.hops import Hop, Way
from controltower.cli.text import plain
from controltower.store.kpis import KpiValue
from controltower.store.missing import Missing
from controltower.store.read import Decided, KeySpan, LogRecord, Logs, Member, SearchPage, TransactionView
from controltower.store.rows import (
    Correction,
    Deadline,
    DocumentLine,
    ExceptionRow,
    Key,
    Reconciliation,
    Transaction,
    Via,
)

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

MONEY_PLACES: Final = 2


def dumps(value: Json) -> str:
    """Return *value* as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def time_of(at: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None


def decimal_of(value: Decimal | None, places: int = 0) -> str | None:
    """Return a decimal as text, never in exponent form."""
    return None if value is None else f"{plain(value, places):f}"


def money_of(value: Decimal | None) -> str | None:
    """Return an amount as text with two decimals at least."""
    return decimal_of(value, MONEY_PLACES)


def trace_of(views: Sequence[tuple[TransactionView, Way, Logs, Sequence[Decided]]], spans: Sequence[KeySpan]) -> Json:
    """Return what ``trace`` prints: transactions with what was logged and decided around them, and spans outside of them."""
    return {
        "transactions": [
            {
                **transaction_of(view),
                "hops": [hop_of(hop) for hop in way.hops],
                "hops_truncated": way.truncated,
                "corrections": [decided_of(one) for one in decided],
                "logs": [log_of(record) for record in logs.records],
                "logs_truncated": logs.truncated,
            }
            for view, way, logs, decided in views
        ],
        "spans": [key_span_of(span) for span in spans],
    }


def hop_of(hop: Hop) -> dict[str, Json]:
    """Return one end of a message's way."""
    return {
        "at": time_of(hop.span.at),
        "operation": hop.operation,
        "system": hop.span.system,
        "broker": hop.broker,
        "destination": hop.destination,
        "wait_ms": hop.wait_ms,
        "redelivered": hop.redelivered,
        "delivery_count": hop.delivery_count,
        "outcome": hop.outcome,
        "reason": hop.reason,
        "failed": hop.failed,
        "span": {"trace_id": hop.span.trace_id, "span_id": hop.span.span_id},
    }


def log_of(record: LogRecord) -> dict[str, Json]:
    """Return a log record."""
    return {
        "at": time_of(record.at),
        "system": record.system,
        "severity": record.severity,
        "severity_number": record.severity_number,
        "event": record.event,
        "body": record.body,
        "span": {"trace_id": record.trace_id, "span_id": record.span_id},
        "found_by": "key" if record.by_key else "trace",
        "attributes": dict(record.attributes),
    }


def transaction_of(view: TransactionView) -> dict[str, Json]:
    """Return one transaction with its path."""
    transaction = view.transaction
    return {
        **summary_of(transaction),
        "stages": [stage_of(member) for member in view.members if member.step.stage],
        "steps": [stage_of(member) for member in view.members],
        "keys": [key_of(key) for key in transaction.keys],
        "amounts": {stage: money_of(amount) for stage, amount in transaction.amounts.items()},
        "lines": [line_of(line) for line in view.lines],
        "deadlines": [deadline_of(deadline, view.heard) for deadline in view.deadlines],
        "reconciliations": [reconciliation_of(result) for result in view.reconciliations],
        "exceptions": [exception_of(row) for row in view.exceptions],
        "truncated": view.truncated,
    }


def summary_of(transaction: Transaction) -> dict[str, Json]:
    """Return one transaction as ``search`` lists it."""
    return {
        "flow": transaction.flow,
        "flow_version": transaction.flow_version,
        "anchor": key_of(transaction.anchor),
        "state": str(transaction.state),
        "stage": transaction.stage,
        "started_at": time_of(transaction.started_at),
        "last_step_at": time_of(transaction.last_step_at),
        "systems": list(transaction.systems),
        "context": dict(transaction.context),
        "amount": money_of(transaction.amount),
        "currency": transaction.currency,
        "at_stake": money_of(transaction.at_stake),
        "breached_deadlines": transaction.breached_deadlines,
        "open_exceptions": transaction.open_exceptions,
        "next_due_at": time_of(transaction.next_due_at),
    }


def key_of(key: Key) -> dict[str, Json]:
    """Return a business key."""
    return {"type": key.type, "scope": key.scope, "value": key.value}


def stage_of(member: Member) -> dict[str, Json]:
    """Return a step of the path: what, when, where, and why it belongs."""
    step = member.step
    return {
        "name": step.stage,
        "step": step.step,
        "at": time_of(step.at),
        "system": step.system,
        "outcome": step.outcome,
        "reason": step.reason,
        "failed": step.failed,
        "amount": money_of(step.amount),
        "currency": step.currency,
        "span": {"trace_id": step.trace_id, "span_id": step.span_id},
        "evidence": member.membership.evidence,
        "via": [via_of(via) for via in member.membership.via],
    }


def via_of(via: Via) -> dict[str, Json]:
    """Return one hop of the explanation."""
    return {
        "type": via.type,
        "scope": via.scope,
        "value": via.value,
        "evidence": via.evidence,
        "span": {"trace_id": via.trace_id, "span_id": via.span_id},
    }


def correction_of(correction: Correction) -> dict[str, Json]:
    """Return a correction: about two keys, about a step and a key, or about a deadline of a transaction."""
    deadline = {"rule": correction.other.value, "subject": correction.other.scope}
    step = {"trace_id": correction.trace_id, "span_id": correction.span_id}
    return {
        "id": correction.id,
        "flow": correction.flow,
        "action": str(correction.action),
        "key": None if correction.of_step else key_of(correction.key),
        "span": step if correction.of_step else None,
        "other": None if correction.of_deadline else key_of(correction.other),
        "deadline": deadline if correction.of_deadline else None,
        "undoes": correction.undoes or None,
        "user": correction.user,
        "reason": correction.reason,
        "at": time_of(correction.at),
    }


def decided_of(decided: Decided) -> dict[str, Json]:
    """Return a correction, and whether it holds."""
    return {**correction_of(decided.correction), "state": decided.state}


def line_of(line: DocumentLine) -> dict[str, Json]:
    """Return a document line."""
    return {
        "line": line.line,
        "item": line.item,
        "quantity": decimal_of(line.quantity),
        "uom": line.uom,
        "unit_price": money_of(line.unit_price),
        "amount": money_of(line.amount),
        "currency": line.currency,
        "span": {"trace_id": line.trace_id, "span_id": line.span_id},
    }


def deadline_of(deadline: Deadline, heard: Mapping[str, datetime]) -> dict[str, Json]:
    """Return a deadline and what became of it; of an unknown one who would know, and since when that one is
    silent, or what of it is missing."""
    return {
        "rule": deadline.rule,
        "subject": deadline.subject,
        "from": deadline.from_stage,
        "to": deadline.to_stage,
        "from_at": time_of(deadline.from_at),
        "due_at": time_of(deadline.due_at),
        "met_at": time_of(deadline.met_at),
        "state": str(deadline.state),
        "severity": deadline.severity,
        "at_stake": money_of(deadline.at_stake),
        "currency": deadline.currency,
        "source": deadline.told_by,
        "missing": missing_of(deadline.missing) if deadline.missing else None,
        "silent_since": time_of(heard.get(deadline.source)),
        "waived_by": deadline.waived_by,
        "waived_why": deadline.waived_why,
    }


def missing_of(missing: Missing) -> dict[str, Json]:
    """Return the numbers that are missing of a count, and when they may have been told."""
    return {
        "type": missing.type,
        "scope": missing.scope,
        "first": missing.first,
        "last": missing.last,
        "since": time_of(missing.since),
        "until": time_of(missing.until),
    }


def reconciliation_of(result: Reconciliation) -> dict[str, Json]:
    """Return the result of one match."""
    return {
        "rule": result.rule,
        "line": result.line,
        "item": result.item,
        "status": str(result.status),
        "reason": result.reason,
        "quantities": {side: decimal_of(value) for side, value in result.quantities.items()},
        "prices": {side: money_of(value) for side, value in result.prices.items()},
        "amounts": {side: money_of(value) for side, value in result.amounts.items()},
        "difference": money_of(result.difference),
        "currency": result.currency,
    }


def exception_of(row: ExceptionRow) -> dict[str, Json]:
    """Return something that needs, or needed, a person."""
    return {
        "kind": row.kind,
        "rule": row.rule,
        "subject": row.subject,
        "reason": row.reason,
        "severity": row.severity,
        "opened_at": time_of(row.opened_at),
        "resolved_at": time_of(row.resolved_at),
        "amount": money_of(row.amount),
        "currency": row.currency,
        "detail": row.detail,
    }


def key_span_of(span: KeySpan) -> dict[str, Json]:
    """Return a span that carries the key and belongs to no transaction."""
    return {
        "key": {"type": span.type, "scope": span.scope, "value": span.value},
        "at": time_of(span.at),
        "system": span.system,
        "name": span.span_name,
        "span": {"trace_id": span.trace_id, "span_id": span.span_id},
    }


def search_of(page: SearchPage) -> Json:
    """Return what ``search`` prints."""
    return {"total": page.total, "transactions": [summary_of(row) for row in page.rows]}


def kpi_of(kpi: KpiValue) -> dict[str, Json]:
    """Return a key figure with its definition; one without data is null and says why."""
    return {
        "name": kpi.name,
        "title": kpi.title,
        "value": decimal_of(kpi.value),
        "unit": kpi.unit,
        "currency": kpi.currency,
        "numerator": decimal_of(kpi.numerator),
        "denominator": decimal_of(kpi.denominator),
        "reason": kpi.reason,
        "definition": kpi.definition,
        "formula": kpi.formula,
        "source": kpi.source,
        "parts_by": kpi.parts_by,
        "parts": [
            {"label": part.label, "currency": part.currency, "value": decimal_of(part.value)} for part in kpi.parts
        ],
    }
