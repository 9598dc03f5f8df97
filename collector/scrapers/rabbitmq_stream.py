"""Streams of RabbitMQ (``x-queue-type: stream``), read by offset: they keep what was read, for whoever else reads them."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from controltower.collector.scrapers.definition import MessageSource
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.rabbitmq import connected, disconnect, levels_of, message_of
from controltower.collector.scrapers.stream import MOST_MESSAGES, Entry, Json, gone

WAIT_S: Final = 0.5  # for messages: a broker does not say whether there are any
OFFSET: Final = "x-stream-offset"  # asked for, and told of each message


class RabbitStream:
    """One stream."""

    def __init__(self, source: MessageSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._connection: Any = None
        self._channel: Any = None
        self._waiting: deque[tuple[int, int, Entry]] = deque()  # tag, offset, message
        self._after: int | None = None  # None: nothing was read yet
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    @property
    def position(self) -> Json | None:
        """Return the offset behind which is read."""
        return None if self._after is None else {"after": self._after}

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how many messages there are."""
        return self._levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what was removed before it was read."""
        return self._problems

    def begin(self, position: Json | None) -> None:
        """Connect, and go on behind *position*."""
        self._connection = connected(self._source)
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=MOST_MESSAGES)
        if position is not None:
            self._after = position["after"]
        offset = "first" if self._after is None else self._after + 1
        self._channel.basic_consume(self._source.queue, self._take, arguments={OFFSET: offset})

    def read(self, most: int) -> tuple[list[Entry], bool]:
        """Return the messages behind the last one."""
        if not self._waiting:
            self._connection.process_data_events(time_limit=WAIT_S)
        entries: list[Entry] = []
        tag = 0
        while self._waiting and len(entries) < most:
            tag, offset, entry = self._waiting.popleft()
            if self._after is not None and offset > self._after + 1:
                self._problems[self._source.queue] = gone(offset - self._after - 1)
            if self._after is None or offset > self._after:
                self._after = offset
                entries.append(entry)
        if tag:
            self._channel.basic_ack(tag, multiple=True)  # more are handed out then; the stream keeps all of them
        return entries, not tag

    def look(self) -> None:
        """Ask how many messages there are."""
        told = self._channel.queue_declare(self._source.queue, passive=True).method
        self._levels = levels_of(self._source.queue, told)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        self._waiting.clear()
        if connection is not None:
            disconnect(connection)

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        offset = properties.headers[OFFSET]
        entry = Entry(str(offset), message_of(method, properties), body)
        self._waiting.append((method.delivery_tag, offset, entry))
