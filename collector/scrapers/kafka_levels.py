"""Levels of Kafka's topics, and of the groups that the source names: what is there beside what they committed."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from controltower.collector.scrapers.definition import QueueSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.kafka_client import TIMEOUT_S, connected
from controltower.collector.scrapers.observation import Level

MOST_QUEUES: Final = 1_000
WAIT_S: Final = 2.0  # for the first message that a group has not committed


class KafkaLevels:
    """Asks one cluster, by a client for each group."""

    def __init__(self, source: QueueSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._clock = clock
        self._clients: dict[str, Any] = {}

    def ask(self) -> dict[str, list[Level]]:
        """Return the levels of each topic of the source that is there."""
        return {topic: list(self._levels(topic, partitions)) for topic, partitions in self._topics()}

    def close(self) -> None:
        """Leave."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, group: str = "controltower-scrape") -> Any:
        if group not in self._clients:
            self._clients[group] = connected(self._source, group)
        return self._clients[group]

    def _topics(self) -> list[tuple[str, list[int]]]:
        told = self._client().list_topics(timeout=TIMEOUT_S).topics
        found = [(name, sorted(topic.partitions)) for name, topic in sorted(told.items()) if self._source.fits(name)]
        if len(found) > MOST_QUEUES:
            raise QueueError(f"More than {MOST_QUEUES} topics of Kafka fit the names of the source.")
        return found

    def _levels(self, topic: str, partitions: list[int]) -> Iterator[Level]:
        from confluent_kafka import TopicPartition

        client = self._client()
        ends = {each: client.get_watermark_offsets(TopicPartition(topic, each), TIMEOUT_S) for each in partitions}
        yield Level("depth", sum(high - low for low, high in ends.values()), topic)
        yield Level("published", sum(high for _, high in ends.values()), topic)
        for group in self._source.groups:
            yield from self._group(topic, group, ends)

    def _group(self, topic: str, group: str, ends: dict[int, tuple[int, int]]) -> Iterator[Level]:
        from confluent_kafka import TopicPartition

        asked = [TopicPartition(topic, partition) for partition in ends]
        committed = {each.partition: each.offset for each in self._client(group).committed(asked, TIMEOUT_S)}
        if all(offset < 0 for offset in committed.values()):
            return  # it never read this topic
        after = {partition: max(low, committed[partition]) for partition, (low, _) in ends.items()}
        behind = {partition: high - after[partition] for partition, (_, high) in ends.items()}
        yield Level("lag", sum(behind.values()), topic, group)
        yield Level("acknowledged", sum(max(0, offset) for offset in committed.values()), topic, group)
        waiting = [TopicPartition(topic, partition, after[partition]) for partition, lag in behind.items() if lag > 0]
        yield Level("oldest", self._oldest_s(waiting), topic, group)

    def _oldest_s(self, waiting: list[Any]) -> int:
        """Return the age of the first message that is not committed, of all partitions; 0 when none is."""
        from confluent_kafka import TopicPartition

        client, left = self._client(), {each.partition for each in waiting}
        found_ms: list[int] = []
        until_s = time.monotonic() + WAIT_S
        client.assign(waiting)
        try:
            while left and time.monotonic() < until_s:
                message = client.poll(0.1)
                if message is not None and message.error() is None and message.partition() in left:
                    left.discard(message.partition())
                    client.incremental_unassign([TopicPartition(message.topic(), message.partition())])
                    found_ms.append(message.timestamp()[1])
        finally:
            client.unassign()
        return max(0, self._clock() // 10**9 - min(found_ms) // 1000) if found_ms else 0
