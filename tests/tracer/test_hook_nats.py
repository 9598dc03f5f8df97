"""nats-py against a real NATS server, core and JetStream."""

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

needs("nats")
import nats

Client = Any
SERVER = ("NATS", "NATS_ADDRESS", 4222)


def run(body: Callable[[Client], Awaitable[None]], **options: object) -> Captured:
    """Run *body* with a client; return what it sent."""
    host, port = broker(*SERVER)

    async def session() -> None:
        client = await nats.connect(f"nats://{host}:{port}")
        try:
            await asyncio.wait_for(body(client), 30)
        finally:
            await client.close()

    with hooked("nats", **options) as captured:
        asyncio.run(session())
        assert captured.spans is not None
    return captured


def run_with_stream(body: Callable[[Client, Any, str, str], Awaitable[None]]) -> Captured:
    """Run *body* with JetStream, and a stream of this test with its subject."""
    name = fresh().replace(".", "-")

    async def with_stream(client: Client) -> None:
        stream = client.jetstream()
        try:
            await stream.add_stream(name=name, subjects=[f"{name}.>"])
        except nats.js.errors.ServiceUnavailableError:
            pytest.skip("the NATS server has no JetStream")
        try:
            await body(client, stream, name, f"{name}.created")
        finally:
            await stream.delete_stream(name)

    return run(with_stream)


async def publish(to: Any, subject: str, **headers: str) -> Any:
    """Publish one message below a step."""
    async with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        return await to.publish(subject, b"{}", headers=headers or None)


def test_a_callback_is_linked_to_its_sender() -> None:
    """The handler has the sender's keys, in a trace of its own, also when it was subscribed inside a step."""
    topic = fresh()

    async def body(client: Client) -> None:
        through = asyncio.Event()

        async def handle(message: Any) -> None:
            async with tracer.step("p2p.purchase_order.acknowledged"):
                through.set()

        async with tracer.step("p2p.invoice.received", keys={"invoice": "I-9"}):
            await client.subscribe(f"{topic}.*", queue="adapters", cb=handle)
        await publish(client, f"{topic}.created", **{"Idempotency-Key": "I-1"})
        await through.wait()

    captured = run(body)

    sent, worked = assert_hop(captured)
    assert worked.parent is None
    assert attribute(worked, "controltower.key.invoice") is None
    assert (sent.name, worked.name) == (f"send {topic}.created", f"process {topic}.*")
    assert attribute(worked, "messaging.destination.name") == f"{topic}.created"
    assert attribute(worked, "messaging.consumer.group.name") == "adapters"
    assert attribute(worked, "controltower.message.redelivered") is None  # core NATS does not know
    captured.assert_step("p2p.purchase_order.acknowledged", keys={**PO, "idempotency": "I-1"})


def test_messages_that_are_fetched() -> None:
    """``next_msg`` and a loop give receive spans, ``processing`` the work; a loop that is left leaves nothing."""
    topic = fresh()

    async def body(client: Client) -> None:
        subscription = await client.subscribe(topic)
        await publish(client, topic)
        await publish(client, topic)
        await subscription.next_msg(timeout=10)
        async for message in subscription.messages:
            async with tracer.processing(message), tracer.step("p2p.purchase_order.acknowledged"):
                pass
            break
        async with tracer.step("p2p.invoice.received"):
            pass

    captured = run(body)

    for sent, received in zip(of(captured, "send"), of(captured, "receive"), strict=True):
        assert_linked(received, sent)
    assert_linked(only(captured, "process"), of(captured, "send")[1])
    captured.assert_step("p2p.purchase_order.acknowledged", keys=PO)
    assert captured.assert_step("p2p.invoice.received").parent is None


def test_request_and_answer() -> None:
    """Both ways of a request are messages; the answer's address is one for all."""
    topic = fresh()

    async def body(client: Client) -> None:
        async def answer(message: Any) -> None:
            await message.respond(b"yes")

        await client.subscribe(topic, cb=answer)
        async with tracer.step("p2p.purchase_order.dispatched", keys=PO):
            reply = await client.request(topic, b"?", timeout=10)
        assert reply.data == b"yes"
        assert "traceparent" in reply.headers

    captured = run(body)

    asked, answered = of(captured, "send")
    assert_linked(only(captured, "process"), asked)
    assert answered.name == "send _INBOX"
    assert attribute(answered, "messaging.destination.temporary") is True
    assert attribute(answered, "controltower.key.purchase_order") == "PO-1042"


def test_a_stream_pushes_and_counts_deliveries() -> None:
    """One span for a publish that is confirmed; what is given back comes again with its number; ``term`` rejects."""

    async def body(client: Client, stream: Any, name: str, subject: str) -> None:
        through = asyncio.Event()

        async def handle(message: Any) -> None:
            if message.metadata.num_delivered == 1:
                await message.nak()
            else:
                await message.term()
                through.set()

        await stream.subscribe(subject, cb=handle, manual_ack=True, durable="adapter")
        await publish(stream, subject)
        await through.wait()

    captured = run_with_stream(body)

    sent = only(captured, "send")
    first, second = of(captured, "process")
    for span in (first, second):
        assert_linked(span, sent)
        assert attribute(span, "messaging.message.id") == attribute(sent, "messaging.message.id")
        assert attribute(span, "messaging.consumer.group.name") == "adapter"
        assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
    assert [attribute(span, "controltower.message.delivery_count") for span in (first, second)] == [1, 2]
    assert [attribute(span, "controltower.message.redelivered") for span in (first, second)] == [False, True]
    assert [attribute(span, "controltower.outcome") for span in (first, second)] == [None, "rejected"]
    assert [attribute(span, "controltower.message.requeued") for span in of(captured, "settle")] == [True, False]


