"""Streams of Redis, read by the ids of their entries (XRANGE): no group takes part, and nothing is taken out."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from controltower.collector.scrapers.definition import MessageSource
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.redis_client import connected, entry_message, milliseconds_of
from controltower.collector.scrapers.stream import Entry, Json, gone

FIRST: Final = "0-0"


class Told(NamedTuple):
    """What Redis says of a stream."""

    length: int = 0
    last: str = FIRST  # the highest id that it ever gave
    added: int = 0  # entries since it was made
    first_ms: int = 0  # when its first entry was added


class RedisStream:
    """One stream."""

    def __init__(self, source: MessageSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._clock = clock
        self._client: Any = None
        self._after = FIRST
        self._base = 0  # entries that were gone, or passed over, before the first that we read
        self._seen = 0  # entries that we read behind those
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    @property
    def position(self) -> Json:
        """Return the id behind which is read, and how many entries lie before it."""
        return {"after": self._after, "base": self._base, "seen": self._seen}

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how many entries there are, and how old the first one is."""
        return self._levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what was removed before it was read."""
        return self._problems

    def begin(self, position: Json | None) -> None:
        """Connect, and go on behind *position*."""
        self._client = connected(self._source)
        told = self._ask()
        if position is not None:
            self._after, self._base, self._seen = position["after"], position["base"], position["seen"]
        elif self._source.begin == "end":
            self._after, self._base = told.last, told.added
        if position is None and self._source.begin == "beginning":
            self._base = told.added - told.length
        if _number(told.last) < _number(self._after):
            self._after, self._base, self._seen = FIRST, told.added - told.length, 0
            self._problems[self._source.queue] = (
                "was made anew, or lost entries at a failover: it is read from its first entry"
            )

    def read(self, most: int) -> tuple[list[Entry], bool]:
        """Return the entries behind the last one."""
        found = self._client.xrange(self._source.queue, min=f"({self._after}", count=most)
        if found:
            self._after = found[-1][0].decode()
            self._seen += len(found)
        entries = [Entry(id_.decode(), *entry_message(id_, fields, self._source)) for id_, fields in found]
        return entries, len(found) < most

    def look(self) -> None:
        """Ask how many entries there are, and whether we saw all that ever were."""
        told = self._ask()
        oldest_s = max(0, self._clock() // 10**9 - told.first_ms // 1000) if told.length else 0
        self._levels = (Level("depth", told.length, self._source.queue), Level("oldest", oldest_s, self._source.queue))
        if told.last == self._after and (missed := told.added - self._base - self._seen):
            self._base += missed
            if missed > 0:
                self._problems[self._source.queue] = gone(missed)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _ask(self) -> Told:
        """Return what Redis says of the stream; nothing of one that is not there yet."""
        if not self._client.exists(self._source.queue):
            return Told()
        info = self._client.xinfo_stream(self._source.queue)
        first = info["first-entry"]
        return Told(
            info["length"],
            info["last-generated-id"].decode(),
            info.get("entries-added", 0),
            milliseconds_of(first[0]) if first else 0,
        )


def _number(id_: str) -> tuple[int, int]:
    milliseconds, _, sequence = id_.partition("-")
    return int(milliseconds), int(sequence)
