"""Fixtures that every package's tests share: a manual clock, the embedded engine, a real server, a browser page.

The store's modules are imported inside the fixtures, so a test that needs no store does not load the engine.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.clickhouse_server import ClickHouseServer, ServerUnavailableError, running

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from controltower.store.address import StoreAddress
    from controltower.store.client import Client

# How long an example takes says how busy the machine is, and nothing of the product.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
DATABASE_NUMBERS = count(1)
MIGRATED = frozenset(
    {"any_store", "server_store", "store_client"}
)  # the fixtures of tests that start from a migrated database
LOW_DESCRIPTORS = 32
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime = MONDAY) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the current time, aware and UTC."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move the clock forward."""
        self._now += by

    def set(self, to: datetime) -> None:
        """Put the clock to a moment."""
        self._now = to


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that start processes: a long one begun last would keep all other workers waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


_held: list[int] = []


def pytest_sessionstart() -> None:
    """Hold some of the lowest descriptors, before the embedded engine opens a thousand."""
    _held.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(LOW_DESCRIPTORS))


@pytest.fixture
def low_descriptors() -> Iterator[None]:
    """Descriptors below 1,024, for libraries that wait by ``select``, which knows no others."""
    while _held:
        os.close(_held.pop())
    yield
    _held.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(LOW_DESCRIPTORS))


@contextmanager
def many_open_files() -> Iterator[None]:
    """More files are open for the length of the block than ``select`` knows descriptors."""
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)


def missing(reason: str) -> None:
    """Skip visibly because a real part is missing; fail where nothing may be missing."""
    if IN_CI:
        pytest.fail(f"{reason} (CI is set, so nothing may be missing)")
    pytest.skip(reason)


@pytest.fixture
def clock() -> ManualClock:
    """A manual clock that stands at a Monday morning."""
    return ManualClock()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own CONTROLTOWER_* and OTEL_* variables out of the tests."""
    for name in [name for name in os.environ if name.startswith(("CONTROLTOWER_", "OTEL_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The database of this test: a name of its own, or the one that migrated databases are handed on under."""
    if MIGRATED.isdisjoint(request.fixturenames):
        return database_for(request.node.name)
    return f"t{os.getpid()}_migrated"


def database_for(name: str) -> str:
    """Return a database name that was not given out before."""
    readable = re.sub(r"\W+", "_", name).strip("_").lower()[:40]
    return f"t{os.getpid()}_{next(DATABASE_NUMBERS)}_{readable}"


@pytest.fixture(scope="session")
def embedded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the embedded engine: one per process, because the engine opens no second one."""
    return tmp_path_factory.mktemp("embedded") / "store"


@pytest.fixture(scope="session")
def embedded(embedded_folder: Path) -> "Callable[[str], StoreAddress]":
    """The embedded engine of this test run: database name -> its store address."""
    from controltower.store.address import parse_address

    return lambda database: replace(parse_address(f"chdb://{embedded_folder}"), database=database)


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A real ClickHouse server for the whole run; skips when it cannot be had, fails in CI."""
    try:
        with running(tmp_path_factory.mktemp("clickhouse") / "data") as server:
            yield server
    except ServerUnavailableError as exc:
        missing(str(exc))


@pytest.fixture
def store_address(embedded: "Callable[[str], StoreAddress]", database: str) -> "StoreAddress":
    """The address of a fresh database in the embedded engine."""
    return embedded(database)


@pytest.fixture
def server_address(clickhouse_server: ClickHouseServer, database: str) -> "StoreAddress":
    """The address of a fresh database on a real ClickHouse server."""
    from controltower.store.address import parse_address

    return parse_address(clickhouse_server.address(database))


@pytest.fixture
def store_client(store_address: "StoreAddress") -> "Iterator[Client]":
    """A client on a fresh, migrated database of the embedded engine."""
    from tests.databases import migrated

    with migrated(store_address, handed_on=True) as client:
        yield client


@pytest.fixture
def server_store(server_address: "StoreAddress") -> "Iterator[Client]":
    """A client on a fresh, migrated database of a real ClickHouse server."""
    from tests.databases import migrated

    with migrated(server_address, handed_on=True) as client:
        yield client


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def any_address(request: pytest.FixtureRequest) -> "StoreAddress":
    """The address of a fresh database: once embedded, once on a real server."""
    name = "store_address" if request.param == "embedded" else "server_address"
    address: StoreAddress = request.getfixturevalue(name)
    return address


@pytest.fixture
def any_store(any_address: "StoreAddress") -> "Iterator[Client]":
    """A client on a fresh, migrated database: once embedded, once on a real server."""
    from tests.databases import migrated

    with migrated(any_address, handed_on=True) as client:
        yield client


@pytest.fixture
def page() -> "Iterator[Page]":
    """A page of a headless Chromium; skips when there is no browser, fails in CI.

    Started per test: a running Playwright keeps an event loop in the thread, which other tests must not meet.
    """
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        missing("Chromium is not installed")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_OPTIONS)
        try:
            yield browser.new_page(viewport={"width": 1440, "height": 900})
        finally:
            browser.close()
