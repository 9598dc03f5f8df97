"""Levels of NATS JetStream: of streams, and of their durable consumers."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from controltower.collector.scrapers.definition import QueueSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.nats_client import Nats
from controltower.collector.scrapers.observation import Level

MOST_QUEUES: Final = 1_000  # streams, and consumers of a stream


class NatsLevels:
    """Asks one account."""

    def __init__(self, source: QueueSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._clock = clock
        self._nats: Nats | None = None

    def ask(self) -> dict[str, list[Level]]:
        """Return the levels of each stream of the source that is there."""
        if self._nats is None:
            self._nats = Nats(self._source)
        return {info.config.name: list(self._levels(info)) for info in self._streams()}

    def close(self) -> None:
        """Close the connection."""
        nats, self._nats = self._nats, None
        if nats is not None:
            nats.close()

    def _all(self, ask: Callable[[int], Any]) -> list[Any]:
        """Return a list that the server gives in pieces."""
        assert self._nats is not None
        found: list[Any] = []
        while len(found) <= MOST_QUEUES:
            piece = self._nats.run(ask(len(found)))
            if not piece:
                return found
            found += piece
        raise QueueError(f"NATS has more than {MOST_QUEUES} streams, or consumers of a stream.")

    def _streams(self) -> Iterator[Any]:
        assert self._nats is not None
        for info in self._all(self._nats.streams.streams_info):
            if self._source.fits(info.config.name):
                yield info

    def _levels(self, info: Any) -> Iterator[Level]:
        assert self._nats is not None
        streams, stream = self._nats.streams, info.config.name
        yield Level("depth", info.state.messages, stream)
        yield Level("published", info.state.last_seq, stream)
        for told in self._all(lambda offset: streams.consumers_info(stream, offset)):
            if told.config.durable_name:  # others come and go with their connection
                yield from self._consumer(stream, told)

    def _consumer(self, stream: str, told: Any) -> Iterator[Level]:
        group = told.config.durable_name
        values = {
            "lag": told.num_pending,
            "held": told.num_ack_pending,
            "redelivered": told.num_redelivered,
            "delivered": told.delivered.consumer_seq,
            "acknowledged": told.ack_floor.consumer_seq,
            "oldest": self._oldest_s(stream, told) if told.num_pending or told.num_ack_pending else 0,
        }
        yield from (Level(name, value or 0, stream, group) for name, value in values.items())

    def _oldest_s(self, stream: str, told: Any) -> int:
        """Return the age of the first message that is not acknowledged."""
        from nats.js.errors import NotFoundError

        assert self._nats is not None
        subject = told.config.filter_subject or ">"
        ask = self._nats.streams.get_msg(stream, seq=told.ack_floor.stream_seq + 1, subject=subject, next=True)
        try:
            found = self._nats.run(ask)
        except NotFoundError:
            return 0  # acknowledged meanwhile
        return max(0, self._clock() // 10**9 - int(found.time.timestamp()))
