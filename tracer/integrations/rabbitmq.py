"""RabbitMQ as both of its clients see it: names of destinations, counts of deliveries, and why a message is dead."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from controltower.tracer.integrations.arrival import Arrival, DeadLetter, read_headers
from controltower.tracer.integrations.extract import keys_in
from controltower.tracer.integrations.place import Place, Plain, place_at
from controltower.tracer.system import System

SYSTEM: Final = "rabbitmq"
ROUTING_KEY: Final = "messaging.rabbitmq.destination.routing_key"
DELIVERY_COUNT: Final = "x-delivery-count"  # quorum queues: deliveries before this one
DEATHS: Final = "x-death"
REPLY_TO: Final = "amq.rabbitmq.reply-to"


def place_of(exchange: str, routing_key: str, host: str, port: int | None) -> Place:
    """Return where a message is sent to: the exchange, or the queue when it goes to the default exchange."""
    name = str(exchange) if exchange else _lasting(str(routing_key))
    others = ((ROUTING_KEY, str(routing_key)),) if exchange and routing_key else ()
    return place_at(SYSTEM, name, host, port, others)


def arrival_of(
    queue: str,
    exchange: str,
    routing_key: str,
    headers: Mapping[str, Any] | None,
    *,
    message_id: str | None,
    redelivered: bool | None,
    delivery_tag: int | None,
    host: str,
    port: int | None,
    body: object,
    system: System,
) -> Arrival:
    """Return how a message arrived in *queue*."""
    given = headers or {}
    place = place_at(SYSTEM, _lasting(queue), host, port)
    others: dict[str, Plain] = {}
    if exchange and routing_key:
        others[ROUTING_KEY] = routing_key
    if delivery_tag is not None:
        others["messaging.rabbitmq.message.delivery_tag"] = delivery_tag
    count = given.get(DELIVERY_COUNT)
    return Arrival(
        place,
        read_headers(given.items()),
        message_id=message_id,
        redelivered=redelivered,
        delivery_count=count + 1 if isinstance(count, int) else None,
        dead=_dead(given.get(DEATHS), queue),
        others=others,
        keys=keys_in(system, place.name, given.items(), body),
    )


def _dead(deaths: object, queue: str) -> DeadLetter | None:
    """Return the latest death of a message that lies in another queue than the one that gave it up."""
    if not isinstance(deaths, Sequence) or not deaths or not isinstance(deaths[0], Mapping):
        return None
    latest = deaths[0]  # RabbitMQ puts the latest first
    given_up_by, reason = latest.get("queue"), latest.get("reason")
    if not isinstance(given_up_by, str) or not isinstance(reason, str) or given_up_by == queue:
        return None
    counts = [each.get("count") for each in deaths if isinstance(each, Mapping)]
    return DeadLetter(given_up_by, reason, sum(count for count in counts if isinstance(count, int)))


def _lasting(queue: str) -> str:
    """Return a queue's name; names that the broker made up are all one, so that they can be counted together."""
    if queue.startswith("amq.gen-"):
        return "amq.gen"
    return REPLY_TO if queue.startswith(REPLY_TO) else queue or "amq.gen"
