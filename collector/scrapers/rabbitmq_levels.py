"""Levels of RabbitMQ's queues: by its management API, or of queues that are named by AMQP, which tells less."""

from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import httpx

from controltower.collector.scrapers.definition import QueueSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.rabbitmq import connected, disconnect, levels_of

TIMEOUT_S: Final = 30.0
PAGE: Final = 500
MOST_PAGES: Final = 20
COLUMNS: Final = "name,messages_ready,messages_unacknowledged,consumers,head_message_timestamp,message_stats"
LEVELS: Final = {"depth": "messages_ready", "held": "messages_unacknowledged", "consumers": "consumers"}
COUNTS: Final = {"published": "publish", "delivered": "deliver_get", "acknowledged": "ack", "redeliveries": "redeliver"}


class RabbitLevels:
    """Asks one virtual host."""

    def __init__(self, source: QueueSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._clock = clock

    def ask(self) -> dict[str, list[Level]]:
        """Return the levels of each queue of the source that is there."""
        address = urlsplit(self._source.address())
        if address.scheme in ("http", "https"):
            return {queue["name"]: list(self._levels(queue)) for queue in self._queues(address)}
        return dict(self._by_amqp())

    def close(self) -> None:
        """Nothing stays open."""

    # -- by the management API

    def _queues(self, address: Any) -> Iterator[Any]:
        """Yield what is told of each queue that the source names, a page at a time."""
        host = quote(unquote(address.path.removeprefix("/")) or "/", safe="")
        base = f"{address.scheme}://{address.hostname}:{address.port or (443 if address.scheme == 'https' else 15672)}"
        login = (unquote(address.username or ""), unquote(address.password or ""))
        with httpx.Client(timeout=TIMEOUT_S, auth=login) as client:
            for page in range(1, MOST_PAGES + 1):
                asked = {"columns": COLUMNS, "page": str(page), "page_size": str(PAGE)}
                answer = client.get(f"{base}/api/queues/{host}", params=asked)
                if answer.status_code != 200:
                    words = f"{answer.status_code} {answer.reason_phrase}"
                    raise QueueError(
                        f"RabbitMQ's management API answers {words}: does its user have the tag `monitoring`?"
                    )
                told = answer.json()
                yield from (each for each in told["items"] if self._source.fits(each["name"]))
                if page >= told["page_count"]:
                    return
        raise QueueError(f"RabbitMQ has more than {MOST_PAGES * PAGE} queues in a virtual host.")

    def _levels(self, told: Any) -> Iterator[Level]:
        """Yield what is known: of a new queue nothing is for some seconds, and of one that was never used no count."""
        queue, counts = told["name"], told.get("message_stats", {})
        yield from (Level(name, told[key], queue) for name, key in LEVELS.items() if key in told)
        yield from (Level(name, counts[key], queue) for name, key in COUNTS.items() if key in counts)
        if isinstance(at_s := told.get("head_message_timestamp"), int):  # only where senders set it
            yield Level("oldest", max(0, self._clock() // 10**9 - at_s), queue)

    # -- by AMQP

    def _by_amqp(self) -> Iterator[tuple[str, list[Level]]]:
        import pika

        if self._source.wildcards:
            raise QueueError(
                "AMQP knows no patterns of names: give the address of the management API, https://…, or names."
            )
        connection = connected(self._source)
        try:
            for queue in self._source.exact:
                try:
                    told = connection.channel().queue_declare(queue, passive=True).method
                except pika.exceptions.ChannelClosedByBroker as exc:
                    if exc.reply_code != 404:
                        raise
                    continue  # it is told as missing
                yield queue, list(levels_of(queue, told))
        finally:
            disconnect(connection)
