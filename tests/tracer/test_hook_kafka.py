"""confluent-kafka and aiokafka over TCP against librdkafka's own broker, which speaks Kafka's protocol."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.testing import Captured
from tests.processes import until
from tests.tracer.hooked import (
    GARBAGE,
    PO,
    assert_hop,
    assert_linked,
    attribute,
    fresh,
    hooked,
    needs,
    of,
    only,
    unhooked,
)

needs("confluent_kafka", "aiokafka", "jsonpath_rfc9535")
import aiokafka
import confluent_kafka
from confluent_kafka.serialization import StringDeserializer, StringSerializer

Run = Callable[[Any, Any], Awaitable[None]]


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A broker in this process; it lives as long as the client that started it."""
    owner = confluent_kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (found,) = owner.list_topics(timeout=10).brokers.values()
    yield f"{found.host}:{found.port}"
    owner.flush(1)


@pytest.fixture
def captured(broker: str) -> Iterator[Captured]:
    """The spans of a process with the hook."""
    with hooked("confluent-kafka") as found:
        yield found


def producer(broker: str, **more: Any) -> Any:
    """Return a producer, made after the hook was turned on."""
    return confluent_kafka.Producer({"bootstrap.servers": broker, **more})


@pytest.fixture
def topic(broker: str) -> str:
    """A topic of this test; asking for it makes the broker make it."""
    name = fresh()
    producer(broker).list_topics(name, timeout=10)
    return name


@pytest.fixture
def consumer(captured: Captured, broker: str, topic: str) -> Iterator[Any]:
    """A consumer of the topic in a group of its own."""
    made = confluent_kafka.Consumer({
        "bootstrap.servers": broker, "group.id": f"adapters.{topic}", "auto.offset.reset": "earliest", "log_level": 0,
    })  # fmt: skip
    made.subscribe([topic])
    yield made
    made.close()


def polled(consumer: Any) -> Any:
    """Return the next message."""
    for _ in range(100):
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            return message
    raise AssertionError("no message came")


def test_a_record_is_linked_to_its_sender(captured: Captured, broker: str, topic: str, consumer: Any) -> None:
    """The send ends with the broker's report; a record that is polled is linked, and worked on in ``processing``."""
    reports: list[Any] = []
    given = [("theirs", b"1"), ("Idempotency-Key", b"I-1")]
    sender = producer(broker)
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        sender.produce(topic, b"{}", key=b"K", headers=given, on_delivery=lambda *report: reports.append(report))
    assert of(captured, "send") == []
    sender.flush(10)
    message = polled(consumer)
    with tracer.processing(message), tracer.step("p2p.purchase_order.acknowledged"):
        pass

    sent, received = assert_hop(captured, received="receive")
    assert given == [("theirs", b"1"), ("Idempotency-Key", b"I-1")]
    assert [name for name, _ in message.headers()] == [
        "theirs", "Idempotency-Key", "traceparent", "baggage", "controltower-sent-at",
    ]  # fmt: skip
    assert reports[0][0] is None
    for span in (sent, received, only(captured, "process")):
        assert attribute(span, "messaging.destination.partition.id") == str(message.partition())
        assert attribute(span, "messaging.kafka.offset") == message.offset()
    assert attribute(sent, "server.port") == int(broker.partition(":")[2])
    assert attribute(received, "messaging.consumer.group.name") == f"adapters.{topic}"
    assert_linked(only(captured, "process"), sent)
    captured.assert_step("p2p.purchase_order.acknowledged", keys={**PO, "idempotency": "I-1"})


