"""``controltower kpi``: key figures, each with its definition."""

from argparse import Namespace
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_command, add_json, add_range
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps, kpi_of
from controltower.cli.text import amount, lasting, money, table
from controltower.store.kpis import KpiPart, KpiValue, Unit, compute

CENT: Final = Decimal("0.01")  # sums are shown to the cent; JSON has them exactly


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "kpi", "key figures, each with its definition")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all without a name")
    parser.add_argument("--flow", help="only of this flow")
    parser.add_argument("--definitions", action="store_true", help="say below each figure what it means")
    add_range(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the key figures."""
    settings = read_settings(arguments)
    with reading(settings) as client:
        values = compute(
            client, arguments.names or None, flow=arguments.flow, since=arguments.since, until=arguments.until
        )
    if arguments.json:
        print(dumps({"kpis": [kpi_of(value) for value in values]}))
    else:
        print(_text(values, definitions=arguments.definitions or bool(arguments.names)))
    return 0


def _text(values: Sequence[KpiValue], *, definitions: bool) -> str:
    rows = [[value.title, figure(value.value, value.unit, value.currency), _aside(value)] for value in values]
    lines = table(rows, right=(1,)).splitlines()
    if not definitions:
        return "\n".join(lines)
    return "\n".join(f"{line}\n  {value.definition}" for line, value in zip(lines, values, strict=True))


def figure(value: Decimal | None, unit: Unit, currency: str) -> str:
    """Return a figure in its unit, as people read it."""
    if value is None:
        return "–"
    if unit == "ratio":
        return f"{value * 100:.1f} %"
    if unit == "seconds":
        return lasting(timedelta(seconds=float(value)))
    return money(value.quantize(CENT), currency) if unit == "money" else f"{value:,.0f}"


def _aside(value: KpiValue) -> str:
    """Return the figure per currency, why there is none, or what a ratio is over."""
    if value.value is None and value.parts_by == "currency":
        return ", ".join(_part(part, value.unit) for part in value.parts)
    if value.value is None:
        return value.reason
    return f"{amount_of(value.numerator)} of {amount_of(value.denominator)}" if value.unit == "ratio" else ""


def _part(part: KpiPart, unit: Unit) -> str:
    return figure(part.value, unit, part.currency)


def amount_of(value: Decimal) -> str:
    """Return a count as it is and an amount with two decimals."""
    return f"{value:,.0f}" if value == value.to_integral_value() else amount(value.quantize(CENT))
