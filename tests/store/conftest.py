"""The endpoint as its clients meet it: a real HTTP server in front of the embedded engine of the test run."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import clickhouse_connect
import pytest
import uvicorn

from controltower.store.address import StoreAddress, parse_address
from controltower.store.client import Client, connect
from controltower.store.endpoint import Credentials, Endpoint, Limits, build_endpoint
from tests.conftest import DATABASE_NUMBERS
from tests.databases import migrated
from tests.store.otlp import Loading

CREDENTIALS = Credentials("writer", "w-secret", "reader", "r-secret")


@dataclass(frozen=True, slots=True)
class Served:
    """A ClickHouse interface over HTTP that tests talk to: ours or a server's."""

    host: str
    port: int
    database: str
    user: str
    password: str
    reader: tuple[str, str] | None  # a server of the tests has one user only
    endpoint: Endpoint | None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def auth(self) -> tuple[str, str]:
        return self.user, self.password

    def client(self, **options: Any) -> Client:
        """Return a client as anybody would make it."""
        given = {"username": self.user, "password": self.password, "database": self.database, **options}
        return clickhouse_connect.get_client(host=self.host, port=self.port, **given)


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[int]:
    """Run a server for the endpoint on a free port of loopback; gives the port."""
    config = uvicorn.Config(endpoint, host="127.0.0.1", port=0, log_level="critical", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    started = threading.Event()
    while not server.started and thread.is_alive():
        started.wait(0.01)
    assert server.started, "the server did not start"
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def served_endpoint(address: StoreAddress, limits: Limits | None = None) -> Iterator[Served]:
    """Serve *address* for the length of the block."""
    endpoint = build_endpoint(address, CREDENTIALS, instance="test-instance", limits=limits)
    with serving(endpoint) as port:
        yield Served("127.0.0.1", port, address.database, "writer", "w-secret", ("reader", "r-secret"), endpoint)


@pytest.fixture(scope="session")
def endpoint_port(embedded: Callable[[str], StoreAddress]) -> Iterator[Served]:
    """One endpoint for the whole run; tests bring their own databases."""
    with served_endpoint(embedded("endpoint_default")) as served:
        yield served


@pytest.fixture
def endpoint(endpoint_port: Served, store_address: StoreAddress) -> Served:
    """The endpoint, with a fresh database of this test."""
    connect(store_address).close()
    return Served(
        endpoint_port.host,
        endpoint_port.port,
        store_address.database,
        endpoint_port.user,
        endpoint_port.password,
        endpoint_port.reader,
        endpoint_port.endpoint,
    )


@pytest.fixture(params=["endpoint", pytest.param("server", marks=pytest.mark.server)])
def served(request: pytest.FixtureRequest) -> Served:
    """The endpoint, and a real ClickHouse server that it must agree with."""
    if request.param == "endpoint":
        ours: Served = request.getfixturevalue("endpoint")
        return ours
    address: StoreAddress = request.getfixturevalue("server_address")
    connect(address).close()
    return Served(address.host, address.port, address.database, "default", "", None, None)


@pytest.fixture(scope="module", params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def loading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loading]:
    """A migrated store of the module and a folder for segments, embedded and on a server; tokens tell tests apart."""
    name = f"load_{os.getpid()}_{next(DATABASE_NUMBERS)}"
    if request.param == "embedded":
        embedded: Callable[[str], StoreAddress] = request.getfixturevalue("embedded")
        address = embedded(name)
    else:
        address = parse_address(request.getfixturevalue("clickhouse_server").address(name))
    with migrated(address) as client:
        yield Loading(client, tmp_path_factory.mktemp("segments"), count(1))
