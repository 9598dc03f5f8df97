"""Readers of the store for the pages: each used by one thread at a time, a few kept open."""

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from controltower.dashboard.settings import Settings
from controltower.store.address import embedded_address, parse_address
from controltower.store.client import Client
from controltower.store.errors import NoTablesError, StoreUnavailableError
from controltower.store.runtime import open_store, running

T = TypeVar("T")

KEPT = 4  # idle connections: pages read one after the other, and few people look at the same second


class Clients:
    """Lends readers of one store.

    Connections to a server or to a running ``serve`` are kept. The embedded folder is opened for one answer and given
    back at once, so that a dashboard nobody closed does not keep ``serve`` from starting.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: list[Client] = []
        self._lock = Lock()

    def read(self, question: Callable[[Client], T]) -> T:
        """Return the answer to *question*; asks once more on a new connection when a kept one turns out dead."""
        kept = self._kept()
        if kept is not None:
            try:
                answer = question(kept)
            except StoreUnavailableError:
                kept.close()
            except BaseException:
                kept.close()
                raise
            else:
                self._keep(kept)
                return answer
        client, keeps = self._open()
        try:
            answer = question(client)
        except BaseException:
            client.close()
            raise
        if keeps:
            self._keep(client)
        else:
            client.close()
        return answer

    def close(self) -> None:
        """Close the connections that are kept; can be called twice."""
        while (client := self._kept()) is not None:
            client.close()

    def _kept(self) -> Client | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, client: Client) -> None:
        with self._lock:
            if len(self._idle) < KEPT:
                self._idle.append(client)
                return
        client.close()

    def _open(self) -> tuple[Client, bool]:
        """Return a client, and whether it may be kept."""
        settings = self._settings
        address = parse_address(settings.store) if settings.store else embedded_address(settings.data / "store")
        served = not address.embedded or running(settings.data) is not None
        if not served and address.path is not None and not address.path.exists():
            raise NoTablesError("Nothing has been stored here yet.")
        return open_store(settings.data, settings.store, role="reader"), served
