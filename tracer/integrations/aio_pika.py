"""aio-pika: what is published, delivered, fetched, worked on with ``message.process()``, and given back."""

import copy
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from controltower.tracer.integrations import rabbitmq
from controltower.tracer.integrations.arrival import ARRIVAL, Arrival, arrival_of, noted, read_with
from controltower.tracer.integrations.messaging import Handling, Sending, Settling, Used, pulled
from controltower.tracer.integrations.patches import Function, Patches

HANDLING: Final = "_controltower_handling"
UNROUTABLE: Final = "unroutable"


def hook(patches: Patches, used: Used) -> None:
    """Replace the methods of exchanges, queues and messages."""
    from aio_pika.exchange import Exchange
    from aio_pika.message import IncomingMessage, Message, ProcessContext
    from aio_pika.queue import Queue, QueueIterator
    from aio_pika.robust_queue import RobustQueueIterator

    patches.later(read_with(IncomingMessage, lambda message: getattr(message.headers, ARRIVAL, None)))
    hooks = _Hooks(patches, used, plain=(Message, IncomingMessage), iterator=QueueIterator)
    patches.method(Exchange, "publish", hooks.publish)
    patches.method(Queue, "consume", hooks.consume)
    patches.method(Queue, "get", hooks.get)
    for iterator in (QueueIterator, RobustQueueIterator):
        patches.method(iterator, "__anext__", hooks.next)
    patches.method(ProcessContext, "__aenter__", hooks.enter)
    patches.method(ProcessContext, "__aexit__", hooks.leave)
    patches.method(IncomingMessage, "nack", hooks.nack)
    patches.method(IncomingMessage, "reject", hooks.reject)


class _Hooks:
    """Makes the replacements. Each leaves arguments and results as they are, but for the headers of what is sent."""

    def __init__(self, patches: Patches, used: Used, *, plain: tuple[type, ...], iterator: type) -> None:
        self._patches = patches
        self._used = used
        self._plain = plain
        self._iterator = iterator

    def publish(self, original: Function) -> Function:
        async def publish(exchange: Any, message: Any, routing_key: str, *rest: Any, **named: Any) -> Any:
            given: Mapping[str, Any] = message.headers or {}
            place = rabbitmq.place_of(exchange.name, routing_key, *_address(exchange))
            with Sending(
                self._used(), place, "publish", message_id=message.message_id, given=given.items(), body=message.body
            ) as sending:
                marked = self._with_headers(message, dict(sending.headers(given.items())))
                result = await original(exchange, marked, routing_key, *rest, **named)
                if hasattr(result, "delivery"):  # the broker gave the message back, and the channel does not raise
                    sending.end(UNROUTABLE)
                return result

        return publish

    def _with_headers(self, message: Any, headers: dict[str, Any]) -> Any:
        """Return a copy, since hosts send a message twice; one of the host's own kind may not survive copying."""
        if type(message) in self._plain:
            message = copy.copy(message)
            message.headers = headers
        else:
            message.headers.update(headers)
        return message

    def consume(self, original: Function) -> Function:
        async def consume(queue: Any, callback: Function, *rest: Any, **named: Any) -> Any:
            if not isinstance(getattr(callback, "__self__", None), self._iterator):
                callback = self._handler(queue, callback)
            return await original(queue, callback, *rest, **named)

        return consume

    def _handler(self, queue: Any, callback: Function) -> Function:
        async def on_message(message: Any) -> Any:
            arrival = self._arrived(queue, message) if self._patches.active else None
            with Handling(self._used, message, arrival, detached=True):
                result = callback(message)
                return await result if hasattr(result, "__await__") else result

        return on_message

    def get(self, original: Function) -> Function:
        async def get(queue: Any, *rest: Any, **named: Any) -> Any:
            message = await original(queue, *rest, **named)
            self._received(queue, message)
            return message

        return get

    def next(self, original: Function) -> Function:
        async def following(iterator: Any) -> Any:
            message = await original(iterator)
            self._received(iterator._amqp_queue, message)
            return message

        return following

    def _received(self, queue: Any, message: Any) -> None:
        if message is None or arrival_of(message) is not None:
            return
        if (arrival := self._arrived(queue, message)) is not None:
            pulled(self._used(), "receive", [arrival])

    def _arrived(self, queue: Any, message: Any) -> Arrival | None:
        system = self._used()
        with system.guard.around("aio-pika hook"):
            host, port = _address(queue)
            arrival = rabbitmq.arrival_of(
                queue.name,
                message.exchange or "",
                message.routing_key or "",
                message.headers,
                message_id=message.message_id,
                redelivered=message.redelivered,
                delivery_tag=message.delivery_tag,
                host=host,
                port=port,
                body=message.body,
                system=system,
            )
            object.__setattr__(message, "headers", noted(message.headers, arrival))  # its slots take nothing else
            return arrival
        return None

    def enter(self, original: Function) -> Function:
        async def enter(context: Any) -> Any:
            handling = Handling(self._used, context.message, arrival_of(context.message))
            setattr(context, HANDLING, handling)
            message = await original(context)
            handling.__enter__()
            return message

        return enter

    def leave(self, original: Function) -> Function:
        async def leave(
            context: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> Any:
            handling: Handling | None = getattr(context, HANDLING, None)
            try:
                result = await original(context, kind, error, trace)
            except BaseException as raised:
                error = error or raised
                raise
            finally:
                if handling is not None:
                    handling.__exit__(None if error is None else type(error), error, None)
            return result

        return leave

    def nack(self, original: Function) -> Function:
        async def nack(message: Any, multiple: bool = False, requeue: bool = True) -> Any:
            with Settling(self._used, "nack", _arrivals(message), requeued=requeue):
                return await original(message, multiple, requeue)

        return nack

    def reject(self, original: Function) -> Function:
        async def reject(message: Any, requeue: bool = False) -> Any:
            with Settling(self._used, "reject", _arrivals(message), requeued=requeue):
                return await original(message, requeue)

        return reject


def _arrivals(message: Any) -> list[Arrival]:
    arrival = arrival_of(message)
    return [] if arrival is None else [arrival]


def _address(owner: Any) -> tuple[str, int | None]:
    url = getattr(getattr(getattr(owner, "channel", None), "_connection", None), "url", None)
    return getattr(url, "host", None) or "", getattr(url, "port", None)
