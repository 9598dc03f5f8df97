"""Publishing a flow: history is evaluated under it in a shadow, and then the shadow takes the store's place at once.

Meanwhile the engine goes on by the flows in force, and readers see nothing else. The engine itself takes over, between two
cycles: the shadow catches up with the last spans, and its tables change places with the store's in one statement.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime

from clickhouse_connect.driver.client import Client

from controltower.store.address import StoreAddress
from controltower.store.flows.definition import Flow
from controltower.store.flows.engine import STEPS_PER_CYCLE, CycleReport, Engine
from controltower.store.flows.files import parse_flow
from controltower.store.flows.neighbourhood import Neighbourhood
from controltower.store.flows.published import (
    Watched,
    flow_versions,
    flows_in_force,
    overlaid,
    published_since,
    waiting,
)
from controltower.store.flows.schedules import Schedules
from controltower.store.flows.scraped import ScrapedSources
from controltower.store.flows.sequences import Sequences
from controltower.store.flows.shadow import (
    DERIVED,
    drop_abandoned,
    drop_shadow,
    exchange,
    keep,
    left_to_exchange,
    make_shadow,
    open_shadow,
)
from controltower.store.queries import named, statement
from controltower.store.reads.fetch import fetch_records
from controltower.store.rows import FlowVersion, Publication
from controltower.store.write import insert

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # steps done, steps in all


def evaluate(client: Client, flows: Sequence[Flow], now: Callable[[], datetime], progress: Progress) -> None:
    """Bring a shadow to what *flows* make of all that is stored. Blocks; raises the engine's errors."""
    total = int(fetch_records(client, named("count_steps"))[0]["steps"])
    engine = Engine(client, flows, now)
    done, more = 0, True
    while more:
        report = engine.run_cycle()
        done, more = done + report.steps, report.more
        progress(done, max(done, total))


def kept(client: Client, shadows: Iterable[str], now: Callable[[], datetime], progress: Progress) -> Progress:
    """Return *progress* that also says that the *shadows* are worked on."""
    names = tuple(shadows)

    def say(done: int, total: int) -> None:
        for name in names:
            keep(client, name, now())
        progress(done, total)

    return say


def drop_left(client: Client, database: str, now: datetime) -> None:
    """Remove what a comparison or a publication that was killed left behind."""
    ready = waiting(flow_versions(client))
    for name in drop_abandoned(client, database, now, [ready.shadow] if ready else []):
        logger.warning("removed %s, which a comparison or publication of flows left behind when it was cut off", name)


def prepare(
    address: StoreAddress,
    client: Client,
    flow: Flow,
    text: str,
    *,
    user: str,
    shadow: str,
    now: Callable[[], datetime],
    progress: Progress,
) -> FlowVersion:
    """Evaluate history under *flow* in a new shadow and say that it is ready to be taken over."""
    snapshot = Neighbourhood(client).newest_version()
    flows = overlaid(flows_in_force(client), [flow])
    with closing(make_shadow(address, client, shadow, now())) as changed:
        try:
            evaluate(changed, flows, now, kept(client, [shadow], now, progress))
        except BaseException:
            drop_shadow(client, shadow)
            raise
    ready = FlowVersion(flow.flow, flow.version, Publication.READY, text, shadow, snapshot, user, now())
    insert(client, [ready])
    return ready


def take_over(address: StoreAddress, client: Client, ready: FlowVersion, now: Callable[[], datetime]) -> None:
    """Put a shadow in the store's place. Only for who runs the engine, between two cycles.

    What was cut off is run again: rows that are copied twice replace each other, and tables that changed places are known.
    """
    own, shadow = address.database, ready.shadow
    left = left_to_exchange(client, own, shadow)
    if len(left) == len(DERIVED):
        with closing(open_shadow(address, shadow)) as changed:
            flows = overlaid(flows_in_force(client), [parse_flow(ready.text, ready.flow)])
            evaluate(changed, flows, now, lambda *_: None)
            version = Neighbourhood(changed).newest_version() + 1
        names = {"own": own, "shadow": shadow, "snapshot": ready.snapshot, "version": version}
        client.command(statement("publish_history"), parameters=names)
        client.command(statement("publish_exceptions"), parameters=names)
    exchange(client, own, shadow, left)
    insert(client, [replace(ready, state=Publication.PUBLISHED, at=now())])
    drop_shadow(client, shadow)
    logger.info("flow %s version %s is in force", ready.flow, ready.version)


class EngineInForce:
    """The engine by the flows in force: takes over what is ready, and goes on by what was published, by whomever."""

    def __init__(
        self,
        address: StoreAddress,
        client: Client,
        now: Callable[[], datetime],
        *,
        steps_per_cycle: int = STEPS_PER_CYCLE,
    ) -> None:
        self._address = address
        self._client = client
        self._now = now
        self._limit = steps_per_cycle
        self._seen = -1
        self._engine: Engine | None = None
        self._flows: tuple[Flow, ...] = ()
        self._scraped = ScrapedSources(client, now)
        self._sequences = Sequences(client, now)
        self._schedules = Schedules(client, now)
        self._published_since: Mapping[tuple[str, str, str], datetime] = {}

    def run_cycle(self) -> CycleReport:
        """Run one cycle, after taking over what is ready."""
        if self._engine is None or self._count() != self._seen:
            self._engine = self._newest()
        engine = self._engine
        report = engine.run_cycle()
        if not report.more:  # while there is more to do nobody is known to be silent
            self._scraped.look()
            self._sequences.look(self._flows)
            watched = Watched(self._published_since, engine.in_force_at)
            self._schedules.look(self._flows, watched, engine.circumstances, engine.version)
        return report

    def stand_aside(self) -> None:
        """Let another engine work: the next cycle goes on from what that one stored."""
        self._engine = None
        self._scraped = ScrapedSources(self._client, self._now)
        self._sequences = Sequences(self._client, self._now)

    def _newest(self) -> Engine:
        if (ready := waiting(flow_versions(self._client))) is not None:
            take_over(self._address, self._client, ready, self._now)
        drop_left(self._client, self._address.database, self._now())
        self._seen = self._count()
        self._flows = flows_in_force(self._client)
        self._schedules = Schedules(self._client, self._now)
        self._published_since = published_since(flow_versions(self._client), self._flows)
        return Engine(self._client, self._flows, self._now, steps_per_cycle=self._limit)

    def _count(self) -> int:
        return int(fetch_records(self._client, named("count_flow_versions"))[0]["versions"])
