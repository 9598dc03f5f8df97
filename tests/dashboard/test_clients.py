"""Readers are lent to one page at a time, kept where that harms nobody, and replaced when they die."""

from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from controltower.dashboard.clients import KEPT, Clients
from controltower.dashboard.settings import Settings
from controltower.store.address import StoreAddress
from controltower.store.errors import NoTablesError, StoreError, StoreUnavailableError


@pytest.fixture
def server_settings(server_address: StoreAddress, tmp_path: Path) -> Settings:
    """Settings of a dashboard over a real server's default database."""
    return Settings(tmp_path, f"clickhouse://{server_address.host}:{server_address.port}/default")


def test_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Looking at a data folder without a store makes none; the page says that nothing is there."""
    clients = Clients(Settings(tmp_path / "data"))

    with pytest.raises(NoTablesError):
        clients.read(lambda client: client.query("SELECT 1"))

    assert not (tmp_path / "data").exists()


def test_embedded_folder_is_given_back_after_each_answer(store_client: Client, store_address: StoreAddress) -> None:
    """No connection to the folder itself is kept."""
    clients = Clients(Settings(Path("unused"), str(store_address)))

    first = clients.read(lambda client: client)
    second = clients.read(lambda client: client)

    assert first is not second


@pytest.mark.server
def test_connection_to_a_server_is_kept(server_settings: Settings) -> None:
    """The next page uses the connection of the one before, and no more than a few are kept."""
    clients = Clients(server_settings)

    def nested(depth: int) -> set[int]:
        return clients.read(lambda client: {id(client)} | (nested(depth - 1) if depth else set()))

    assert clients.read(lambda client: client) is clients.read(lambda client: client)
    assert len(nested(KEPT + 2)) == KEPT + 3
    assert len(nested(0)) == 1
    clients.close()
    clients.close()


@pytest.mark.server
def test_dead_connection_is_replaced_once(server_settings: Settings) -> None:
    """A kept connection that died is replaced; one that dies at once is an error."""
    clients = Clients(server_settings)
    kept = clients.read(lambda client: client)

    def fails_on_the_kept(client: Client) -> str:
        if client is kept:
            raise StoreUnavailableError("gone")
        return "answered"

    def fails(client: Client) -> str:
        raise StoreUnavailableError("still away")

    assert clients.read(fails_on_the_kept) == "answered"
    with pytest.raises(StoreUnavailableError, match="still away"):
        clients.read(fails)
    clients.close()


@pytest.mark.server
def test_connection_of_a_refused_read_is_not_used_again(server_settings: Settings) -> None:
    """After any error the next read starts from a clean connection."""
    clients = Clients(server_settings)
    seen = clients.read(lambda client: client)

    def refused(client: Client) -> None:
        raise StoreError("no")

    with pytest.raises(StoreError):
        clients.read(refused)
    assert clients.read(lambda client: client) is not seen
    clients.close()
