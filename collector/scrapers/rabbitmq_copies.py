"""Copies of what an exchange of RabbitMQ gets: a durable queue of our own, bound beside those of others."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from controltower.collector.scrapers.definition import TapSource
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.rabbitmq import connected, disconnect, levels_of, message_of
from controltower.collector.scrapers.tap import Delivered


class RabbitCopies:
    """One queue of copies."""

    def __init__(self, source: TapSource) -> None:
        self._source = source
        self._connection: Any = None
        self._channel: Any = None
        self.waiting: deque[Delivered] = deque()
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    def begin(self, most: int) -> None:
        """Make the queue and its bindings where they are not there, and ask for its messages."""
        source = self._source
        self._connection = connected(source)
        channel = self._connection.channel()
        channel.queue_declare(source.queue, durable=True, arguments={"x-max-length": source.most})
        for key in source.routing_keys:
            channel.queue_bind(source.queue, source.exchange, key)
        told = channel.queue_declare(source.queue, passive=True).method
        self._levels = levels_of(source.queue, told)
        if told.message_count >= source.most:
            self._problems[source.queue] = f"was full ({source.most} messages): the broker dropped the oldest ones"
        channel.basic_qos(prefetch_count=most)
        channel.basic_consume(source.queue, self._take)
        self._channel = channel

    def receive(self, most: int) -> int:
        """Take what was delivered, and return how many more wait at the broker where nothing was."""
        self._connection.process_data_events(time_limit=0)
        if self.waiting:
            return 0  # not asked: there is something to do
        told = self._channel.queue_declare(self._source.queue, passive=True).method
        self._levels = levels_of(self._source.queue, told)
        self._connection.process_data_events(time_limit=0)  # what was delivered before the answer
        return int(told.message_count)

    def give_up(self, tags: Sequence[int]) -> None:
        """Give messages up."""
        self._channel.basic_ack(tags[-1], multiple=True)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full the queue is."""
        return self._levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return whether the broker dropped copies."""
        return self._problems

    def close(self) -> None:
        """Let go of what was not given up: the broker delivers it again."""
        connection, self._connection, self._channel = self._connection, None, None
        self.waiting.clear()
        if connection is not None:
            disconnect(connection)

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.waiting.append(Delivered(method.delivery_tag, method.redelivered, message_of(method, properties), body))