def test_a_large_batch(captured: Captured, broker: str, topic: str, consumer: Any) -> None:
    """What is consumed at once is one span with a link for each record, beyond OpenTelemetry's 128."""
    sender = producer(broker)
    for _ in range(300):
        sender.produce(topic, b"{}")
    sender.flush(10)
    messages: list[Any] = []
    for _ in range(40):
        if len(messages) < 300:
            messages += consumer.consume(300, 0.5)

    received = of(captured, "receive")
    linked = {link.context.span_id for span in received for link in span.links}
    assert linked == {span.context.span_id for span in of(captured, "send") if span.context}
    assert max(len(span.links) for span in received) > 128
    assert sum(int(str(attribute(span, "messaging.batch.message_count"))) for span in received) == 300
    first = received[0].links[0].attributes or {}
    assert {"controltower.message.wait_ms", "messaging.kafka.offset"} <= set(first)
    assert captured.system.health().cut == 0


def test_clients_that_serialise(captured: Captured, broker: str, topic: str) -> None:
    """The clients written in Python are hooked, too; a header from an earlier hop is replaced."""
    sender = confluent_kafka.SerializingProducer({
        "bootstrap.servers": broker, "value.serializer": StringSerializer(), "key.serializer": StringSerializer(),
    })  # fmt: skip
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        sender.produce(topic, "K", "{}", headers={"traceparent": "old", "theirs": "1"})
    sender.flush(10)
    reader = confluent_kafka.DeserializingConsumer({
        "bootstrap.servers": broker, "group.id": f"others.{topic}", "auto.offset.reset": "earliest", "log_level": 0,
        "value.deserializer": StringDeserializer(), "key.deserializer": StringDeserializer(),
    })  # fmt: skip
    reader.subscribe([topic])
    message = polled(reader)
    reader.close()

    assert_hop(captured, received="receive")
    assert (message.key(), message.value()) == ("K", "{}")
    assert [name for name, _ in message.headers()].count("traceparent") == 1


def test_a_record_that_is_not_delivered(captured: Captured, topic: str) -> None:
    """The report of a failure ends the span with the error's name; a full queue raises as before."""
    reports: list[Any] = []
    sender = producer("127.0.0.1:1", **{"message.timeout.ms": 100, "queue.buffering.max.messages": 1, "log_level": 0})
    sender.produce(topic, b"{}", on_delivery=lambda error, _: reports.append(error))
    with pytest.raises(BufferError):
        sender.produce(topic, b"{}")
    until(lambda: sender.poll(0.1) >= 0 and bool(reports), "the delivery is reported")

    full, lost = of(captured, "send")
    assert attribute(full, "error.type") == "BufferError"
    assert attribute(lost, "error.type") == "_MSG_TIMED_OUT"
    assert [error.name() for error in reports] == ["_MSG_TIMED_OUT"]


def test_headers_of_strangers(captured: Captured, broker: str, topic: str, consumer: Any) -> None:
    """A record without headers or with broken ones is worked on like any other, without a link."""
    sender = producer(broker)
    with unhooked():
        for traceparent in GARBAGE:
            sender.produce(topic, b"{}", headers=[("traceparent", traceparent.encode()), ("baggage", None)])
        sender.produce(topic, None)
        sender.flush(10)
    for _ in range(len(GARBAGE) + 1):
        with tracer.processing(polled(consumer)) as found:
            assert found is None

    assert len(of(captured, "process")) == len(GARBAGE) + 1
    assert all(span.links == () for span in captured.spans)


def test_nothing_is_left_after_uninstrument(captured: Captured, broker: str, topic: str) -> None:
    """Clients that were made before go on without spans, and the module's names are its own again."""
    sender = producer(broker)
    tracer.uninstrument("confluent-kafka")
    sender.produce(topic, b"{}")
    sender.flush(10)

    assert captured.spans == ()
    assert confluent_kafka.Producer.__init__.__objclass__ is confluent_kafka.Producer


