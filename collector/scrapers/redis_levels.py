"""Levels of Redis: of streams and their groups, and the length of lists."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from controltower.collector.scrapers.definition import QueueSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.redis_client import connected, milliseconds_of

MOST_QUEUES: Final = 1_000
SCANNED: Final = 1_000  # keys at a time
PENDING: Final = 1_000  # entries of a group that are looked at for redeliveries


class RedisLevels:
    """Asks one database."""

    def __init__(self, source: QueueSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._clock = clock
        self._client: Any = None

    def ask(self) -> dict[str, list[Level]]:
        """Return the levels of each queue of the source that is there."""
        if self._client is None:
            self._client = connected(self._source)
        queues = list(islice(self._queues(), MOST_QUEUES + 1))
        if len(queues) > MOST_QUEUES:
            raise QueueError(f"More than {MOST_QUEUES} keys of Redis fit the names of the source.")
        found = {queue: list(self._levels(queue)) for queue in queues}
        return {queue: levels for queue, levels in found.items() if levels}

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _queues(self) -> Iterator[str]:
        yield from self._source.exact
        for pattern in self._source.wildcards:
            for type_ in ("stream", "list"):
                found = self._client.scan_iter(match=pattern, count=SCANNED, _type=type_)
                yield from (key.decode() for key in found)

    def _levels(self, queue: str) -> Iterator[Level]:
        match self._client.type(queue):
            case b"list":
                yield Level("depth", self._client.llen(queue), queue)
            case b"stream":
                yield from self._stream(queue)
            case b"none":
                return
            case other:
                raise QueueError(f"{queue} is no stream and no list of Redis, but a {other.decode()}.")

    def _stream(self, queue: str) -> Iterator[Level]:
        info = self._client.xinfo_stream(queue)
        yield Level("depth", info["length"], queue)
        if "entries-added" in info:  # since Redis 7
            yield Level("published", info["entries-added"], queue)
        for group in self._client.xinfo_groups(queue):
            yield from self._group(queue, group)

    def _group(self, queue: str, told: Any) -> Iterator[Level]:
        group = told["name"].decode()

        def level(name: str, value: int) -> Level:
            return Level(name, value, queue, group)

        yield level("held", told["pending"])
        yield level("consumers", told["consumers"])
        for name, key in (("lag", "lag"), ("delivered", "entries-read")):
            if isinstance(told.get(key), int):  # Redis does not know it of a group that was set to an id
                yield level(name, told[key])
        pending = self._client.xpending_range(queue, group, "-", "+", PENDING) if told["pending"] else []
        yield level("redelivered", sum(each["times_delivered"] > 1 for each in pending))
        waiting = self._client.xrange(queue, min=f"({told['last-delivered-id'].decode()}", count=1)
        ids = [each["message_id"] for each in pending[:1]] + [id_ for id_, _ in waiting]
        oldest = min(map(milliseconds_of, ids), default=None)
        yield level("oldest", 0 if oldest is None else max(0, self._clock() // 10**9 - oldest // 1000))
