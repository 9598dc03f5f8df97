"""Text for people: tables, money, times and durations. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from controltower.store.rows import Correction, CorrectionAction

GAP: Final = "  "
MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400


def table(
    rows: Sequence[Sequence[str]], *, head: Sequence[str] = (), right: Sequence[int] = (), indent: str = ""
) -> str:
    """Return *rows* as aligned columns; those whose numbers are in *right* are aligned to the right."""
    lines = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    if not lines:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def shown(line: list[str]) -> str:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return (indent + GAP.join(cells)).rstrip()

    return "\n".join(map(shown, lines))


def section(title: str, body: str) -> str:
    """Return a titled block; nothing when it would be empty."""
    return f"\n{title}\n{body}" if body else ""


def amount(value: Decimal | None) -> str:
    """Return an amount with two decimals at least and no needless zeros: 1,250.00 or 0.0375."""
    if value is None:
        return ""
    return f"{plain(value, places=2):,}"


def plain(value: Decimal, places: int = 0) -> Decimal:
    """Return *value* without trailing zeros beyond *places* decimals."""
    digits = value.normalize()
    exponent = digits.as_tuple().exponent
    if isinstance(exponent, int) and exponent > -places:
        return digits.quantize(Decimal(1).scaleb(-places))
    return digits


def money(value: Decimal | None, currency: str) -> str:
    """Return an amount with its currency."""
    return f"{amount(value)} {currency}".strip() if value is not None else ""


def when(at: datetime | None) -> str:
    """Return a time to the second, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def correction_text(correction: Correction) -> str:
    """Return a correction as a sentence, with who said it, when and why."""
    words = {
        CorrectionAction.CUT: "cut from",
        CorrectionAction.CONFIRM: "confirmed with",
        CorrectionAction.WAIVE: "waived for",
        CorrectionAction.UNDO: f"undone ({correction.undoes}):",
    }
    key, other = correction.key, correction.other
    if correction.of_deadline:
        undone = f"undone ({correction.undoes}): " if correction.undoes else ""
        what = f"{undone}{other.value!r}{f' of {other.scope}' if other.scope else ''} of {key.type} {key.value} waived"
        return f"{correction.id}: {what} by {correction.user}, {when(correction.at)} UTC: {correction.reason}"
    one = f"step {correction.trace_id}/{correction.span_id}" if correction.of_step else f"{key.type} {key.value}"
    what = f"{one} {words[correction.action]} {other.type} {other.value}"
    return f"{correction.id}: {what} by {correction.user}, {when(correction.at)} UTC: {correction.reason}"


def lasting(span: timedelta) -> str:
    """Return a duration with its two largest units: 3 d 4 h, 12 min, 0 s."""
    seconds = abs(int(span.total_seconds()))
    units = (("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", 1))
    parts: list[tuple[int, str]] = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count or (parts and len(parts) < 2):
            parts.append((count, name))
    shown = [f"{count} {name}" for count, name in parts[:2] if count]
    return " ".join(shown) or "0 s"
