"""Looking for slots of schedules that were missed: the steps are read once, and then those that are new."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import gcd
from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.flows.deadlines import Circumstances
from controltower.store.flows.definition import Flow, SlaRule
from controltower.store.flows.engine import SETTLING
from controltower.store.flows.missed import KIND, Came, Looked, answers, as_stored, changes, most
from controltower.store.flows.published import Watched
from controltower.store.flows.schedule import MINUTE, Slot
from controltower.store.flows.told import Often, known
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch
from controltower.store.rows import UNKNOWN_SINCE, ExceptionRow, Key
from controltower.store.write import insert

LOOK_EVERY_S: Final = 60.0
CAME_LIMIT: Final = 1_000_000  # the latest; there are a few for each slot, but where slots are at odd times
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(slots=True)
class _Read:
    """What was read of a rule's steps: up to which version, and when the first came that is of no slot yet."""

    version: int = 0
    came: dict[tuple[str, datetime], datetime] = field(default_factory=dict)
    ahead: datetime | None = None


class Schedules:
    """Looks for slots that were missed, again and again. For one thread."""

    def __init__(
        self, client: Client, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._now = now
        self._often = Often(LOOK_EVERY_S, monotonic)
        self._started_at = now()
        self._known: dict[str, dict[Key, ExceptionRow]] = {}
        self._read: dict[tuple[str, str], _Read] = {}

    def look(self, flows: Iterable[Flow], watched: Watched, around: Circumstances, version: int) -> None:
        """Write which slots of *flows* were missed, and which were answered late; at most once in ``LOOK_EVERY_S``. All steps up to
        *version* are stored. Raises StoreError."""
        if not self._often.is_due():
            return
        now = self._now()
        for flow in flows:
            if flow.flow not in self._known:
                self._known[flow.flow] = known(self._client, flow.flow, KIND)
            before = self._known[flow.flow]
            looked = {rule.name: self._look(flow, rule, watched, now, version) for rule in flow.sla if rule.every}
            written = changes(flow, looked, around, before, now)
            if now - self._started_at < SETTLING:
                written = [row for row in written if row.is_deleted or row.resolved_at is not None]
            insert(self._client, written)
            before |= {row.anchor: row for row in written}

    def _look(self, flow: Flow, rule: SlaRule, watched: Watched, now: datetime, version: int) -> Looked:
        since = {subject: watched.since(flow, rule, subject) for subject in rule.subjects}
        slots, end = flow.schedules[rule.name].slots(min(since.values()), now, most(rule))
        read = self._read.setdefault((flow.flow, rule.name), _Read())
        if read.ahead is not None and read.ahead < end:  # a step that gave a later time is of a slot now
            read.version, read.ahead = 0, None
        rows = self._came(flow, rule, slots, end, read.version)
        ahead = [row.at for row in rows if row.at >= end]
        read.ahead = min([*ahead, *filter(None, [read.ahead])], default=None)
        earlier = {place: at for place, at in read.came.items() if place[1] >= slots[0].opens}
        read.came = answers(slots, end, rows, earlier)
        read.version = version
        return Looked(slots, since, read.came)

    def _came(
        self, flow: Flow, rule: SlaRule, slots: Sequence[Slot], end: datetime, after_version: int
    ) -> Sequence[Came]:
        stage, each = flow.stage_by_name[rule.to], rule.each
        names = as_stored(flow, rule)
        query = named(
            "engine_came",
            flow=flow.flow,
            step=stage.step,
            outcomes=list(stage.outcomes),
            context=each.context if each and each.context else "",
            key=each.key if each and each.key else "",
            subjects=list(names),
            after_version=after_version,
            since=(slots[0].opens - UNKNOWN_SINCE) // _MICROSECOND,
            grain_us=grain(slots, end) // _MICROSECOND,
            limit=CAME_LIMIT,
        )
        return [replace(row, subject=names[row.subject]) for row in fetch(self._client, query, Came)]


def grain(slots: Sequence[Slot], end: datetime) -> timedelta:
    """Return the longest time that, counted from the first of *slots* on, none of them opens within, nor what is behind them at *end*."""
    return gcd(*((opens - slots[0].opens) // MINUTE for opens in (end, *(slot.opens for slot in slots)))) * MINUTE
