"""Key figures: what each means, where it comes from, and its value from what the engine derived.

Definitions and formulas: domain reconciliations, KPIs. All are of class ``telemetry``: computable from the spans alone.
A statement ``sql/kpi_*.sql`` gives rows (name, label, currency, numerator, denominator); what they become is pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from clickhouse_connect.driver.client import Client

from controltower.store.errors import StoreError
from controltower.store.queries import named, timestamp
from controltower.store.reads.fetch import fetch

Unit = Literal["count", "ratio", "money", "seconds"]

ROWS_LIMIT = 1_000  # parts of the figures of one statement: reasons, rules, vendors
# What an open end of the range means; the loader lets no time outside through.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
# Quotients keep this many places; figures are shown with far fewer.
_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Kpi:
    """A key figure: its words, its unit and the statement that gives it. ``lower_is_better`` is None when neither is."""

    name: str
    title: str
    unit: Unit
    definition: str
    formula: str
    statement: str
    missing: str  # why there is no value when nothing was counted
    parts: str = ""  # what the figure is also given by
    lower_is_better: bool | None = None
    source: str = "telemetry"


@dataclass(frozen=True, slots=True)
class KpiPart:
    """The figure for one rule, reason, vendor, age or currency."""

    label: str
    currency: str
    value: Decimal | None
    numerator: Decimal
    denominator: Decimal


@dataclass(frozen=True, slots=True)
class KpiValue:
    """A figure with all that is needed to show it; ``value`` is None with a ``reason`` when there is nothing to say.

    Ratios are between 0 and 1. Money is in ``currency``; when there are several, there is no sum, only ``parts``.
    """

    name: str
    title: str
    value: Decimal | None
    unit: Unit
    definition: str
    formula: str
    source: str
    numerator: Decimal
    denominator: Decimal
    currency: str = ""
    reason: str = ""
    parts_by: str = ""
    parts: tuple[KpiPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """One row of a statement."""

    name: str
    label: str
    currency: str
    numerator: Decimal
    denominator: Decimal


KPIS: tuple[Kpi, ...] = (
    Kpi(
        "in_flight",
        "In flight",
        "count",
        "Transactions that are not completed, as of now, whatever the time range.",
        "N(transactions not completed)",
        "kpi_transactions",
        "",
    ),
    Kpi(
        "late_now",
        "Late now",
        "count",
        "Transactions in flight with at least one broken deadline that is still open, as of now.",
        "N(transactions not completed with a breached deadline)",
        "kpi_transactions",
        "",
        lower_is_better=True,
    ),
    Kpi(
        "money_at_stake",
        "Money at stake",
        "money",
        "Money in transactions in flight that are late, refused or failed (their whole amount), or that do not add up "
        "(the difference), as of now.",
        "$(at stake) over transactions not completed",
        "kpi_transactions",
        "",
        lower_is_better=True,
    ),
    Kpi(
        "sla_attainment",
        "SLA attainment",
        "ratio",
        "Of the deadlines that fell due in the time range and were not waived, the share that was met in time.",
        "N(met in time) / N(met in time, met late, breached)",
        "kpi_deadlines",
        "No deadline fell due in the time range.",
        parts="rule",
        lower_is_better=False,
    ),
    Kpi(
        "supplier_response_p50",
        "Supplier response, median",
        "seconds",
        "Time from sending an order to the supplier's first acknowledgement, half of them faster; for acknowledgements "
        "that came in the time range.",
        "P50(acknowledged − dispatched)",
        "kpi_durations",
        "No supplier acknowledged an order in the time range.",
        parts="vendor",
        lower_is_better=True,
    ),
    Kpi(
        "supplier_response_p90",
        "Supplier response, slowest tenth",
        "seconds",
        "Time from sending an order to the supplier's first acknowledgement, nine of ten faster; for acknowledgements "
        "that came in the time range.",
        "P90(acknowledged − dispatched)",
        "kpi_durations",
        "No supplier acknowledged an order in the time range.",
        parts="vendor",
        lower_is_better=True,
    ),
    Kpi(
        "order_to_pay_p50",
        "Order to pay, median",
        "seconds",
        "Time from creating an order to its first payment, half of them faster; for payments in the time range.",
        "P50(paid − created)",
        "kpi_durations",
        "No order was paid in the time range.",
        parts="vendor",
    ),
    Kpi(
        "invoice_to_paid_p50",
        "Invoice to payment, median",
        "seconds",
        "Time from receiving an invoice to its payment in calendar days, weekends included, half of them faster; for "
        "payments in the time range.",
        "P50(paid − invoiced), per invoice",
        "kpi_durations",
        "No invoice was paid in the time range.",
        parts="vendor",
    ),
    Kpi(
        "auto_match_rate",
        "Auto-match rate",
        "ratio",
        "Of the lines whose match is decided, the share that order, receipt and invoice agree on, exactly or within "
        "tolerance, without a person. Lines still inside their timing window or partly invoiced are not decided. For "
        "transactions active in the time range.",
        "N(matched, matched within tolerance) / N(those and exceptions)",
        "kpi_matches",
        "No line has a decided match in the time range.",
        lower_is_better=False,
    ),
    Kpi(
        "auto_match_rate_by_value",
        "Auto-match rate by value",
        "ratio",
        "The auto-match rate weighted with the invoiced amount of each line, per currency.",
        "$(invoiced on matched lines) / $(invoiced on decided lines)",
        "kpi_matches",
        "No line with an invoiced amount has a decided match in the time range.",
        parts="currency",
        lower_is_better=False,
    ),
    Kpi(
        "first_pass_yield",
        "First-pass yield",
        "ratio",
        "Of the lines whose match is decided, the share that matches and never was an exception. For transactions "
        "active in the time range.",
        "N(matched, never an exception) / N(decided)",
        "kpi_matches",
        "No line has a decided match in the time range.",
        lower_is_better=False,
    ),
    Kpi(
        "unreconciled_amount",
        "Unreconciled amount",
        "money",
        "Money that does not add up on lines in exception, over- and undercharges alike. Differences that are a matter "
        "of timing are not in it. For transactions active in the time range.",
        "sum of |difference| over lines in exception",
        "kpi_matches",
        "No line has a decided match in the time range.",
        parts="currency",
        lower_is_better=True,
    ),
    Kpi(
        "pending_amount",
        "Pending by timing",
        "money",
        "Money on lines whose difference is still inside its window, such as goods received and not yet invoiced. Not "
        "an exception. For transactions active in the time range.",
        "sum of |difference| over lines pending by timing",
        "kpi_matches",
        "No line waits for its other side.",
        parts="currency",
    ),
    Kpi(
        "exception_rate",
        "Exception rate",
        "ratio",
        "Of the transactions active in the time range, the share with at least one exception, open or resolved.",
        "N(transactions with an exception) / N(transactions)",
        "kpi_exceptions",
        "No transaction was active in the time range.",
        parts="reason",
        lower_is_better=True,
    ),
    Kpi(
        "open_exceptions",
        "Open exceptions",
        "count",
        "Exceptions that nobody has resolved, as of now, by age.",
        "N(exceptions not resolved)",
        "kpi_ageing",
        "",
        parts="age",
        lower_is_better=True,
    ),
    Kpi(
        "time_to_resolve_p50",
        "Time to resolve, median",
        "seconds",
        "Time from an exception to its resolution, half of them faster; for exceptions resolved in the time range.",
        "P50(resolved − opened)",
        "kpi_ageing",
        "No exception was resolved in the time range.",
        lower_is_better=True,
    ),
    Kpi(
        "touchless_rate",
        "Touchless rate",
        "ratio",
        "Of the transactions completed in the time range whose steps say who acted, the share without a person.",
        "N(completed, no step by a person) / N(completed, actor known)",
        "kpi_touchless",
        "No completed transaction says who acted: set `actor` on its steps.",
        lower_is_better=False,
    ),
    Kpi(
        "duplicate_rate",
        "Duplicate rate",
        "ratio",
        "Of the documents in the time range, the share that its receiver recognised as one it already had.",
        "N(outcome duplicate) / N(documents)",
        "kpi_steps",
        "No document arrived in the time range.",
        lower_is_better=True,
    ),
    Kpi(
        "replay_rate",
        "Replay rate",
        "ratio",
        "Of all steps in the time range, failed attempts included, the share that sent something again.",
        "N(replays) / N(steps)",
        "kpi_steps",
        "No step happened in the time range.",
        lower_is_better=True,
    ),
    Kpi(
        "failed_attempt_rate",
        "Failed attempts",
        "ratio",
        "Of all steps in the time range, the share that ended with an error.",
        "N(failed) / N(steps)",
        "kpi_steps",
        "No step happened in the time range.",
        lower_is_better=True,
    ),
)
BY_NAME: Mapping[str, Kpi] = {kpi.name: kpi for kpi in KPIS}


def compute(
    client: Client,
    names: Sequence[str] | None = None,
    flow: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    now: datetime | None = None,
) -> list[KpiValue]:
    """Return the figures named, or all of them, in the order asked. One query per statement; StoreError if unknown.

    Without *since* or *until* the range is open on that side. Ages are as of *now*: else *until*, else the present.
    """
    asked = [_known(name) for name in names] if names else list(KPIS)
    counted: list[Counted] = []
    for statement in dict.fromkeys(kpi.statement for kpi in asked):
        query = named(
            statement,
            now=timestamp(now or until or datetime.now(UTC)),
            since=timestamp(since or EARLIEST),
            until=timestamp(until or LATEST),
            flow=flow or "",
            limit=ROWS_LIMIT,
        )
        counted.extend(fetch(client, query, Counted))
    return [figure(kpi, [row for row in counted if row.name == kpi.name]) for kpi in asked]


def figure(kpi: Kpi, rows: Sequence[Counted]) -> KpiValue:
    """Return the figure that *rows*, all of this KPI, amount to."""
    whole = [row for row in rows if not row.label]
    if kpi.unit != "money" and kpi.parts != "currency":
        whole = _added(whole)
    used = [row for row in whole if row.denominator or kpi.unit == "count"]
    one = used[0] if len(used) == 1 else None
    numerator, denominator = (one.numerator, one.denominator) if one else (Decimal(0), Decimal(0))
    value = _value(kpi.unit, one) if one else _nothing(kpi, used)
    return KpiValue(
        name=kpi.name,
        title=kpi.title,
        value=value,
        unit=kpi.unit,
        definition=kpi.definition,
        formula=kpi.formula,
        source=kpi.source,
        numerator=numerator,
        denominator=denominator,
        currency=one.currency if one else "",
        reason="" if value is not None else _reason(kpi, used),
        parts_by="currency" if len(used) > 1 else kpi.parts,
        parts=tuple(_parts(kpi, used if len(used) > 1 else [row for row in rows if row.label])),
    )


def _known(name: str) -> Kpi:
    if name not in BY_NAME:
        raise StoreError(f"There is no KPI named {name!r}; there are {', '.join(BY_NAME)}.")
    return BY_NAME[name]


def _added(rows: Sequence[Counted]) -> list[Counted]:
    """Return the sum over currencies of what has no currency: counts of transactions."""
    if len(rows) < 2:
        return [Counted(row.name, "", "", row.numerator, row.denominator) for row in rows]
    numerator = sum((row.numerator for row in rows), Decimal(0))
    denominator = sum((row.denominator for row in rows), Decimal(0))
    return [Counted(rows[0].name, "", "", numerator, denominator)]


def _value(unit: Unit, row: Counted) -> Decimal | None:
    if unit != "ratio":
        return row.numerator
    return (row.numerator / row.denominator).quantize(_PLACES) if row.denominator else None


def _nothing(kpi: Kpi, used: Sequence[Counted]) -> Decimal | None:
    """A count of nothing is zero; a rate, a time or a sum over nothing is no figure."""
    return Decimal(0) if kpi.unit == "count" and not used else None


def _reason(kpi: Kpi, used: Sequence[Counted]) -> str:
    return "In several currencies, which are not added." if len(used) > 1 else kpi.missing or "There is no data yet."


def _parts(kpi: Kpi, rows: Iterable[Counted]) -> Iterable[KpiPart]:
    for row in rows:
        yield KpiPart(row.label or row.currency, row.currency, _value(kpi.unit, row), row.numerator, row.denominator)
