"""Kafka: a client, and which partitions a topic has."""

import logging
from typing import Any, Final

from controltower.collector.scrapers.definition import BrokerSource
from controltower.collector.scrapers.errors import AddressError, QueueError

logger = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
FIXED: Final = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",  # what was removed is told, and not passed over
    "enable.partition.eof": True,
    "queued.max.messages.kbytes": 16_384,
    "isolation.level": "read_committed",
}


def connected(source: BrokerSource, group: str = "controltower-scrape") -> Any:
    """Return a consumer that belongs to no group; *group* only says whose offsets are asked for. AddressError."""
    try:
        from confluent_kafka import Consumer
    except ImportError:
        raise AddressError("Kafka needs confluent-kafka: pip install 'controltower[queues]'.") from None
    given = {**source.settings(), **FIXED, "bootstrap.servers": source.address(), "group.id": group}
    return Consumer(given, logger=logger)


def partitions_of(client: Any, topic: str) -> list[int]:
    """Return the partitions of *topic*; QueueError when it is not there, KafkaException when no broker answers."""
    told = client.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    if told.error is not None:
        raise QueueError(f"The topic {topic} cannot be read: {told.error.str()}.")
    return sorted(told.partitions)
