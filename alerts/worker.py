"""The loop: read what changed, decide, record, send. One cycle can be cut off anywhere and simply runs again.

Decisions are recorded before their notifications, and a decision without its notification is found at the next start,
so nothing is lost between the two. A notification that was sent and not recorded as sent goes out again, with its id.
"""

import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from controltower.alerts.causes import WITHIN, beginning, follow, shared
from controltower.alerts.channels import open_channels
from controltower.alerts.decide import Decision, Policy, Reason, decide, repeat
from controltower.alerts.delivery import enqueue
from controltower.alerts.evaluate import dedup_key
from controltower.alerts.feed import Feed
from controltower.alerts.outbound import Door
from controltower.alerts.sender import Sender, Sent
from controltower.alerts.settings import AlertSettings
from controltower.store.alert_rows import Alert
from controltower.store.client import Client
from controltower.store.lease import Clock, LeaseKeeper
from controltower.store.outbox import (
    Due,
    alerts_by_key,
    alone,
    open_causes,
    orphans,
    record,
    tallies,
    to_repeat,
)
from controltower.store.rows import ExceptionRow

logger = logging.getLogger(__name__)

LEASE: Final = "alerts"
LEASE_LASTS: Final = timedelta(seconds=30)
CYCLE_NEEDS: Final = timedelta(
    seconds=20
)  # of the lease, before anything is decided or sent: an attempt and its record
PAGES_PER_CYCLE: Final = 3  # then what is due is sent, and the next cycle reads on
REPEATS_EVERY: Final = timedelta(minutes=1)
INTERVAL_S: Final = 1.0
LOG_EVERY_S: Final = 60.0  # a failure that repeats


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one cycle did."""

    read: int = 0
    decisions: Mapping[Reason, int] = field(default_factory=dict)
    repaired: int = 0
    outbox: Sent = field(default_factory=Sent)
    standby: bool = False  # another worker has the lease
    more: bool = False  # there is more to read at once


class AlertWorker:
    """Tells one receiver about exceptions. Belongs to the thread that made it, with a client of its own."""

    def __init__(
        self,
        client: Client,
        settings: AlertSettings,
        clock: Clock,
        *,
        door: Door | None = None,
        owner: str | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        channels = open_channels(settings, door or Door(settings.allow))
        self._channel = channels[0] if channels else None
        self._sender = Sender(client, channels[0], clock, settings.per_minute) if channels else None
        self._feed = Feed(client)
        self._lease = LeaseKeeper(client, LEASE, owner or _owner(), clock, LEASE_LASTS)
        self._repaired = -1  # the lease's term in which what a predecessor left behind was put right
        self._repeated_at: datetime | None = None
        self.failures = 0

    @property
    def endpoint(self) -> str | None:
        """A name of the receiver without its secrets; nothing when there is none."""
        return self._channel.endpoint if self._channel else None

    def run_once(self) -> CycleReport:
        """Do one cycle. Blocks while it sends, at most about 40 s; raises StoreError when the store does not answer."""
        now = self._clock.now()
        news = self._feed.has_news(now)
        ready = self._sender.due(now) if self._sender else Due((), 0)
        waiting = self._sender.idle(ready) if self._sender else Sent()
        if not (news or ready.ids or self._repaired != self._lease.since or self._is_time(now)):
            return CycleReport(outbox=waiting)
        if not self._lease.hold(CYCLE_NEEDS):
            return CycleReport(outbox=waiting, standby=True)
        try:
            return self._work(now, news=news)
        except BaseException:
            self._repaired = -1
            raise

    def run(self, stop: threading.Event) -> None:
        """Do a cycle every second until *stop* is set. A failing cycle is logged, counted and done again."""
        logged_at = float("-inf")
        try:
            while not stop.is_set():
                try:
                    report = self.run_once()
                except Exception:
                    self.failures += 1
                    report = CycleReport()
                    if time.monotonic() - logged_at >= LOG_EVERY_S:
                        logged_at = time.monotonic()
                        logger.exception("an alert cycle failed (%d so far); it is done again", self.failures)
                if not report.more:
                    stop.wait(INTERVAL_S)
        finally:
            self.close()

    def close(self) -> None:
        """Let another worker go on at once. Can be called twice; what is queued stays in the store."""
        try:
            self._lease.release()
        except Exception:
            logger.exception("the alert worker's lease was not released; it ends by itself")

    def _work(self, now: datetime, *, news: bool) -> CycleReport:
        repaired = self._repair(now) if self._repaired != self._lease.since else 0
        decided: Counter[Reason] = Counter()
        read, more = 0, news
        for _ in range(PAGES_PER_CYCLE):
            if not more or not self._lease.hold(CYCLE_NEEDS):
                break
            rows = self._feed.page()
            decided += self._decide(rows, now)
            read, more = read + len(rows), self._feed.done()
        if self._repeats_due(now):
            decided += self._repeat(now)
        return CycleReport(read, dict(decided), repaired, self._send(now), more=more)

    def _decide(self, rows: list[ExceptionRow], now: datetime) -> Counter[Reason]:
        told = [row for row in rows if self._settings.rule.selects(row)]
        before = alerts_by_key(self._client, map(dedup_key, told))
        policy = self._policy(now)
        decisions = [decide(before.get(dedup_key(row)), row, policy) for row in told]
        version = max((row.version for row in told), default=0)
        decisions = self._shared(decisions, policy, version)
        changed = [*before.values(), *(decision.alert for decision in decisions if decision.alert is not None)]
        decided = self._keep(decisions)
        return decided + self._follow({alert.cause for alert in changed if alert.cause}, policy, version)

    def _shared(self, decisions: list[Decision], policy: Policy, version: int) -> list[Decision]:
        """Leave what several have in common to one alert."""
        new = beginning(decisions)
        if not policy.least or not new:
            return decisions
        flows = {alert.flow for alert in new}
        causes = open_causes(self._client, flows)
        since = min(alert.opened_at for alert in new) - WITHIN
        others = alone(self._client, flows, {alert.rule for alert in new}, since)
        return shared(decisions, causes, others, policy, version)

    def _follow(self, causes: AbstractSet[str], policy: Policy, version: int) -> Counter[Reason]:
        """Decide about the *causes* some of whose members changed. Members first: after a crash between the two they are
        read again, and their causes are looked at again."""
        if not causes:
            return Counter()
        known, now = alerts_by_key(self._client, causes), tallies(self._client, causes)
        return self._keep([follow(known[key], now[key], policy, version) for key in sorted(known.keys() & now.keys())])

    def _repeat(self, now: datetime) -> Counter[Reason]:
        self._repeated_at = now
        policy = self._policy(now)
        return self._keep(
            [repeat(alert, policy) for alert in to_repeat(self._client, now, self._settings.repeat_every)]
        )

    def _keep(self, decisions: list[Decision]) -> Counter[Reason]:
        """Record decisions, then their notifications: in this order a crash between the two can be put right."""
        alerts = [decision.alert for decision in decisions if decision.alert is not None]
        record(self._client, alerts)
        self._enqueue([decision.alert for decision in decisions if decision.alert is not None and decision.notifies])
        return Counter(decision.reason for decision in decisions)

    def _repair(self, now: datetime) -> int:
        """Write the notifications that a predecessor decided and did not write; all of them before the next decision."""
        repaired = 0
        while self._channel is not None and (found := orphans(self._client, now)):
            self._enqueue(found)
            repaired += len(found)
        self._repaired = self._lease.since
        return repaired

    def _enqueue(self, alerts: list[Alert]) -> None:
        if self._channel is not None:
            record(self._client, [enqueue(alert, self._channel.name, self._settings.dashboard_url) for alert in alerts])

    def _send(self, now: datetime) -> Sent:
        if self._sender is None:
            return Sent()
        self._sender.expire(now)
        return self._sender.send(self._sender.due(self._clock.now()), lambda: self._lease.hold(CYCLE_NEEDS))

    def _is_time(self, now: datetime) -> bool:
        """Whether something is to be done because of the time alone."""
        return self._repeats_due(now) or (self._sender is not None and self._sender.expiry_is_due(now))

    def _repeats_due(self, now: datetime) -> bool:
        if not self._settings.repeat_every or self._channel is None:
            return False
        return self._repeated_at is None or not timedelta(0) <= now - self._repeated_at < REPEATS_EVERY

    def _policy(self, now: datetime) -> Policy:
        return Policy(now, self._settings.max_age, self._channel is not None, self._settings.group)


def _owner() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
