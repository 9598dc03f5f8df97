"""Sources of messages for tests, and a RabbitMQ to fill."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika

from controltower.collector.redaction.policy import default_policy
from controltower.collector.scrapers.definition import AnySource, parse_sources
from controltower.collector.scrapers.delivery import Collector
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.worker import Worker
from controltower.tracer.tokens import Tokeniser
from tests.collector.scrapers.sources import KEY
from tests.processes import until
from tests.tracer.hooked import broker, fresh

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
DIED_S = 1_762_171_964
RULE = {
    "step": "p2p.purchase_order.dispatched",
    "keys": {"purchase_order": "$.po"},
    "amount": {"field": "$.amount", "optional": True},
}


def source_of(kind: str, queue: str, **options: Any) -> AnySource:
    """Return the source called ``mq``."""
    given = {"kind": kind, "queue": queue, "rules": [RULE], **options}
    return parse_sources(json.dumps({"sources": {"mq": given}}), "mq.yaml").sources["mq"]  # JSON is YAML


def worker_of(folder: Path, source: AnySource, url: str, clock: Callable[[], int]) -> Worker:
    """Return what works on a source, with what it saves in *folder*."""
    policies = Policies(default_policy(), Tokeniser((KEY,)))
    return Worker("mq", source, folder / "state", Collector(url), policies, None, clock)


def death(queue: str = "orders", reason: str = "rejected", count: int = 1, at_s: int = DIED_S) -> dict[str, Any]:
    """Return an entry of x-death, as RabbitMQ writes it."""
    at = datetime.fromtimestamp(at_s, UTC)
    return {"queue": queue, "reason": reason, "count": count, "exchange": "", "time": at, "routing-keys": [queue]}


class Rabbit:
    """A connection of the test's own."""

    def __init__(self) -> None:
        self.host, self.port = broker("RabbitMQ", "RABBITMQ_ADDRESS", 5672)
        self.url = f"amqp://guest:guest@{self.host}:{self.port}/%2F"
        # Nobody answers heartbeats while a test waits for something else.
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(self.host, self.port, heartbeat=0))
        self.channel = self.connection.channel()
        self._queues: list[str] = []
        self._exchanges: list[str] = []

    def queue(self, kind: str = "classic", **arguments: Any) -> str:
        """Return a new durable queue."""
        name = fresh("scraped")
        self.channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind, **arguments})
        self.known(name)
        return name

    def known(self, queue: str) -> str:
        """Remove a queue at the end, too."""
        self._queues.append(queue)
        return queue

    def exchange(self) -> str:
        """Return a new exchange for topics."""
        name = fresh("scraped")
        self.channel.exchange_declare(name, "topic")
        self._exchanges.append(name)
        return name

    def put(self, queue: str, body: object, exchange: str | None = None, **properties: Any) -> None:
        """Publish a message."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.channel.basic_publish(exchange or "", queue, text, pika.BasicProperties(**properties))

    def holds(self, queue: str, count: int) -> bool:
        """Wait until so many messages are ready in a queue: what is given back, or up, is so a moment later."""
        return until(lambda: self._count(queue) == count, f"{count} messages in {queue}")

    def _count(self, queue: str) -> int:
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)

    def drained(self, queue: str) -> list[bytes]:
        """Take all messages out of a queue."""
        found = []
        while (got := self.channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append(got[2])
        return found

    def close(self) -> None:
        """Remove what was made."""
        for queue in self._queues:
            self.channel.queue_delete(queue)
        for exchange in self._exchanges:
            self.channel.exchange_delete(exchange)
        self.connection.close()


@contextmanager
def rabbit() -> Iterator[Rabbit]:
    """Give a RabbitMQ; what was made in it is removed."""
    made = Rabbit()
    try:
        yield made
    finally:
        made.close()
