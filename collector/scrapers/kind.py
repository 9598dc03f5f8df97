"""The contract of all kinds of sources: records in, and a position that is saved when what they became was acknowledged.

A kind reads; mapping, sending, saving and counting are the same for all. The order is always: read, map, save the request,
send it, save the position. So a crash loses nothing, and what is read again has the ids it had.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from controltower.collector.scrapers.dead_letters import DeadLetterKind
from controltower.collector.scrapers.definition import AnySource, MessageSource, TimeSpec
from controltower.collector.scrapers.event_log import EventLogReader
from controltower.collector.scrapers.folder import FolderReader
from controltower.collector.scrapers.journal import JournalReader
from controltower.collector.scrapers.kafka_topic import KafkaTopic
from controltower.collector.scrapers.log import LogReader
from controltower.collector.scrapers.mqtt_copies import MqttCopies
from controltower.collector.scrapers.nats_stream import NatsStream
from controltower.collector.scrapers.observation import Fields, Level, Record, Taken
from controltower.collector.scrapers.queues import QueueReader
from controltower.collector.scrapers.rabbitmq_copies import RabbitCopies
from controltower.collector.scrapers.rabbitmq_shelf import RabbitShelf
from controltower.collector.scrapers.rabbitmq_stream import RabbitStream
from controltower.collector.scrapers.redis_list import RedisList
from controltower.collector.scrapers.redis_stream import RedisStream
from controltower.collector.scrapers.rows import RowReader
from controltower.collector.scrapers.schedule import ScheduleReader
from controltower.collector.scrapers.sqs_shelf import SqsShelf
from controltower.collector.scrapers.stream import StreamKind
from controltower.collector.scrapers.syslog import SyslogReader
from controltower.collector.scrapers.tap import TapKind


class Reader(Protocol):
    """Reads one source. For one thread."""

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on behind what was saved."""

    def read(self) -> Taken:
        """Return what comes next, bounded in number and bytes."""

    def state(self) -> dict[str, Any]:
        """Return the place behind all that was read, to be saved."""

    def parse(self, record: Record) -> Fields:
        """Return the fields of a record, none when there is nothing in it; Rejection when it does not have its form."""

    def acknowledged(self, saved: dict[str, Any]) -> None:
        """Take note that all up to *saved* was acknowledged, and that its position is kept."""

    def behind(self) -> int:
        """Return how many bytes are there and were not read."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what cannot be read, and why."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full queues are; nothing for what is no queue."""

    @property
    def holding(self) -> bool:
        """Whether the origin waits until what was read is acknowledged."""

    def close(self) -> None:
        """Close what is open."""


class Kind(Protocol):
    """Makes readers, and says where the times of records are when the source does not."""

    def __call__(self, source: Any, clock: Callable[[], int]) -> Reader:
        """Return a reader of *source*."""

    @staticmethod
    def times(source: Any) -> list[TimeSpec]:
        """Return where times are."""


KINDS: Final[Mapping[str, Kind]] = {
    "log": LogReader,
    "syslog": SyslogReader,
    "journal": JournalReader,
    "schedule": ScheduleReader,
    "folder": FolderReader,
    "queues": QueueReader,
    "rows": RowReader,
    "event_log": EventLogReader,
}
STREAMS: Final[Mapping[str, Kind]] = {  # brokers that keep what was read: copies and dead letters are read the same way
    "rabbitmq_stream": StreamKind(RabbitStream),
    "redis": StreamKind(RedisStream),
    "nats": StreamKind(NatsStream),
    "kafka": StreamKind(KafkaTopic),
}
QUEUES: Final[Mapping[tuple[str, str], Kind]] = {  # others
    ("dead_letters", "rabbitmq"): DeadLetterKind(RabbitShelf),
    ("dead_letters", "redis_list"): DeadLetterKind(RedisList),
    ("dead_letters", "sqs"): DeadLetterKind(SqsShelf),
    ("tap", "rabbitmq"): TapKind(RabbitCopies),
    ("tap", "mqtt"): TapKind(MqttCopies),
}


def kind_of(source: AnySource) -> Kind:
    """Return the kind of *source*."""
    if isinstance(source, MessageSource):
        return STREAMS.get(source.broker) or QUEUES[source.kind, source.broker]
    return KINDS[source.kind]
