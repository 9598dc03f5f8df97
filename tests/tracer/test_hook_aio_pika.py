"""aio-pika against a real RabbitMQ: the same promises as for pika, in the library's own ways of working."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.testing import Captured
from tests.tracer.hooked import (
    GARBAGE,
    PO,
    assert_hop,
    assert_linked,
    attribute,
    broker,
    fresh,
    hooked,
    needs,
    of,
    only,
    relay,
    unhooked,
)

needs("aio_pika")
import aio_pika

Channel = Any
Queue = Any
Body = Callable[[Channel, Queue], Awaitable[None]]


def address() -> str:
    """Where the broker is."""
    host, port = broker("RabbitMQ", "RABBITMQ_ADDRESS", 5672)
    return f"amqp://guest:guest@{host}:{port}/"


def run(body: Body, **options: object) -> Captured:
    """Run *body* with a channel and a queue of its own; return what it sent."""

    async def session() -> None:
        connection = await aio_pika.connect_robust(address(), timeout=10)
        async with connection:
            channel = await connection.channel()
            await body(channel, await channel.declare_queue(fresh(), exclusive=True, **declared))

    declared: dict[str, Any] = {"arguments": options.pop("arguments", None)}
    with hooked("aio-pika", **options) as captured:
        asyncio.run(session())
        assert captured.spans is not None
    return captured


async def publish(channel: Channel, queue: Queue, **properties: Any) -> None:
    """Publish one message below a step."""
    async with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        await channel.default_exchange.publish(aio_pika.Message(b"{}", **properties), queue.name)


async def delivered(queue: Queue, handle: Callable[[Any], Awaitable[None]]) -> None:
    """Call *handle* with the next message, and wait until it is through."""
    through = asyncio.get_running_loop().create_future()

    async def watched(message: Any) -> None:
        try:
            await handle(message)
        finally:
            through.set_result(None)

    tag = await queue.consume(watched)
    await asyncio.wait_for(through, 10)
    await queue.cancel(tag)
    await asyncio.sleep(0)


def test_a_delivered_message_is_linked_to_its_sender() -> None:
    """The handler has the sender's keys, in a trace of its own, also when it was registered inside a step."""

    async def body(channel: Channel, queue: Queue) -> None:
        async def handle(message: Any) -> None:
            async with message.process(), tracer.step("p2p.purchase_order.acknowledged"):
                pass

        await publish(channel, queue, message_id="M-1", headers={"idempotency-key": "I-1"})
        async with tracer.step("p2p.invoice.received", keys={"invoice": "I-9"}):
            await delivered(queue, handle)

    captured = run(body)

    _, worked = assert_hop(captured)
    assert worked.parent is None
    assert attribute(worked, "controltower.key.invoice") is None
    assert attribute(worked, "messaging.message.id") == "M-1"
    assert attribute(worked, "server.port") == 5672
    captured.assert_step("p2p.purchase_order.acknowledged", keys={**PO, "idempotency": "I-1"})


def test_a_loop_over_messages() -> None:
    """Each message fetched is a span; ``message.process()`` is the work on it, and a loop that is left leaves nothing."""

    async def body(channel: Channel, queue: Queue) -> None:
        await publish(channel, queue)
        await publish(channel, queue)
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process(), tracer.step("p2p.purchase_order.acknowledged"):
                    pass
                break
        async with tracer.step("p2p.invoice.received"):
            pass

    captured = run(body)

    first, _ = of(captured, "send")
    assert_linked(of(captured, "receive")[0], first)
    assert_linked(only(captured, "process"), first)
    captured.assert_step("p2p.purchase_order.acknowledged", keys=PO)
    assert captured.assert_step("p2p.invoice.received").parent is None
    assert of(captured, "settle") == []  # those fetched ahead were never the host's


def test_a_message_fetched_alone() -> None:
    """``get`` gives a receive span, ``processing`` the work."""

    async def body(channel: Channel, queue: Queue) -> None:
        await publish(channel, queue)
        message = await queue.get()
        assert await queue.get(fail=False) is None
        async with tracer.processing(message), tracer.step("p2p.purchase_order.acknowledged"):
            await message.ack()

    captured = run(body)

    assert_hop(captured, received="receive")
    assert len(of(captured, "process")) == 1
    captured.assert_step("p2p.purchase_order.acknowledged", keys=PO)


