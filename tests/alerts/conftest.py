"""A receiver, and a worker that tells it about what stands in the store."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any  # keyword overrides of settings have no common type

import pytest

from controltower.alerts.settings import AlertSettings, read_settings
from controltower.alerts.worker import AlertWorker
from controltower.store.client import Client
from controltower.store.rows import ExceptionRow
from controltower.store.write import insert
from tests.alerts.receiver import Receiver, receiving
from tests.conftest import ManualClock
from tests.factories import exception

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on loopback that answers 200 unless told otherwise."""
    with receiving() as running:
        yield running


@pytest.fixture
def settings(receiver: Receiver) -> AlertSettings:
    """Settings that name the receiver."""
    return read_settings(
        {},
        webhook_url=receiver.url,
        webhook_secret=SECRET,
        webhook_allow="127.0.0.1",
        dashboard_url="http://tower.example:8501",
    )


class Bench:
    """A store, a receiver, a clock and workers over them."""

    def __init__(self, client: Client, settings: AlertSettings, clock: ManualClock) -> None:
        self.client = client
        self.settings = settings
        self.clock = clock
        self._versions = 0

    def worker(self, owner: str = "first", **changes: Any) -> AlertWorker:
        """Return a worker, with changed settings where given."""
        return AlertWorker(self.client, replace(self.settings, **changes), self.clock, owner=owner)

    def write(self, *rows: ExceptionRow) -> None:
        """Write exceptions as the engine does, each cycle with a later version."""
        self._versions += 1
        version = int(self.clock.now().timestamp()) * 1_000_000_000 + self._versions
        insert(self.client, [replace(row, version=version) for row in rows])

    def open(self, **values: Any) -> ExceptionRow:
        """Write an exception that opened a minute ago, and return it."""
        row = exception(**{"opened_at": self.clock.now() - timedelta(minutes=1), **values})
        self.write(row)
        return row

    def resolve(self, row: ExceptionRow) -> None:
        """Write that *row* is over."""
        self.write(replace(row, resolved_at=self.clock.now()))

    def retract(self, row: ExceptionRow) -> None:
        """Write that *row* was never true."""
        self.write(replace(row, is_deleted=True))


@pytest.fixture
def bench(any_store: Client, settings: AlertSettings, clock: ManualClock) -> Bench:
    """A bench over each kind of store."""
    return Bench(any_store, settings, clock)


@pytest.fixture
def embedded_bench(store_client: Client, settings: AlertSettings, clock: ManualClock) -> Bench:
    """A bench over the embedded engine, for what does not depend on the kind of store."""
    return Bench(store_client, settings, clock)
