"""Topics of Kafka, read by offset: assigned, without a group, and nothing is committed."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from controltower.collector.scrapers.definition import MessageSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.kafka_client import TIMEOUT_S, connected, partitions_of
from controltower.collector.scrapers.message import Message, plain
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.stream import Entry, Json, gone

WAIT_S: Final = 0.2  # for messages


class KafkaTopic:
    """One topic, all of its partitions."""

    def __init__(self, source: MessageSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._consumer: Any = None
        self._next: dict[int, int] = {}  # partition -> offset
        self._ended: set[int] = set()  # partitions that were read to their end
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    @property
    def position(self) -> Json:
        """Return the offset that is read next of each partition."""
        return {str(partition): offset for partition, offset in self._next.items()}

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
        from confluent_kafka import TopicPartition

        self._consumer = connected(self._source)
        at_end = position is None and self._source.begin == "end"
        saved = position or {}
        missed = 0
        for partition in partitions_of(self._consumer, self._source.queue):
            low, high = self._ends(partition)
            offset = saved.get(str(partition), high if at_end else low)
            if offset > high:
                self._problems[self._source.queue] = "was made anew: it is read from its first message"
                offset = low
            missed += max(0, low - offset)
            self._next[partition] = max(low, offset)
        if missed:
            self._problems[self._source.queue] = gone(missed)
        self._ended.clear()
        self._consumer.assign([TopicPartition(self._source.queue, *each) for each in self._next.items()])

    def read(self, most: int) -> tuple[list[Entry], bool]:
        """Return the messages behind the last ones."""
        from confluent_kafka import KafkaError

        entries = []
        for message in self._consumer.consume(most, timeout=WAIT_S):
            partition, error = message.partition(), message.error()
            if error is None:
                self._ended.discard(partition)
                self._next[partition] = message.offset() + 1
                entries.append(Entry(f"{partition}:{message.offset()}", _message(message), message.value() or b""))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended.add(partition)
            else:
                raise QueueError(f"The topic {self._source.queue} cannot be read: {error.str()}.")
        return entries, not entries and len(self._ended) == len(self._next)

    def look(self) -> None:
        """Ask how many messages there are; raises when no broker answers, and when there are other partitions."""
        found = partitions_of(self._consumer, self._source.queue)
        if set(found) != self._next.keys():
            raise QueueError(f"The topic {self._source.queue} has other partitions now.")
        ends = [self._ends(partition) for partition in found]
        self._levels = (Level("depth", sum(high - low for low, high in ends), self._source.queue),)

    def close(self) -> None:
        """Leave."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _ends(self, partition: int) -> tuple[int, int]:
        from confluent_kafka import TopicPartition

        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._source.queue, partition), TIMEOUT_S)
        return int(low), int(high)


def _message(message: Any) -> Message:
    _, milliseconds = message.timestamp()
    headers = {name: plain(value) for name, value in message.headers() or ()}
    key = message.key()
    return Message(
        routing_key="" if key is None else plain(key),
        time=f"{milliseconds // 1000}.{milliseconds % 1000:03d}" if milliseconds > 0 else "",
        headers=headers,
    )