def test_a_handler_that_raises_and_dead_letters() -> None:
    """``process()`` rejects the message; the span says so, and the dead letter who gave it up."""
    dead = fresh("dead")

    async def body(channel: Channel, queue: Queue) -> None:
        graveyard = await channel.declare_queue(dead, exclusive=True)

        async def handle(message: Any) -> None:
            with pytest.raises(LookupError, match="Jane"):
                async with message.process():
                    raise LookupError("patient Jane Doe")

        await publish(channel, queue)
        async with queue.iterator() as messages:
            await handle(await anext(messages))
        async with graveyard.iterator() as messages, (await anext(messages)).process():
            pass

    captured = run(body, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})

    failed, found = of(captured, "process")
    assert attribute(failed, "error.type") == "LookupError"
    assert attribute(failed, "controltower.outcome") == "rejected"
    assert "Jane" not in failed.to_json()
    assert attribute(only(captured, "settle"), "controltower.message.requeued") is False
    assert_linked(found, only(captured, "send"))
    assert attribute(found, "controltower.context.dlq") == dead
    assert str(attribute(found, "controltower.context.dlq_from")).startswith("orders.")
    assert attribute(found, "controltower.reason") == "rejected"


def test_quorum_queues_count_deliveries() -> None:
    """What is given back comes again with its number."""

    async def body(channel: Channel, _: Queue) -> None:
        queue = await channel.declare_queue(fresh(), durable=True, arguments={"x-queue-type": "quorum"})
        try:
            await publish(channel, queue)
            await (await queue.get(timeout=10)).nack()
            again = await queue.get(fail=False, timeout=10)
            while again is None:
                again = await queue.get(fail=False, timeout=10)
            await again.ack()
        finally:
            await queue.delete(if_empty=False, if_unused=False)

    captured = run(body)

    again = of(captured, "receive")[-1]
    assert attribute(again, "controltower.message.redelivered") is True
    assert attribute(again, "controltower.message.delivery_count") == 2
    assert attribute(only(captured, "settle"), "controltower.message.requeued") is True


@pytest.mark.parametrize("traceparent", GARBAGE)
def test_headers_of_strangers(traceparent: str) -> None:
    """A message without headers or with broken ones is worked on like any other, without a link."""

    async def body(channel: Channel, queue: Queue) -> None:
        tracer.uninstrument("aio-pika")
        headers = {"traceparent": traceparent, "baggage": "=", "x-death": 7}
        for message in (aio_pika.Message(b"", headers=headers), aio_pika.Message(b"")):
            await channel.default_exchange.publish(message, queue.name)
        tracer.instrument("aio-pika")
        for _ in range(2):
            async with (await queue.get()).process():
                pass

    captured = run(body)

    assert len(of(captured, "process")) == 2
    for span in captured.spans:
        assert span.links == ()


def test_the_hosts_message_is_left_alone_and_returned_ones_are_seen() -> None:
    """A message can be sent twice; one that nobody takes is an error of the send even when the channel does not raise."""

    async def body(channel: Channel, _: Queue) -> None:
        message = aio_pika.Message(b"", headers={"theirs": 1})
        await channel.default_exchange.publish(message, fresh("nobody"))
        assert message.headers == {"theirs": 1}

    assert attribute(only(run(body), "send"), "error.type") == "unroutable"


def test_a_broker_that_is_gone() -> None:
    """The host gets the library's own exception, and the span of the send has its type."""
    host, port = broker("RabbitMQ", "RABBITMQ_ADDRESS", 5672)

    async def session(near: int, cut: Callable[[], None]) -> None:
        connection = await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{near}/")
        channel = await connection.channel()
        cut()
        with pytest.raises((aio_pika.exceptions.AMQPError, ConnectionError)):
            await channel.default_exchange.publish(aio_pika.Message(b""), "orders", timeout=10)
        await connection.close()

    with hooked("aio-pika") as captured, relay(host, port) as (near, cut):
        asyncio.run(session(near, cut))

    sent = only(captured, "send")
    assert sent.status.status_code.name == "ERROR"
    assert attribute(sent, "error.type")


def test_keys_by_rules() -> None:
    """A message of somebody without a hook has the keys that a rule finds in it."""
    needs("lxml")

    async def body(channel: Channel, queue: Queue) -> None:
        tracer.instrument("aio-pika", extract={"invoice": "/order/@invoice"})
        with unhooked():
            await publish(channel, queue)
            await channel.default_exchange.publish(aio_pika.Message(b'<order invoice="I-7"/>'), queue.name)
        await channel.default_exchange.publish(aio_pika.Message(b'<order invoice="I-8"/>'), queue.name)
        for _ in range(3):
            await (await queue.get()).ack()

    captured = run(body)

    assert attribute(only(captured, "send"), "controltower.key.invoice") == "I-8"
    received = of(captured, "receive")
    assert [attribute(span, "controltower.key.invoice") for span in received] == [None, "I-7", "I-8"]
