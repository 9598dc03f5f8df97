"""Levels of SQS. It counts about right, and does not tell here how old the oldest message is."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from controltower.collector.scrapers.definition import QueueSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.sqs_client import address_of, connected

MOST_QUEUES: Final = 1_000
LEVELS: Final = {
    "depth": "ApproximateNumberOfMessages",
    "held": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


class SqsLevels:
    """Asks one region."""

    def __init__(self, source: QueueSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._client: Any = None

    def ask(self) -> dict[str, list[Level]]:
        """Return the levels of each queue of the source that is there."""
        if self._client is None:
            self._client = connected(self._source)
        return {queue: list(self._levels(queue, address)) for queue, address in self._queues()}

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _queues(self) -> list[tuple[str, str]]:
        found: dict[str, str] = {}
        for name in self._source.exact:
            try:
                found[name] = address_of(self._client, name)
            except self._client.exceptions.QueueDoesNotExist:
                continue  # it is told as missing
        if self._source.wildcards:
            for page in self._client.get_paginator("list_queues").paginate():
                named = ((address.rpartition("/")[2], address) for address in page.get("QueueUrls", ()))
                found.update((name, address) for name, address in named if self._source.fits(name))
                if len(found) > MOST_QUEUES:
                    raise QueueError(f"More than {MOST_QUEUES} queues of SQS fit the names of the source.")
        return sorted(found.items())

    def _levels(self, queue: str, address: str) -> Iterator[Level]:
        told = self._client.get_queue_attributes(QueueUrl=address, AttributeNames=[*LEVELS.values()])["Attributes"]
        yield from (Level(name, int(told[key]), queue) for name, key in LEVELS.items())
