"""Options that commands share, and the types of their values."""

import re
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, _SubParsersAction
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Subparsers = _SubParsersAction[ArgumentParser]
else:
    Subparsers = _SubParsersAction

AGO_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
PORT_LIMIT: Final = 65_535


def add_command(subparsers: Subparsers, name: str, summary: str, description: str = "") -> ArgumentParser:
    """Add the parser of a command, with the options that every command has."""
    parser = subparsers.add_parser(name, help=summary, description=description or summary)
    _add_everywhere(parser)
    return parser


def add_action(actions: Subparsers, name: str, summary: str) -> ArgumentParser:
    """Add the parser of one action of a command; what every command takes may stand behind it, too."""
    parser = actions.add_parser(name, help=summary, description=summary)
    _add_everywhere(parser)
    return parser


def _add_everywhere(parser: ArgumentParser) -> None:
    """Add the options of every command, without defaults: an action must not undo what stood before it."""
    shared = parser.add_argument_group("everywhere")
    shared.add_argument("--data", metavar="DIR", default=SUPPRESS, help="data folder (CONTROLTOWER_DATA)")
    shared.add_argument(
        "--store",
        metavar="ADDRESS",
        default=SUPPRESS,
        help="chdb:///folder or clickhouse://user:password@host:8123/database (CONTROLTOWER_STORE)",
    )
    shared.add_argument(
        "--debug", action="store_true", default=SUPPRESS, help="show the details of an unexpected error"
    )


def add_json(parser: ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_range(parser: ArgumentParser) -> None:
    """Add ``--since`` and ``--until``."""
    form = "2026-03-01, 2026-03-01T08:30:00Z, or how long ago: 24h, 7d"
    parser.add_argument("--since", type=moment, metavar="TIME", help=f"from this time on: {form}")
    parser.add_argument("--until", type=moment, metavar="TIME", help="up to this time, in the same forms")


def span(text: str) -> timedelta:
    """Return a length of time: 30m, 24h, 90d, 2w."""
    length = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if not length:
        raise ArgumentTypeError(f"{text!r} is not a length of time; use 30m, 24h or 90d")
    return timedelta(**{AGO_UNITS[length[2]]: int(length[1])})


def moment(text: str, now: datetime | None = None) -> datetime:
    """Return the time that *text* means, aware and UTC: a date, RFC 3339, or how long ago."""
    ago = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if ago:
        return (now or datetime.now(UTC)) - timedelta(**{AGO_UNITS[ago[2]]: int(ago[1])})
    try:
        parsed = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a time; use 2026-03-01, 2026-03-01T08:30:00Z, 24h or 7d") from None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def decimal(text: str) -> Decimal:
    """Return a finite decimal."""
    try:
        value = Decimal(text.replace(",", ""))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ArgumentTypeError(f"{text!r} is not an amount; use 1250.00")
    return value


def port(text: str) -> int:
    """Return a port number; 0 lets the system choose."""
    if not text.isdigit() or int(text) > PORT_LIMIT:
        raise ArgumentTypeError(f"{text!r} is not a port; use a number up to {PORT_LIMIT}")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number above zero."""
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
