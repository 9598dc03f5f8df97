"""The endpoint as its clients meet it: a real HTTP server in front of the embedded engine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import clickhouse_connect
import uvicorn

from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.store.endpoint import Credentials, Endpoint, Limits, build_endpoint

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
    config = uvicorn.Config(
        endpoint, host="127.0.0.1", port=0, log_level="critical", lifespan="on", timeout_graceful_shutdown=1
    )
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
