"""Stores for the pages: filled, and empty."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import streamlit as st
from clickhouse_connect.driver.client import Client

from controltower.dashboard.settings import DATA_VARIABLE, STORE_VARIABLE
from controltower.store.address import StoreAddress
from tests.dashboard.scenario import fill


@pytest.fixture(autouse=True)
def _main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's test runner makes its page the main module, which a process spawned by a later test would then run."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def now() -> datetime:
    """The present, because the pages show ages."""
    return datetime.now(UTC)


@pytest.fixture
def empty_store(
    store_address: StoreAddress, store_client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> Iterator[Client]:
    """A migrated store without data that the pages read."""
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(STORE_VARIABLE, str(store_address))
    yield store_client
    st.cache_resource.clear()


@pytest.fixture
def filled_store(empty_store: Client, now: datetime) -> Client:
    """A store with something of everything."""
    fill(empty_store, now)
    return empty_store
