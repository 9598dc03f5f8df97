"""Key figures with their definitions."""

from collections.abc import Sequence
from decimal import Decimal

from controltower.dashboard.format import NOTHING, count, plural, ratio, reason, rule, seconds, short_money, words
from controltower.dashboard.markup import Column, Html, muted, share_bar, table, tag
from controltower.store.kpis import KpiPart, KpiValue, Unit

PARTS_SHOWN = 8
# What a denominator counts, to say how many a figure is over.
OVER = {
    "sla_attainment": "deadline",
    "auto_match_rate": "line",
    "first_pass_yield": "line",
    "unreconciled_amount": "line",
    "pending_amount": "line",
    "exception_rate": "transaction",
    "touchless_rate": "transaction",
    "duplicate_rate": "document",
    "replay_rate": "step",
    "failed_attempt_rate": "step",
    "supplier_response_p50": "acknowledgement",
    "supplier_response_p90": "acknowledgement",
    "order_to_pay_p50": "order",
    "invoice_to_paid_p50": "invoice",
    "time_to_resolve_p50": "exception",
}


def figures(values: Sequence[KpiValue]) -> Html:
    """Return every figure as a card: value, what it is over, its parts, its definition, its formula and its class."""
    return tag("div", *(_card(value) for value in values), css="ct-kpis")


def shown(value: Decimal | None, unit: Unit, currency: str = "") -> str:
    """Return a figure in its unit."""
    if value is None:
        return NOTHING
    return {
        "count": lambda: count(value),
        "ratio": lambda: ratio(value),
        "money": lambda: short_money(value, currency),
        "seconds": lambda: seconds(value),
    }[unit]()


def _card(value: KpiValue) -> Html:
    return tag(
        "div",
        tag("div", value.title, css="ct-card-label"),
        tag("div", shown(value.value, value.unit, value.currency), css="ct-card-value"),
        tag("div", value.reason or _over(value), css="ct-card-note"),
        _parts(value) if value.parts else Html(""),
        tag("div", value.definition, " ", tag("code", value.formula), f" · {value.source}", css="ct-kpi-words"),
        css="ct-kpi",
    )


def _over(value: KpiValue) -> str:
    if value.name == "auto_match_rate_by_value":
        return f"{short_money(value.numerator, value.currency)} of {short_money(value.denominator, value.currency)}"
    if value.unit == "count" or value.name not in OVER:
        return "as of now"
    number, noun = int(value.denominator), OVER[value.name]
    if value.unit == "ratio":
        return f"{count(value.numerator)} of {plural(number, noun)}"
    return f"over {plural(number, noun)}"


def _parts(value: KpiValue) -> Html:
    columns = (Column(words(value.parts_by)), Column("Share"), Column("Figure", "right"), Column("Over", "right"))
    largest = max((abs(part.value) for part in value.parts if part.value is not None), default=Decimal(0))
    rows = [_part(part, value, largest) for part in value.parts[:PARTS_SHOWN]]
    return table(columns, rows)


def _part(part: KpiPart, value: KpiValue, largest: Decimal) -> tuple[str | Html, ...]:
    size = part.value or Decimal(0)
    share = size if value.unit == "ratio" else abs(size) / largest if largest else Decimal(0)
    figure = shown(part.value, value.unit, part.currency)
    return (
        _label(part.label, value.parts_by),
        share_bar(float(share)),
        figure,
        muted(f"n {count(part.denominator)}") if value.unit in ("ratio", "seconds") else "",
    )


def _label(label: str, by: str) -> str:
    if by in ("vendor", "currency"):
        return label
    about, separator, why = label.rpartition(": ")
    return f"{rule(about)}: {reason(why).lower()}" if separator else words(label)
