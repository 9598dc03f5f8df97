"""Endpoints to talk to: one of ours for the run, and a real server beside it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import connect
from tests.store.endpoint.served import Served, served_endpoint


@pytest.fixture(scope="session")
def endpoint_port(embedded: Callable[[str], StoreAddress]) -> Iterator[Served]:
    """One endpoint for the whole run; tests bring their own databases."""
    with served_endpoint(embedded("endpoint_default")) as served:
        yield served


@pytest.fixture
def endpoint(endpoint_port: Served, store_address: StoreAddress) -> Served:
    """The endpoint, with a fresh database of this test."""
    connect(store_address).close()
    return replace(endpoint_port, database=store_address.database)


@pytest.fixture(params=["endpoint", pytest.param("server", marks=pytest.mark.server)])
def served(request: pytest.FixtureRequest) -> Served:
    """The endpoint, and a real ClickHouse server that it must agree with."""
    if request.param == "endpoint":
        ours: Served = request.getfixturevalue("endpoint")
        return ours
    address: StoreAddress = request.getfixturevalue("server_address")
    connect(address).close()
    return Served(address.host, address.port, address.database, "default", "", None, None)
