"""Dead letters of RabbitMQ, as a kind of source: a queue is looked through, and all of it stays there in its order.

Messages are taken by a consumer, held until the last one was seen, and given back together by closing the connection.
A classic queue puts each where it was, and takes no longer for ten thousand than for one, which it does when they are
fetched one by one (basic.get). A quorum queue does not, and counts each look as a delivery until it gives the message
up; so one is recognised by its first message and left alone. Looking does set the flag ``redelivered``.
"""

import base64
import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from controltower.collector.scrapers.definition import DeadLetterSource, TimeSpec
from controltower.collector.scrapers.log_formats import FORMATS
from controltower.collector.scrapers.message import DEATHS, LONGEST_BYTES, TOO_LONG, fields_of, plain
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Level, Record, Taken
from controltower.collector.scrapers.rabbitmq import connected, disconnect, levels_of, message_of

MOST_BYTES: Final = 1024 * 1024  # of one batch, one message more
MOST_RECORDS: Final = 20_000
MOST_HELD: Final = 60_000  # messages that are looked at; those behind them are told of as a problem
DIGEST_BYTES: Final = 8
STALLED_S: Final = 2.0  # without a message: the rest is not for us
COUNT: Final = "x-delivery-count"
QUORUM: Final = (
    "is a quorum queue: looking through it changes its order and uses up its delivery limit. "
    "Bind a queue of your own to the dead-letter exchange with kind: tap"
)

Json = dict[str, Any]


