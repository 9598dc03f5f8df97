"""The parts of a running process, each opened with a client of its own for the thread that works with it."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from controltower.alerts.settings import AlertSettings
from controltower.alerts.worker import AlertWorker
from controltower.cli.loops import Opening, Work
from controltower.cli.opening import writable
from controltower.collector.report import Reporter
from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect, forgo_frames
from controltower.store.flows.publishing import EngineInForce
from controltower.store.lease import LeaseKeeper
from controltower.store.redacting import apply_redaction
from controltower.store.redaction import Redaction
from controltower.store.schema import migrate

logger = logging.getLogger(__name__)

ENGINE_LEASE: Final = "engine"
LEASE_LASTS: Final = timedelta(seconds=15)  # after a crash the successor waits as long
CYCLE_NEEDS: Final = timedelta(seconds=5)  # of the lease, before a cycle begins
LEASED_STEPS: Final = 20_000  # of a cycle under a lease, which should not outlast it


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the current time, aware and UTC."""
        return datetime.now(UTC)


class Connections:
    """Clients of one store, which is set up before the first is handed out. Safe to use from several threads."""

    def __init__(self, address: StoreAddress, *, migrates: bool, redaction: Redaction | None = None) -> None:
        """Put *redaction* in force before anything is handed out: what is loaded must not come before it."""
        forgo_frames()
        self._address = address
        self._redaction = redaction
        self._migrates = migrates
        self._lock = threading.Lock()
        self._ready = False

    @property
    def address(self) -> StoreAddress:
        """Where the store is."""
        return self._address

    @property
    def shared(self) -> bool:
        """Whether other processes may work on the same store."""
        return not self._address.embedded

    def open(self) -> Client:
        """Return a client for the calling thread. Raises StoreError, CommandError for a store that is not set up."""
        client = connect(self._address)
        try:
            self._set_up(client)
        except BaseException:
            client.close()
            raise
        return client

    def _set_up(self, client: Client) -> None:
        with self._lock:
            if self._ready:
                return
            if self._migrates:
                migrate(client)
            else:
                writable(client)
            if self._redaction is not None and apply_redaction(client, self._redaction):
                logger.info(
                    "the redaction policy %s version %s is in force", self._redaction.name, self._redaction.version
                )
            self._ready = True


def engine_opening(connections: Connections, clock: SystemClock) -> Opening:
    """Return how the engine is opened: a cycle is one round of its loop."""

    @contextmanager
    def opening() -> Iterator[Work]:
        with closing(connections.open()) as client:
            if not connections.shared:
                alone = EngineInForce(connections.address, client, clock.now)
                yield lambda: alone.run_cycle().more
                return
            engine = EngineInForce(connections.address, client, clock.now, steps_per_cycle=LEASED_STEPS)
            lease = LeaseKeeper(client, ENGINE_LEASE, _owner(), clock, LEASE_LASTS)

            def work() -> bool:
                if lease.hold(CYCLE_NEEDS):
                    return engine.run_cycle().more
                engine.stand_aside()
                return False

            try:
                yield work
            finally:
                lease.release()

    return opening


def alerts_opening(connections: Connections, settings: AlertSettings, clock: SystemClock) -> Opening:
    """Return how alerting is opened."""

    @contextmanager
    def opening() -> Iterator[Work]:
        with closing(connections.open()) as client, closing(AlertWorker(client, settings, clock)) as worker:
            yield lambda: worker.run_once().more

    return opening


def numbers_opening(connections: Connections, reporter: Reporter) -> Opening:
    """Return how the collector's numbers are written: one report is one round, and there is one more at the end."""

    @contextmanager
    def opening() -> Iterator[Work]:
        with closing(connections.open()) as client:

            def report() -> bool:
                reporter.report(client)
                return False

            yield report
            report()

    return opening


def _owner() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
