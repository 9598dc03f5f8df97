"""NATS JetStream: a connection for a thread that has no event loop of its own."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from controltower.collector.scrapers.definition import BrokerSource
from controltower.collector.scrapers.errors import AddressError

logger = logging.getLogger(__name__)

PAUSE_S: Final = 0.5  # before the second attempt
TIMEOUT_S: Final = 10
T = TypeVar("T")


class Nats:
    """A connection. It is never made again by itself: what breaks is told, and the source is opened anew."""

    def __init__(self, source: BrokerSource) -> None:
        """Connect; AddressError, or an error of the library."""
        try:
            import nats
        except ImportError:
            raise AddressError("NATS needs nats-py: pip install 'controltower[queues]'.") from None
        self._loop = asyncio.new_event_loop()
        try:
            self.client: Any = self.run(
                nats.connect(
                    source.address(),
                    allow_reconnect=False,
                    max_reconnect_attempts=1,  # of the first connection, too: otherwise two minutes of them
                    reconnect_time_wait=PAUSE_S,
                    connect_timeout=TIMEOUT_S,
                    error_cb=_told,
                    name="controltower scrape",
                    **source.settings(),
                )
            )
        except BaseException:
            self._loop.close()
            raise
        self.streams: Any = self.client.jetstream(timeout=TIMEOUT_S)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what comes of *work*."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Close the connection, which may be broken."""
        try:
            self.run(self.client.close())
        finally:
            self._loop.close()


async def _told(error: Exception) -> None:
    logger.debug("the connection to NATS: %r", error)  # what it comes to is raised where it is used
