"""Dead letters in a list of Redis, as job queues keep them: read by place (LRANGE), and nothing is taken out.

What is pushed or popped meanwhile moves all places, so a look is one answer of the server, of bounded size.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from controltower.collector.scrapers.dead_letters import Json, Seen
from controltower.collector.scrapers.definition import DeadLetterSource
from controltower.collector.scrapers.message import Message
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.redis_client import connected

MOST_SEEN: Final = 20_000  # messages that are looked at; those behind them are told of as a problem
MOST_BYTES: Final = 64 * 1024 * 1024  # of them, by what Redis says of a sample
SAMPLED: Final = 20


class RedisList:
    """One list."""

    def __init__(self, source: DeadLetterSource) -> None:
        self._source = source
        self._client: Any = None
        self._waiting: deque[bytes] = deque()
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    def begin(self) -> int:
        """Read the list, and return how many messages were."""
        if self._client is None:
            self._client = connected(self._source)
        queue = self._source.queue
        length = self._client.llen(queue)
        self._levels = (Level("depth", length, queue),)
        self._problems.clear()
        mean = (self._client.memory_usage(queue, SAMPLED) or 0) // max(1, length) + 1
        most = max(1, min(MOST_SEEN, MOST_BYTES // mean))
        if length > most:
            self._problems[queue] = f"holds {length} messages; the first {most} are read"
        self._waiting.extend(self._client.lrange(queue, 0, most - 1))
        return len(self._waiting)

    def next(self) -> Seen | None:
        """Return the next message."""
        return Seen(Message(), self._waiting.popleft()) if self._waiting else None

    def end(self, left: int) -> None:
        """There is nothing to put back."""

    def restore(self, saved: Json) -> None:
        """Nothing else is saved than what was read."""

    def state(self) -> Json:
        """Return nothing else than what was read."""
        return {}

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how long the list is."""
        return self._levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return whether a part of it is not read."""
        return self._problems

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        self._waiting.clear()
        if client is not None:
            client.close()
