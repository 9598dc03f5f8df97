"""Dead letters of RabbitMQ: a classic queue is looked through, and all of it stays there in its order.

Messages are taken by a consumer, held until the last one was seen, and given back together by closing the connection.
A classic queue puts each where it was, and takes no longer for ten thousand than for one, which it does when they are
fetched one by one (basic.get). A quorum queue does not, and counts each look as a delivery until it gives the message
up; so one is recognised by its first message and left alone. Looking does set the flag ``redelivered``.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from controltower.collector.scrapers.dead_letters import Json, Seen
from controltower.collector.scrapers.definition import DeadLetterSource
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.rabbitmq import connected, disconnect, levels_of, message_of

MOST_HELD: Final = 60_000  # messages that are looked at; those behind them are told of as a problem
STALLED_S: Final = 2.0  # without a message: the rest is not for us
COUNT: Final = "x-delivery-count"
QUORUM: Final = (
    "is a quorum queue: looking through it changes its order and uses up its delivery limit. "
    "Bind a queue of your own to the dead-letter exchange with kind: tap"
)


class RabbitShelf:
    """One queue."""

    def __init__(self, source: DeadLetterSource, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._quorum = False
        self._connection: Any = None
        self._waiting: deque[Seen] = deque()
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    def begin(self) -> int | None:
        """Begin to look, and return how many messages there are to be seen."""
        self._connection = connected(self._source)
        channel = self._connection.channel()
        told = channel.queue_declare(self._source.queue, passive=True).method
        self._levels = levels_of(self._source.queue, told)
        self._problems.clear()
        there: int = min(told.message_count, MOST_HELD)
        if told.message_count > MOST_HELD:
            self._problems[self._source.queue] = f"holds more than {MOST_HELD} messages; the first ones are read"
        if there and not self._quorum and not self._is_still(channel):
            self.close()
            return None
        if not there or self._quorum:
            return 0
        channel.basic_qos(prefetch_count=there)
        behind_others = {"x-priority": -100}
        channel.basic_consume(self._source.queue, self._take, arguments=behind_others)
        return there

    def next(self) -> Seen | None:
        """Return the next message; None when others are faster, or the only ones that get any."""
        until_s = self._monotonic() + STALLED_S
        while not self._waiting and (left_s := until_s - self._monotonic()) > 0:
            self._connection.process_data_events(time_limit=left_s)
        return self._waiting.popleft() if self._waiting else None

    def end(self, left: int) -> None:
        """Give everything back at once, as a connection that breaks does."""
        if left:
            self._problems[self._source.queue] = f"{left} messages were not handed out; another consumer has them"
        self.close()

    def restore(self, saved: Json) -> None:
        """Go on with what was saved."""
        self._quorum = saved["quorum"]

    def state(self) -> Json:
        """Return whether it is a queue that is left alone."""
        return {"quorum": self._quorum}

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full the queue is."""
        return self._levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return why the queue, or a part of it, cannot be read."""
        return {self._source.queue: QUORUM} if self._quorum else self._problems

    def close(self) -> None:
        """Let go of what is held: the broker puts it back."""
        connection, self._connection = self._connection, None
        self._waiting.clear()
        if connection is not None:
            disconnect(connection)

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._waiting.append(Seen(message_of(method, properties), body))

    def _is_still(self, channel: Any) -> bool:
        """Return whether a message that goes back comes again, and note whether with one delivery more: as quorum queues
        count them. Another one comes when somebody takes messages out just now.
        """
        seen = []
        for _ in range(2):
            method, properties, body = channel.basic_get(self._source.queue)
            if method is None:
                return False
            count = (properties.headers or {}).get(COUNT)
            seen.append((message_of(method, properties).content(body), count if isinstance(count, int) else 0))
            channel.basic_reject(method.delivery_tag, requeue=True)  # a nack is not counted by all versions
        (content, count), (again, recount) = seen
        self._quorum = content == again and count < recount
        return content == again