class DeadLetterReader(HoldsNothing):
    """Looks through one queue. For one thread."""

    def __init__(
        self, source: DeadLetterSource, clock: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._clock = clock
        self._monotonic = monotonic
        self._parse = FORMATS[source.format].parse
        self._every_s = source.every.span.total_seconds()
        self._due_s = monotonic()
        self._known: set[bytes] = set()  # digests of what is in the queue and was read
        self._met: set[bytes] = set()  # in this look
        self._alike: Counter[bytes] = Counter()
        self._quorum = False
        self._connection: Any = None
        self._channel: Any = None
        self._left = 0
        self._waiting: deque[tuple[Any, Any, bytes]] = deque()
        self._levels: tuple[Level, ...] = ()
        self._oldest_s: int | None = None
        self._problems: dict[str, str] = {}

    # -- the contract

    @staticmethod
    def times(source: DeadLetterSource) -> list[TimeSpec]:
        """Return where the times of messages are: when they died, else when they were sent."""
        return [TimeSpec(field=name, format="unix") for name in ("dead.time", "message.time")]

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._quorum = saved["quorum"]
        packed = base64.b64decode(saved["known"])
        self._known = {packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES)}

    def state(self) -> Json:
        """Return what of the queue was read, to be saved."""
        packed = b"".join(sorted(self._known | self._met))
        return {"quorum": self._quorum, "known": base64.b64encode(packed).decode()}

    def read(self) -> Taken:
        """Return messages that were not there at the last look, in the order of the queue."""
        if self._channel is None and (self._monotonic() < self._due_s or not self._begin()):
            return Taken([], caught_up=True)
        records: list[Record] = []
        used = 0
        while self._left and used < MOST_BYTES and len(records) < MOST_RECORDS:
            if not self._waiting and not self._receive():
                break
            self._left -= 1
            if (record := self._met_one(*self._waiting.popleft())) is not None:
                records.append(record)
                used += len(record.content)
        else:
            if self._left:
                return Taken(records, caught_up=False)
        self._end()
        return Taken(records, caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of a message; Rejection when its body does not have the form that the source says."""
        return fields_of(record.content, self._source.encoding, self._parse)

    def behind(self) -> int:
        """Return 0: a broker does not say how many bytes there are."""
        return 0

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full the queue is."""
        return self._levels

    @property
    def problems(self) -> dict[str, str]:
        """Return why the queue, or a part of it, cannot be read."""
        return {self._source.queue: QUORUM} if self._quorum else self._problems

    def close(self) -> None:
        """Let go of what is held: the broker puts it back."""
        connection, self._connection, self._channel = self._connection, None, None
        self._waiting.clear()
        if connection is not None:
            disconnect(connection)

    # -- one look

    def _begin(self) -> bool:
        """Begin to look, and return whether there is anything to see."""
        self._due_s = self._monotonic() + self._every_s
        self._connection = connected(self._source)
        channel = self._connection.channel()
        told = channel.queue_declare(self._source.queue, passive=True).method
        self._levels = (*levels_of(self._source.queue, told), Level("oldest", 0, self._source.queue))
        self._left = min(told.message_count, MOST_HELD)
        self._problems.clear()
        if told.message_count > MOST_HELD:
            self._problems[self._source.queue] = f"holds more than {MOST_HELD} messages; the first ones are read"
        if self._left and not self._quorum:
            self._quorum = self._counts(channel)
        self._met.clear()
        self._alike.clear()
        self._oldest_s = None
        if self._quorum or not told.message_count:
            self._known.clear()
        if self._quorum or not self._left:
            self.close()
            return False
        channel.basic_qos(prefetch_count=self._left)
        behind_others = {"x-priority": -100}
        channel.basic_consume(self._source.queue, lambda _, *each: self._waiting.append(each), arguments=behind_others)
        self._channel = channel
        return True

    def _counts(self, channel: Any) -> bool:
        """Return whether the queue counts deliveries, as quorum queues do: a message that goes back comes with one more."""
        seen = []
        for _ in range(2):
            method, properties, body = channel.basic_get(self._source.queue)
            if method is None:
                self._left = 0
                return False
            count = (properties.headers or {}).get(COUNT)
            seen.append((message_of(method, properties).content(body), count if isinstance(count, int) else 0))
            channel.basic_reject(method.delivery_tag, requeue=True)  # a nack is not counted by all versions
        if seen[0][0] != seen[1][0]:
            self._left = 0  # somebody takes messages out just now: nothing can be told before the next look
            return False
        return seen[0][1] < seen[1][1]

    def _met_one(self, method: Any, properties: Any, body: bytes) -> Record | None:
        """Note a message, and return its record when it was not read before."""
        message = message_of(method, properties)
        content = message.content(body)
        alike = hashlib.sha256(content).digest()[:DIGEST_BYTES]
        number = self._alike[alike]
        self._alike[alike] += 1
        digest = hashlib.sha256(b"%b%d" % (alike, number)).digest()[:DIGEST_BYTES]
        self._met.add(digest)
        self._age(plain((properties.headers or {}).get(DEATHS)), message.time)
        if digest in self._known:
            return None
        place = f"{self._source.queue}:{number}"
        if len(body) > LONGEST_BYTES:
            return Record(f"{place}:{alike.hex()}", b"", TOO_LONG)
        return Record(place, content)

    def _age(self, deaths: Any, sent: str) -> None:
        latest = deaths[0].get("time") if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else None
        at = latest or sent
        if isinstance(at, str) and at.isdecimal() and (self._oldest_s is None or int(at) < self._oldest_s):
            self._oldest_s = int(at)

    def _receive(self) -> bool:
        """Wait for what the broker hands out, and return whether it did: others may be faster, or the only ones allowed."""
        until_s = self._monotonic() + STALLED_S
        while not self._waiting and (left_s := until_s - self._monotonic()) > 0:
            self._connection.process_data_events(time_limit=left_s)
        return bool(self._waiting)

    def _end(self) -> None:
        """Give everything back at once, as a connection that breaks does."""
        if self._oldest_s is not None:
            oldest = Level("oldest", max(0, self._clock() // 10**9 - self._oldest_s), self._source.queue)
            self._levels = (*self._levels[:-1], oldest)
        if self._left:
            self._problems[self._source.queue] = f"{self._left} messages were not handed out; another consumer has them"
        self._known, self._met = self._met, set()
        self.close()
