"""Times as systems write them, read into nanoseconds since 1970. A format is ``iso``, a name below, or that of strptime."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controltower.collector.scrapers.errors import Rejection

Clock = Callable[[], int]
"""Nanoseconds since 1970."""

ReadTime = Callable[[str], int]

NAMED: Final = ("iso", "unix", "unix_ms", "unix_us", "unix_ns", "access_log", "syslog", "compact")
UNIX_DIGITS: Final = {"unix": 0, "unix_ms": 3, "unix_us": 6, "unix_ns": 9}
REMEMBERED: Final = 4_096  # texts; lines of one second share theirs

_COMPACT: Final = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?(?:([+-])([0-9]{2})([0-9]{2}))?"
)
_DAY_DIGITS: Final = 8
_HOUR: Final = re.compile("%[HIXcs]")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_BEHIND: Final = ("", "Z", "+", "-")  # what can follow the seconds of a time
_AHEAD: Final = timedelta(days=2)  # a syslog line of 31 December that is read in January is of last year


def zone_of(name: str) -> tzinfo:
    """Return the zone of an IANA *name*; ValueError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError(f"{name!r} is not an IANA time zone such as America/New_York") from exc


def time_reader(form: str, zone: tzinfo, clock: Clock) -> ReadTime:
    """Return what reads a time of *form*; one without a zone of its own is of *zone*. It raises Rejection."""
    if form in UNIX_DIGITS:
        return _unix(UNIX_DIGITS[form])
    if form == "syslog":
        return _remembering(lambda text: _syslog(text, zone, clock))
    if form == "access_log":
        return _remembering(_access_log)
    if form == "compact":
        return _remembering(lambda text: _nanoseconds(_compact(text), zone))
    if form == "iso":
        return _iso_reader(zone)
    return _remembering(lambda text: _nanoseconds(datetime.strptime(text, form), zone))  # noqa: DTZ007 - zone follows


def check_form(form: str) -> str:
    """Return *form*; ValueError when no time could be read by it."""
    if form in NAMED:
        return form
    try:
        written = datetime(2026, 3, 9, 14, 5, 6, tzinfo=UTC).strftime(form)
        datetime.strptime(written, form)  # noqa: DTZ007 - only whether it can be read
    except (ValueError, TypeError) as exc:
        raise ValueError(f"is no format of a time: {exc}") from None
    if "%" not in form:
        raise ValueError(f"is neither one of {', '.join(NAMED)} nor a format of strptime such as %Y-%m-%d %H:%M:%S")
    return form


def has_hour(form: str, text: str) -> bool:
    """Whether a *text* of *form* names a time of day, and not a day alone."""
    if form == "iso":
        return ":" in text or "T" in text
    if form == "compact":
        return len(text.strip()) > _DAY_DIGITS
    return form in NAMED or _HOUR.search(form) is not None


def day(at_ns: int, zone: tzinfo) -> str:
    """Return the day of a time in *zone*, as RFC 3339 writes it."""
    return (_EPOCH + timedelta(microseconds=at_ns // 1000)).astimezone(zone).date().isoformat()


def rfc3339(at_ns: int) -> str:
    """Return a time as text in UTC, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=at_ns // 1000)).isoformat()


def _remembering(read: ReadTime) -> ReadTime:
    def named(text: str) -> int:
        try:
            return read(text)
        except (ValueError, OverflowError, KeyError, IndexError):
            raise Rejection("bad_time") from None

    return lru_cache(REMEMBERED)(named)


def _iso_reader(zone: tzinfo) -> ReadTime:
    whole = _remembering(lambda text: _nanoseconds(_iso(text), zone))

    def read(text: str) -> int:
        # Lines of one second share theirs: its thousandths are taken out first.
        thousandths, behind = text[20:23], text[23:]
        if text[19:20] in (".", ",") and len(thousandths) == 3 and thousandths.isdecimal() and behind[:1] in _BEHIND:
            return whole(text[:19] + behind) + int(thousandths) * 1_000_000
        return whole(text)

    return read


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(text.strip().replace(",", "."))


def _nanoseconds(moment: datetime, zone: tzinfo) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    since = moment - _EPOCH
    if since.days < 0:
        raise ValueError
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def _unix(digits: int) -> ReadTime:
    def read(text: str) -> int:
        whole, _, fraction = text.strip().partition(".")
        if not (whole.isdecimal() and len(whole) < 20) or (fraction and not fraction.isdecimal()):
            raise Rejection("bad_time")
        return int(f"{whole}{fraction[: 9 - digits].ljust(9 - digits, '0')}")

    return read


def _access_log(text: str) -> int:
    """10/Oct/2026:13:55:36 -0700."""
    moment = datetime(
        int(text[7:11]),
        _MONTHS[text[3:6]],
        int(text[:2]),
        int(text[12:14]),
        int(text[15:17]),
        int(text[18:20]),
        tzinfo=UTC,
    )
    sign = {"+": 1, "-": -1}[text[21]]
    offset = timedelta(hours=int(text[22:24]), minutes=int(text[24:26]))
    return _nanoseconds(moment - sign * offset, UTC)


def _compact(text: str) -> datetime:
    """20261103, 202611031312, 20261103131244.250-0500: as many digits as there are."""
    found = _COMPACT.fullmatch(text.strip())
    if found is None:
        raise ValueError
    year, month, day, hour, minute, second = (int(found[at] or (at in (2, 3))) for at in range(1, 7))
    fraction = int((found[7] or "").ljust(6, "0"))
    moment = datetime(year, month, day, hour, minute, second, fraction)  # noqa: DTZ001 - the zone follows
    if found[8] is None:
        return moment
    offset = timedelta(hours=int(found[9]), minutes=int(found[10]))
    return moment.replace(tzinfo=timezone(-offset if found[8] == "-" else offset))


def _syslog(text: str, zone: tzinfo, clock: Clock) -> int:
    """Oct  9 22:14:15: of the latest year in which it is not ahead; or RFC 3339, which newer daemons write."""
    if text[:1].isdigit():
        return _nanoseconds(_iso(text), zone)
    now = _EPOCH + timedelta(microseconds=clock() // 1000)
    month, day, time = text.split()
    hour, minute, second = time.split(":")
    whole, _, fraction = second.partition(".")
    for year in (now.year + 1, now.year, now.year - 1):
        try:
            moment = datetime(year, _MONTHS[month], int(day), int(hour), int(minute), int(whole), tzinfo=zone)
        except ValueError:
            if (month, day) != ("Feb", "29"):
                raise
            continue
        if moment <= now + _AHEAD:
            return _nanoseconds(moment + timedelta(microseconds=int(fraction[:6].ljust(6, "0") or 0)), zone)
    raise ValueError
