"""pika, blocking and with callbacks: what is published, delivered, fetched, and given back."""

import copy
from collections import OrderedDict
from collections.abc import Generator, Mapping
from typing import Any, Final

from controltower.tracer.integrations import rabbitmq
from controltower.tracer.integrations.arrival import Arrival, remember
from controltower.tracer.integrations.messaging import Handling, Sending, Settling, Used, pulled
from controltower.tracer.integrations.patches import Function, Patches

MAX_UNSETTLED: Final = 10_000  # deliveries of a channel that are remembered until they are settled
UNSETTLED: Final = "_controltower_unsettled"


def hook(patches: Patches, used: Used) -> None:
    """Replace the methods of both channels."""
    from pika.adapters.blocking_connection import BlockingChannel
    from pika.channel import Channel

    hooks = _Hooks(patches, used, BlockingChannel)
    for name in ("basic_publish", "basic_consume", "basic_ack", "basic_nack", "basic_reject"):
        patches.method(BlockingChannel, name, getattr(hooks, name))
        patches.method(Channel, name, hooks.outside(getattr(hooks, name)))
    patches.method(BlockingChannel, "basic_get", hooks.basic_get)
    patches.method(BlockingChannel, "consume", hooks.consume)
    patches.method(Channel, "basic_get", hooks.outside(hooks.basic_get_later))


class _Hooks:
    """Makes the replacements. Each leaves arguments and results as they are, but for the headers of what is sent."""

    def __init__(self, patches: Patches, used: Used, blocking: type) -> None:
        self._patches = patches
        self._used = used
        self._blocking = blocking

    def outside(self, make: Any) -> Any:
        """Return *make* for the channel with callbacks; inside a blocking one, that one has its own."""

        def make_outside(original: Function) -> Function:
            ours = make(original)

            def call(channel: Any, *arguments: Any, **named: Any) -> Any:
                inside = isinstance(channel._get_cookie(), self._blocking)
                return (original if inside else ours)(channel, *arguments, **named)

            return call

        return make_outside

    def basic_publish(self, original: Function) -> Function:
        def publish(
            channel: Any, exchange: str, routing_key: str, body: Any, properties: Any = None, *rest: Any, **named: Any
        ) -> Any:
            given: Mapping[str, Any] = getattr(properties, "headers", None) or {}
            place = rabbitmq.place_of(exchange, routing_key, *_address(channel))
            message_id = getattr(properties, "message_id", None)
            with Sending(
                self._used(), place, "publish", message_id=message_id, given=given.items(), body=body
            ) as sending:
                properties = _with_headers(properties, dict(sending.headers(given.items())))
                return original(channel, exchange, routing_key, body, properties, *rest, **named)

        return publish

    def basic_consume(self, original: Function) -> Function:
        def start(channel: Any, queue: str, on_message_callback: Any, *rest: Any, **named: Any) -> Any:
            if callable(on_message_callback):
                on_message_callback = self._handler(queue, on_message_callback, _waits_for_ack(rest, named))
            return original(channel, queue, on_message_callback, *rest, **named)

        return start

    def basic_get_later(self, original: Function) -> Function:
        def get(channel: Any, queue: str, callback: Any, *rest: Any, **named: Any) -> Any:
            if callable(callback):
                callback = self._handler(queue, callback, _waits_for_ack(rest, named))
            return original(channel, queue, callback, *rest, **named)

        return get

    def _handler(self, queue: str, callback: Function, waits_for_ack: bool) -> Function:
        def on_message(channel: Any, method: Any, properties: Any, body: Any) -> Any:
            arrival = self._arrived(channel, queue, (method, properties, body), waits_for_ack)
            with Handling(self._used, properties, arrival, detached=True):
                return callback(channel, method, properties, body)

        return self._patches.function(callback, on_message)

    def consume(self, original: Function) -> Function:
        def messages(channel: Any, queue: str, *rest: Any, **named: Any) -> Generator[Any, Any, None]:
            fetched = original(channel, queue, *rest, **named)
            try:
                for message in fetched:
                    if self._patches.active:
                        self._received(channel, queue, message, _waits_for_ack(rest, named))
                    yield message
            finally:
                fetched.close()

        return messages

    def basic_get(self, original: Function) -> Function:
        def get(channel: Any, queue: str, *rest: Any, **named: Any) -> Any:
            message = original(channel, queue, *rest, **named)
            self._received(channel, queue, message, _waits_for_ack(rest, named))
            return message

        return get

    def _received(self, channel: Any, queue: str, message: Any, waits_for_ack: bool) -> None:
        if message[0] is not None and (arrival := self._arrived(channel, queue, message, waits_for_ack)):
            pulled(self._used(), "receive", [arrival])

    def _arrived(self, channel: Any, queue: str, message: Any, waits_for_ack: bool) -> Arrival | None:
        method, properties, body = message
        system = self._used()
        with system.guard.around("pika hook"):
            host, port = _address(channel)
            arrival = rabbitmq.arrival_of(
                queue,
                method.exchange or "",
                method.routing_key or "",
                properties.headers,
                message_id=properties.message_id,
                redelivered=bool(method.redelivered),
                delivery_tag=method.delivery_tag,
                host=host,
                port=port,
                body=body,
                system=system,
            )
            remember(properties, arrival)
            if waits_for_ack:
                unsettled = _unsettled(channel)
                unsettled[method.delivery_tag] = arrival
                if len(unsettled) > MAX_UNSETTLED:
                    unsettled.popitem(last=False)
            return arrival
        return None

    def basic_ack(self, original: Function) -> Function:
        def ack(channel: Any, delivery_tag: int = 0, multiple: bool = False) -> Any:
            _settled(channel, delivery_tag, multiple)
            return original(channel, delivery_tag, multiple)

        return ack

    def basic_nack(self, original: Function) -> Function:
        def nack(channel: Any, delivery_tag: int = 0, multiple: bool = False, requeue: bool = True) -> Any:
            arrivals = _settled(channel, delivery_tag, multiple)
            with Settling(self._used, "nack", arrivals, requeued=requeue):
                return original(channel, delivery_tag, multiple, requeue)

        return nack

    def basic_reject(self, original: Function) -> Function:
        def reject(channel: Any, delivery_tag: int = 0, requeue: bool = True) -> Any:
            with Settling(self._used, "reject", _settled(channel, delivery_tag, False), requeued=requeue):
                return original(channel, delivery_tag, requeue)

        return reject