def test_a_stream_is_fetched_in_batches() -> None:
    """A fetch is one span with a link for each message, beyond OpenTelemetry's 128."""

    async def body(client: Client, stream: Any, name: str, subject: str) -> None:
        for _ in range(150):
            await publish(stream, subject)
        subscription = await stream.pull_subscribe(subject, durable="adapter")
        messages: list[Any] = []
        while len(messages) < 150:
            messages += await subscription.fetch(150, timeout=10)
        async with tracer.processing(messages[7]) as sender:
            assert sender is not None
            await messages[7].ack()
        with pytest.raises(nats.errors.TimeoutError):
            await subscription.fetch(1, timeout=0.05)

    captured = run_with_stream(body)

    received = of(captured, "receive")
    linked = [link.context.span_id for span in received for link in span.links]
    assert linked == [span.context.span_id for span in of(captured, "send") if span.context]
    assert sum(int(str(attribute(span, "messaging.batch.message_count"))) for span in received) == 150
    assert captured.system.health().cut == 0


def test_a_message_sent_twice_is_a_duplicate() -> None:
    """JetStream says that it has a message already; its ``Nats-Msg-Id`` is the idempotency key."""

    async def body(client: Client, stream: Any, name: str, subject: str) -> None:
        for _ in range(2):
            await publish(stream, subject, **{"Nats-Msg-Id": "M-1"})

    first, second = of(run_with_stream(body), "send")

    assert [attribute(span, "controltower.outcome") for span in (first, second)] == [None, "duplicate"]
    assert attribute(first, "messaging.message.id") == attribute(second, "messaging.message.id")
    assert attribute(second, "controltower.key.idempotency") == "M-1"


def test_a_handler_that_raises() -> None:
    """The client's error callback gets the exception; the span has its type and not its text."""
    topic = fresh()
    errors: list[Exception] = []

    async def body(client: Client) -> None:
        through = asyncio.Event()

        async def failed(error: Exception) -> None:
            errors.append(error)
            through.set()

        client._error_cb = failed

        async def handle(message: Any) -> None:
            raise LookupError("patient Jane Doe")

        await client.subscribe(topic, cb=handle)
        await publish(client, topic)
        await through.wait()

    captured = run(body)

    _, worked = assert_hop(captured)
    assert [type(error) for error in errors] == [LookupError]
    assert attribute(worked, "error.type") == "LookupError"
    assert "Jane" not in worked.to_json()


@pytest.mark.parametrize("traceparent", GARBAGE)
def test_headers_of_strangers(traceparent: str) -> None:
    """A message without headers or with broken ones is worked on like any other, without a link."""
    topic = fresh()

    async def body(client: Client) -> None:
        subscription = await client.subscribe(topic)
        tracer.uninstrument("nats")
        await client.publish(topic, b"", headers={"traceparent": traceparent, "baggage": ",,="})
        await client.publish(topic, b"")
        tracer.instrument("nats")
        for _ in range(2):
            async with tracer.processing(await subscription.next_msg(timeout=10)) as sender:
                assert sender is None

    captured = run(body)

    assert len(of(captured, "process")) == 2
    for span in captured.spans:
        assert span.links == ()


def test_a_server_that_is_gone() -> None:
    """The host gets the library's own exception, and the span of the send has its type."""
    host, port = broker(*SERVER)

    async def session(near: int, cut: Callable[[], None]) -> None:
        closed = asyncio.Event()

        async def on_closed() -> None:
            closed.set()

        async def on_error(_: Exception) -> None:
            return

        client = await nats.connect(
            f"nats://127.0.0.1:{near}", allow_reconnect=False, closed_cb=on_closed, error_cb=on_error
        )
        cut()
        await asyncio.wait_for(closed.wait(), 20)
        with pytest.raises(nats.errors.ConnectionClosedError):
            await client.publish("orders", b"")

    with hooked("nats") as captured, relay(host, port) as (near, cut):
        asyncio.run(session(near, cut))

    assert attribute(only(captured, "send"), "error.type") == "nats.errors.ConnectionClosedError"


def test_keys_by_rules() -> None:
    """A message of somebody without a hook has the keys that rules find in its body and headers."""
    needs("jsonpath_rfc9535")
    topic = fresh()

    async def body(client: Client) -> None:
        tracer.instrument("nats", extract={topic: {"invoice": "$.invoice", "shipment": "header:X-Shipment"}})
        subscription = await client.subscribe(topic)
        with unhooked():
            await client.publish(topic, b'{"invoice": "I-7"}', headers={"X-Shipment": "S-1"})
        await subscription.next_msg(timeout=10)
        await client.publish(topic, b'{"invoice": "I-8"}')

    captured = run(body)

    assert attribute(only(captured, "send"), "controltower.key.invoice") == "I-8"
    received = only(captured, "receive")
    assert attribute(received, "controltower.key.invoice") == "I-7"
    assert attribute(received, "controltower.key.shipment") == "S-1"
