"""How full queues are, as a kind of source: levels and no steps. A level beyond its limit is a problem of the source."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

from controltower.collector.scrapers.definition import Limits, QueueSource, TimeSpec
from controltower.collector.scrapers.kafka_levels import KafkaLevels
from controltower.collector.scrapers.mqtt_levels import MqttLevels
from controltower.collector.scrapers.nats_levels import NatsLevels
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Level, Record, Taken
from controltower.collector.scrapers.rabbitmq_levels import RabbitLevels
from controltower.collector.scrapers.redis_levels import RedisLevels
from controltower.collector.scrapers.sqs_levels import SqsLevels

Json = dict[str, Any]


class Levels(Protocol):
    """What is different of each broker. Errors of its library leave it; it is then asked anew."""

    def ask(self) -> dict[str, list[Level]]:
        """Return the levels of each queue of the source that is there."""

    def close(self) -> None:
        """Close what is open, which may be broken."""


BROKERS: Final[Mapping[str, Callable[[QueueSource, Callable[[], int]], Levels]]] = {
    "rabbitmq": RabbitLevels,
    "redis": RedisLevels,
    "nats": NatsLevels,
    "kafka": KafkaLevels,
    "mqtt": MqttLevels,
    "sqs": SqsLevels,
}


class QueueReader(HoldsNothing):
    """Asks for the levels of queues once in so often. For one thread."""

    def __init__(
        self, source: QueueSource, clock: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._monotonic = monotonic
        self._due_s = monotonic()
        self._broker = BROKERS[source.broker](source, clock)
        self._levels: tuple[Level, ...] = ()
        self._problems: dict[str, str] = {}

    @staticmethod
    def times(source: QueueSource) -> list[TimeSpec]:
        """Return nothing: there are no records."""
        return []

    def restore(self, saved: Json) -> None:
        """Nothing is saved."""

    def state(self) -> Json:
        """Return nothing: levels are those of now."""
        return {}

    def read(self) -> Taken:
        """Ask when it is time to; there are no records."""
        if self._monotonic() >= self._due_s:
            self._due_s = self._monotonic() + self._source.every.span.total_seconds()
            found = self._broker.ask()
            self._levels = tuple(level for levels in found.values() for level in levels)
            self._problems = dict(beyond(self._levels, self._source.limits))
            self._problems.update({queue: "is not there" for queue in self._source.exact if queue not in found})
        return Taken([], caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return nothing: there are no records."""
        return {}

    def behind(self) -> int:
        """Return 0: nothing is read."""
        return 0

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full the queues are."""
        return self._levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return which levels are beyond their limits, and which queues are not there."""
        return self._problems

    def close(self) -> None:
        """Close what is open."""
        self._broker.close()


def beyond(levels: Iterable[Level], limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield (queue, what is wrong) of levels beyond their limits; of one queue all together."""
    found: dict[str, list[str]] = {}
    for level in levels:
        limit = limits.of(level.name)
        if limit is not None and (level.value < limit if level.name == "consumers" else level.value > limit):
            found.setdefault(f"{level.queue} {level.group}".strip(), []).append(
                f"{level.name} is {_said(level.name, level.value)}, the limit {_said(level.name, limit)}"
            )
    yield from ((queue, "; ".join(wrong)) for queue, wrong in found.items())


def _said(level: str, value: int) -> str:
    return str(timedelta(seconds=value)) if level == "oldest" else f"{value:,}"