def _waits_for_ack(rest: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Return whether ``auto_ack``, the first parameter after those that every call gives, is off."""
    return not (rest[0] if rest else named.get("auto_ack", False))


def _with_headers(properties: Any, headers: dict[str, Any]) -> Any:
    """Return a copy of *properties*, which the host may use for the next message as well."""
    if properties is None:
        from pika.spec import BasicProperties

        return BasicProperties(headers=headers) if headers else None
    copied = copy.copy(properties)
    copied.headers = headers or properties.headers
    return copied


def _address(channel: Any) -> tuple[str, int | None]:
    connection = getattr(channel, "connection", None)
    parameters = getattr(getattr(connection, "_impl", connection), "params", None)
    return getattr(parameters, "host", ""), getattr(parameters, "port", None)


def _unsettled(channel: Any) -> OrderedDict[int, Arrival]:
    found: OrderedDict[int, Arrival] | None = getattr(channel, UNSETTLED, None)
    if found is None:
        found = OrderedDict()
        setattr(channel, UNSETTLED, found)
    return found


def _settled(channel: Any, tag: int, multiple: bool) -> list[Arrival]:
    """Forget and return the deliveries that *tag* settles: with *multiple* all up to it, and all there are for 0."""
    unsettled = _unsettled(channel)
    if not multiple:
        return [unsettled.pop(tag)] if tag in unsettled else []
    tags = [each for each in unsettled if each <= tag or not tag]
    return [unsettled.pop(each) for each in tags]
