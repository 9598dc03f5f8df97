"""RabbitMQ, over AMQP: a connection, and what a message says of itself."""

import logging
from typing import Any

from controltower.collector.scrapers.definition import BrokerSource
from controltower.collector.scrapers.errors import AddressError
from controltower.collector.scrapers.message import Message
from controltower.collector.scrapers.observation import Level

logger = logging.getLogger(__name__)


def connected(source: BrokerSource) -> Any:
    """Return a connection to the broker of *source*; AddressError, or an error of pika's."""
    try:
        import pika
    except ImportError:
        raise AddressError("RabbitMQ needs pika: pip install 'controltower[queues]'.") from None
    try:
        parameters = pika.URLParameters(source.address())
    except ValueError:
        raise AddressError("The address of the broker is none such as amqps://user:password@host/vhost.") from None
    return pika.BlockingConnection(parameters)


def disconnect(connection: Any) -> None:
    """Close a connection, which may be broken."""
    import pika

    if connection.is_open:
        try:
            connection.close()
        except pika.exceptions.AMQPError as exc:  # it broke meanwhile: the broker takes back what was held all the same
            logger.debug("a connection to RabbitMQ broke while it was closed: %r", exc)


def levels_of(queue: str, told: Any) -> tuple[Level, ...]:
    """Return how full *queue* is, by the answer to its declaration."""
    return Level("depth", told.message_count, queue), Level("consumers", told.consumer_count, queue)


def message_of(method: Any, properties: Any) -> Message:
    """Return what is told of a delivery, as pika gives it."""
    return Message(
        id=properties.message_id or "",
        type=properties.type or "",
        correlation_id=properties.correlation_id or "",
        exchange=method.exchange or "",
        routing_key=method.routing_key or "",
        time=str(int(properties.timestamp)) if properties.timestamp else "",
        headers=properties.headers or {},
    )
