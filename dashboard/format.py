"""Figures, times and money as people read them; pure. Times are UTC and their labels say so."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from controltower.store.read import Money
from controltower.store.rows import Key

NOTHING = "–"
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
RULES = {"three_way_match": "Three-way match"}
REASONS = {
    "qty_variance": "Quantity variance",
    "missing_left": "Invoiced, not received or ordered",
    "missing_right": "Received, not invoiced",
    "uom_mismatch": "Different units",
}
# A spreadsheet runs a cell that begins with one of these (CWE-1236), also after white space.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

_COMPACT = ((Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 4, "k"))
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def count(number: int | Decimal | None) -> str:
    """Return a count with thousands separated: ``12,345``."""
    return NOTHING if number is None else f"{int(number):,}"


def quantity(number: Decimal | None) -> str:
    """Return a quantity without zeros that say nothing: ``2``, ``0.5``."""
    if number is None:
        return NOTHING
    text = f"{number:,.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def ratio(number: Decimal | None) -> str:
    """Return a share in percent. Only a whole is 100 %, only nothing is 0 %."""
    if number is None:
        return NOTHING
    percent = (number * 100).quantize(Decimal("0.1"), ROUND_HALF_UP)
    if percent >= 100 and number < 1:
        percent = Decimal("99.9")
    if percent == 0 and number > 0:
        return "< 0.1 %"
    return f"{percent:.1f}".removesuffix(".0") + " %"


def money(amount: Decimal | None, currency: str = "") -> str:
    """Return an exact amount with its currency: ``$1,250.00``, ``CHF 12.50``, ``−$3.00``."""
    if amount is None:
        return NOTHING
    return _signed(amount, f"{_cents(abs(amount)):,}", currency)


def unit_price(amount: Decimal | None, currency: str = "") -> str:
    """Return a price per unit: cents at least, and as many more places as it has."""
    if amount is None:
        return NOTHING
    whole, _, places = f"{abs(amount):,.6f}".partition(".")
    return _signed(amount, f"{whole}.{places.rstrip('0').ljust(2, '0')}", currency)


def short_money(amount: Decimal | None, currency: str = "") -> str:
    """Return an amount for a card or an axis: ``$1.25M``, ``$12.5k``, ``$980``. Never rounded up to the next unit."""
    if amount is None:
        return NOTHING
    size = abs(amount)
    for unit, letter in _COMPACT:
        if size >= unit:
            shown = size / (1000 if letter == "k" else unit)
            places = Decimal("0.01") if shown < 10 else Decimal("0.1") if shown < 100 else Decimal(1)
            return _signed(amount, f"{shown.quantize(places, ROUND_DOWN):,}{letter}", currency)
    whole = size == size.to_integral_value() or size >= 1000
    return _signed(amount, f"{size.quantize(Decimal(1), ROUND_DOWN):,}" if whole else f"{_cents(size):,}", currency)


def moneys(amounts: Sequence[Money], *, short: bool = True) -> str:
    """Return money of one or more currencies, side by side and never added: ``$1.2M + €30.0k``."""
    shown = short_money if short else money
    return " + ".join(shown(one.amount, one.currency) for one in amounts) or NOTHING


def moment(at: datetime | None, *, seconds: bool = False) -> str:
    """Return a time of UTC to the minute, or to the second; the label beside it says UTC."""
    if at is None:
        return NOTHING
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def duration(length: timedelta | None) -> str:
    """Return a length of time in its two largest units: ``3 d 4 h``, ``12 min``, ``under 1 s``."""
    if length is None:
        return NOTHING
    left = int(abs(length).total_seconds())
    if not left:
        return "under 1 s"
    parts: list[str] = []
    for unit, size in _UNITS:
        number, rest = divmod(left, size)
        if number or parts:
            parts += [f"{number} {unit}"] if number else []
            left = rest
            if len(parts) == 2 or (parts and not number):
                break
    return " ".join(parts)


def seconds(number: Decimal | None) -> str:
    """Return a number of seconds as a length of time."""
    return NOTHING if number is None else duration(timedelta(seconds=float(number)))


def size(number: int) -> str:
    """Return bytes in the largest unit that leaves something before the point: 3.2 GiB."""
    power = min(len(SIZES) - 1, max(0, number.bit_length() - 1) // 10)
    value = number / 1_024**power
    return f"{value:,.1f} {SIZES[power]}" if power and value < 100 else f"{value:,.0f} {SIZES[power]}"


def nanoseconds(number: int) -> str:
    """Return the duration of a span: ``850 µs``, ``12.5 ms``, ``3 s``, ``2 min 5 s``."""
    if number < 1_000_000:
        return f"{number / 1_000:.0f} µs"
    if number < 1_000_000_000:
        return f"{number / 1_000_000:.1f}".removesuffix(".0") + " ms"
    return duration(timedelta(microseconds=number // 1_000))


def relative(at: datetime | None, now: datetime) -> str:
    """Return how far a time is from now: ``in 3 h``, ``2 d 1 h ago``, ``now``."""
    if at is None:
        return NOTHING
    distance = at - now
    if abs(distance) < timedelta(seconds=1):
        return "now"
    return f"in {duration(distance)}" if distance > timedelta(0) else f"{duration(distance)} ago"


def words(name: str) -> str:
    """Return an identifier as words: ``purchase_order`` -> ``Purchase order``."""
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def reason(name: str) -> str:
    """Return a reason of an exception or a match in words."""
    return REASONS.get(name) or words(name)


def rule(name: str) -> str:
    """Return what a rule is called; one that is a step's code says what the step is about."""
    return RULES.get(name) or words(name.split(".", 1)[-1].replace(".", " "))


def key_text(key: Key) -> str:
    """Return a key with its type, and its scope where it has one: ``invoice INV-9 of V-7``."""
    kind = key.type.replace("_", " ")
    return f"{kind} {key.value} of {key.scope}" if key.scope else f"{kind} {key.value}"


def plural(number: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 step``, ``2 steps``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def safe_cell(value: object) -> str:
    """Return a value as a CSV cell that no spreadsheet runs as a formula. A number stays a number."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, bool | int | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    text = str(value)
    return f"'{text}" if text.lstrip(" \u00a0").startswith(FORMULA_STARTS) else text


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV (RFC 4180), every cell safe against formulas."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([safe_cell(cell) for cell in header])
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _signed(amount: Decimal, shown: str, currency: str) -> str:
    symbol = SYMBOLS.get(currency)
    text = f"{symbol}{shown}" if symbol else f"{currency} {shown}".strip()
    return f"−{text}" if amount < 0 else text
