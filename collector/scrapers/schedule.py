"""What is expected, as a kind of source: a record for each time of a calendar, whether anything comes then or not.

The flow's deadlines tell whether it came: a run, or a file, that names the same slot meets them.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from controltower.collector.scrapers.definition import ScheduleSource, TimeSpec
from controltower.collector.scrapers.observation import PASSED, Fields, HoldsNothing, Record, Taken
from controltower.collector.scrapers.slots import between, slot_of
from controltower.collector.scrapers.times import zone_of

MOST_RECORDS: Final = 1_000  # of one look
LONGEST_BACK: Final = timedelta(days=31)  # that was missed while nothing ran; of what is older nobody is told late


class ScheduleReader(HoldsNothing):
    """Yields the times that came since the last look. For one thread."""

    def __init__(self, source: ScheduleSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._zone = zone_of(source.time_zone)
        self._clock = clock
        self._after: datetime | None = None  # at the first start nothing of the past is expected

    @staticmethod
    def times(source: ScheduleSource) -> list[TimeSpec]:
        """Return where the time of a record is."""
        return [TimeSpec(field="slot")]

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on behind what was saved."""
        self._after = datetime.fromisoformat(saved["after"])

    def state(self) -> dict[str, Any]:
        """Return up to when times were read."""
        return {"after": self._after.isoformat() if self._after else ""}

    def read(self) -> Taken:
        """Return the times that came, oldest first."""
        now = datetime.fromtimestamp(self._clock() // 10**9, UTC)
        if self._after is None:
            self._after = now
            return Taken([Record("", b"0", part=PASSED)], caught_up=True)  # so that the beginning is saved
        after = max(self._after, now - LONGEST_BACK)
        slots = [*islice(between(self._source.cron, after, now, self._zone, self._source.holidays), MOST_RECORDS)]
        if slots:
            self._after = slots[-1].astimezone(UTC)
        return Taken([self._record(slot) for slot in slots], caught_up=len(slots) < MOST_RECORDS)

    def _record(self, slot: datetime) -> Record:
        fields = {"slot": slot_of(slot), "day": slot.date().isoformat(), "hour": f"{slot:%H:%M}"}
        grace_s = self._source.grace.span.total_seconds()
        return Record(fields["slot"], json.dumps({**fields, "grace_s": f"{grace_s:.0f}"}).encode())

    def parse(self, record: Record) -> Fields:
        """Return the fields of a record."""
        fields: dict[str, str] = json.loads(record.content)
        return fields

    def behind(self) -> int:
        """Return 0: a time takes no room."""
        return 0

    @property
    def problems(self) -> dict[str, str]:
        """Return nothing: a calendar can be read."""
        return {}

    def close(self) -> None:
        """Nothing is open."""
