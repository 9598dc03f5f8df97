"""Kafka as both of its clients see it: where a record is, and how it arrived."""

from collections.abc import Mapping
from typing import Any, Final

from controltower.tracer.integrations.arrival import Arrival, read_headers
from controltower.tracer.integrations.extract import keys_in
from controltower.tracer.integrations.place import Place, Plain, place_at
from controltower.tracer.system import System

SYSTEM: Final = "kafka"
PARTITION: Final = "messaging.destination.partition.id"
OFFSET: Final = "messaging.kafka.offset"
GROUP: Final = "messaging.consumer.group.name"


def place_of(topic: str, servers: object, group: str | None = None) -> Place:
    """Return a topic at the first of *servers*, which are a text with commas or a list."""
    first = servers[0] if isinstance(servers, (list, tuple)) and servers else servers
    host, _, port = str(first or "").partition(",")[0].strip().rpartition(":")
    others = ((GROUP, group),) if group else ()
    return place_at(SYSTEM, topic, host, int(port) if port.isdigit() else None, others)


def delivered_at(partition: int, offset: int | None) -> dict[str, Plain]:
    """Return where the broker put a record."""
    found: dict[str, Plain] = {PARTITION: str(partition)}
    return found if offset is None or offset < 0 else {**found, OFFSET: offset}


def arrival_of(
    system: System,
    place: Place,
    headers: Any,
    body: object,
    *,
    partition: int,
    offset: int,
    timestamp_ms: int,
) -> Arrival:
    """Return how a record arrived; a time of 0 or less is none."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers or ())
    return Arrival(
        place,
        read_headers(pairs),
        sent_ns=timestamp_ms * 1_000_000 if timestamp_ms > 0 else None,
        others=delivered_at(partition, offset),
        keys=keys_in(system, place.name, pairs, body),
    )
