"""When a schedule expects something: the times of a cron expression, in its zone and without holidays. Pure."""

import os
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

LOCALTIME: Final = "/etc/localtime"
_MINUTE: Final = timedelta(minutes=1)


def check_cron(text: str) -> str:
    """Return *text* when it is a cron expression of five fields; ValueError says what is wrong."""
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as exc:
        raise ValueError(f"is no cron expression such as 0 2 * * 1-5: {exc}") from None
    return text


def between(
    cron: str, after: datetime, until: datetime, zone: tzinfo, holidays: Collection[date] = ()
) -> Iterator[datetime]:
    """Yield the times after *after*, up to and with *until*, oldest first, in *zone*."""
    for slot in CronSim(cron, after.astimezone(zone)):
        if slot > until:
            return
        if slot.date() not in holidays:
            yield slot


def latest(cron: str, at: datetime, zone: tzinfo) -> datetime | None:
    """Return the last time up to *at*; None when there was none for decades."""
    next_minute = (at.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE).astimezone(zone)
    return next(CronSim(cron, next_minute, reverse=True), None)


def zone_of_machine() -> tzinfo:
    """Return the zone that cron uses here: of ``TZ``, or of the system; its present offset when it has no name."""
    name = os.environ.get("TZ", "").removeprefix(":") or os.path.realpath(LOCALTIME).partition("zoneinfo/")[2]
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.now().astimezone().tzinfo or UTC


def slot_of(at: datetime) -> str:
    """Return the name of a time, the same in all zones: ``2026-11-03T07:00:00Z``."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