def run_aiokafka(broker: str, body: Run, topic: str, **options: Any) -> Captured:
    """Run *body* with a producer and a consumer of aiokafka; return what it sent."""

    async def session() -> None:
        sender = aiokafka.AIOKafkaProducer(
            bootstrap_servers=broker, value_serializer=lambda value: json.dumps(value).encode()
        )
        reader = aiokafka.AIOKafkaConsumer(
            topic, bootstrap_servers=broker, group_id=fresh("group"), auto_offset_reset="earliest"
        )
        async with sender, reader:
            await asyncio.wait_for(body(sender, reader), 60)

    with hooked("aiokafka") as captured:
        if options:
            tracer.instrument("aiokafka", **options)
        asyncio.run(session())
        assert captured.spans is not None
    return captured


def test_aiokafka(broker: str, topic: str) -> None:
    """A send ends when the broker has it; a loop that is left leaves nothing; rules look into what is serialised."""

    async def body(sender: Any, reader: Any) -> None:
        async with tracer.step("p2p.purchase_order.dispatched", keys=PO):
            await sender.send_and_wait(topic, {"invoice": "I-7"}, headers=[("Idempotency-Key", b"I-1")])
        async for record in reader:
            async with tracer.processing(record), tracer.step("p2p.purchase_order.acknowledged"):
                pass
            break
        async with tracer.step("p2p.invoice.received"):
            pass

    captured = run_aiokafka(broker, body, topic, extract={"invoice": "$.invoice"})

    sent, received = assert_hop(captured, received="receive")
    assert attribute(sent, "messaging.kafka.offset") == attribute(received, "messaging.kafka.offset") == 0
    assert attribute(received, "server.port") == int(broker.partition(":")[2])
    assert_linked(only(captured, "process"), sent)
    captured.assert_step("p2p.purchase_order.acknowledged", keys={**PO, "idempotency": "I-1", "invoice": "I-7"})
    assert captured.assert_step("p2p.invoice.received").parent is None


def test_aiokafka_in_batches(broker: str, topic: str) -> None:
    """``getmany`` is one span with a link for each record."""

    async def body(sender: Any, reader: Any) -> None:
        for future in [await sender.send(topic, {}) for _ in range(150)]:
            await future
        seen = 0
        while seen < 150:
            seen += sum(map(len, (await reader.getmany(timeout_ms=1000)).values()))

    captured = run_aiokafka(broker, body, topic)

    received = of(captured, "receive")
    assert {link.context.span_id for span in received for link in span.links} == {
        span.context.span_id for span in of(captured, "send") if span.context
    }
    assert sum(int(str(attribute(span, "messaging.batch.message_count"))) for span in received) == 150


def test_aiokafka_that_cannot_send(broker: str, topic: str) -> None:
    """The host gets the library's own exception, and the span of the send has its type."""

    async def body(sender: Any, reader: Any) -> None:
        with pytest.raises(aiokafka.errors.MessageSizeTooLargeError):
            await sender.send(topic, "x" * 2_000_000)

    assert str(attribute(only(run_aiokafka(broker, body, topic), "send"), "error.type")).endswith("TooLargeError")


@pytest.mark.parametrize("name", ["confluent-kafka", "aiokafka"])
def test_keys_by_rules_at_the_receiver(name: str, captured: Captured, broker: str, topic: str, consumer: Any) -> None:
    """A record of somebody without a hook has the keys that a rule finds in it."""
    tracer.instrument("confluent-kafka", "aiokafka", extract={"invoice": "$.invoice"})
    sender = producer(broker)
    with unhooked():
        sender.produce(topic, b'{"invoice": "I-7"}')
        sender.flush(10)

    async def read() -> None:
        async with aiokafka.AIOKafkaConsumer(
            topic, bootstrap_servers=broker, group_id=fresh("group"), auto_offset_reset="earliest"
        ) as reader:
            await asyncio.wait_for(reader.getone(), 30)

    try:
        _ = polled(consumer) if name == "confluent-kafka" else asyncio.run(read())
        assert attribute(only(captured, "receive"), "controltower.key.invoice") == "I-7"
    finally:
        tracer.uninstrument("aiokafka")
