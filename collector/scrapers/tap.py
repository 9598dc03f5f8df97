"""Copies of RabbitMQ's messages, as a kind of source: a queue of its own beside those of others, who miss nothing.

A message is given up to the broker when what became of it was acknowledged. One that the broker delivers again, because
the connection broke before it learned that, is known by its content.
"""

import base64
import hashlib
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from controltower.collector.scrapers.definition import TapSource, TimeSpec
from controltower.collector.scrapers.log_formats import FORMATS
from controltower.collector.scrapers.message import LONGEST_BYTES, TOO_LONG, fields_of
from controltower.collector.scrapers.observation import Fields, Level, Record, Taken
from controltower.collector.scrapers.rabbitmq import connected, disconnect, levels_of, message_of

MOST_HELD: Final = 5_000  # messages that the broker hands out before the first of them is given up
MOST_RECORDS: Final = MOST_HELD // 2  # of a batch: one is read while the other is on its way
MOST_BYTES: Final = 1024 * 1024  # of a batch, one message more
REMEMBERED: Final = 2 * MOST_HELD  # digests: what may come again
DIGEST_BYTES: Final = 8

Json = dict[str, Any]


class TapReader:
    """Reads one queue of copies. For one thread."""

    def __init__(self, source: TapSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._parse = FORMATS[source.format].parse
        self._connection: Any = None
        self._channel: Any = None
        self._waiting: deque[tuple[Any, Any, bytes]] = deque()
        self._recent: deque[bytes] = deque(maxlen=REMEMBERED)
        self._again: Counter[bytes] = Counter()  # what was read before the connection broke
        self._serial = 0
        self._held: deque[tuple[int, int]] = deque()  # serial behind what was read at once, and its last tag
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    # -- the contract

    @staticmethod
    def times(source: TapSource) -> list[TimeSpec]:
        """Return where the times of messages are."""
        sent = TimeSpec(field="header.controltower-sent-at", format="unix_ms")
        return [sent, TimeSpec(field="message.time", format="unix")]

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._serial = saved["serial"]
        packed = base64.b64decode(saved["recent"])
        self._recent.extend(packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES))
        self._again = Counter(self._recent)

    def state(self) -> Json:
        """Return how many messages were read, and which last, to be saved."""
        return {"serial": self._serial, "recent": base64.b64encode(b"".join(self._recent)).decode()}

    def acknowledged(self, saved: Json) -> None:
        """Give up the messages that are behind us for good."""
        while self._held and self._held[0][0] <= saved["serial"]:
            _, tag = self._held.popleft()
            self._channel.basic_ack(tag, multiple=True)

    def read(self) -> Taken:
        """Return the next messages, in their order."""
        if self._channel is None:
            self._begin()
        ready = self._receive()
        records: list[Record] = []
        tag = used = 0
        while self._waiting and len(records) < MOST_RECORDS and used < MOST_BYTES:
            method, properties, body = self._waiting.popleft()
            tag = method.delivery_tag
            if (record := self._record(method, properties, body)) is not None:
                records.append(record)
                used += len(record.content)
        if tag:
            self._held.append((self._serial, tag))
        return Taken(records, caught_up=not (ready or tag))

    def parse(self, record: Record) -> Fields:
        """Return the fields of a message; Rejection when its body does not have the form that the source says."""
        return fields_of(record.content, self._source.encoding, self._parse)

    def behind(self) -> int:
        """Return 0: a broker does not say how many bytes there are."""
        return 0

    @property
    def holding(self) -> bool:
        """Whether messages were read that are not given up yet."""
        return bool(self._held)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full the queue is."""
        return self._levels

    @property
    def problems(self) -> dict[str, str]:
        """Return what is wrong with the queue."""
        return self._problems

    def close(self) -> None:
        """Let go of what is held: the broker delivers it again."""
        connection, self._connection, self._channel = self._connection, None, None
        self._waiting.clear()
        self._held.clear()
        if connection is not None:
            disconnect(connection)

    # -- messages

    def _begin(self) -> None:
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
        channel.basic_qos(prefetch_count=MOST_HELD)
        channel.basic_consume(source.queue, lambda _, *delivered: self._waiting.append(delivered))
        self._channel = channel

    def _receive(self) -> int:
        """Take what was delivered, and return how many more wait at the broker where nothing was."""
        self._connection.process_data_events(time_limit=0)
        if self._waiting:
            return 0  # not asked: there is something to do
        told = self._channel.queue_declare(self._source.queue, passive=True).method
        self._levels = levels_of(self._source.queue, told)
        self._connection.process_data_events(time_limit=0)  # what was delivered before the answer
        return int(told.message_count)

    def _record(self, method: Any, properties: Any, body: bytes) -> Record | None:
        """Return the record of a message, none when it was read before."""
        content = message_of(method, properties).content(body)
        digest = hashlib.sha256(content).digest()[:DIGEST_BYTES]
        if self._again:
            if method.redelivered and self._again[digest]:
                self._again[digest] -= 1
                return None
            if not method.redelivered:
                self._again.clear()  # what comes again comes before what is new
        self._recent.append(digest)
        place = f"{self._source.queue}:{self._serial}"
        self._serial += 1
        if len(body) > LONGEST_BYTES:
            return Record(place, b"", TOO_LONG)
        return Record(place, content)
