"""pika against a real RabbitMQ: publish, deliver, fetch, give back, dead letters; blocking and with callbacks."""

from collections.abc import Iterator
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

needs("pika")
import pika
from pika.adapters.blocking_connection import BlockingChannel

RABBITMQ = ("RabbitMQ", "RABBITMQ_ADDRESS", 5672)
Message = tuple[Any, Any, Any]


@pytest.fixture
def parameters() -> pika.ConnectionParameters:
    """Where the broker is."""
    host, port = broker(*RABBITMQ)
    return pika.ConnectionParameters(host, port)


@pytest.fixture
def captured(parameters: pika.ConnectionParameters) -> Iterator[Captured]:
    """The spans of a process with the hook."""
    with hooked("pika") as found:
        yield found


@pytest.fixture
def channel(captured: Captured, parameters: pika.ConnectionParameters) -> Iterator[BlockingChannel]:
    """A channel with confirmed publishing, opened after the hook was turned on."""
    with pika.BlockingConnection(parameters) as connection:
        opened = connection.channel()
        opened.confirm_delivery()
        yield opened


@pytest.fixture
def queue(channel: BlockingChannel) -> str:
    """A queue of this test."""
    name = fresh()
    channel.queue_declare(name, exclusive=True)
    return name


def publish(channel: BlockingChannel, queue: str, **properties: Any) -> None:
    """Publish one message below a step."""
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        channel.basic_publish("", queue, b"{}", pika.BasicProperties(**properties))


def deliver(channel: BlockingChannel, queue: str, handle: Any) -> None:
    """Call *handle* with the next message, and with no other one."""
    tag = channel.basic_consume(queue, handle)
    channel.connection.process_data_events(time_limit=5)
    channel.basic_cancel(tag)


def test_a_delivered_message_is_linked_to_its_sender(captured: Captured, channel: BlockingChannel, queue: str) -> None:
    """One span for the publish, one for the handler, joined by a link; the step in the handler has the sender's keys."""

    def handle(receiver: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        with tracer.step("p2p.purchase_order.acknowledged"):
            receiver.basic_ack(method.delivery_tag)

    publish(channel, queue, message_id="M-1", headers={"Idempotency-Key": "I-1"})
    deliver(channel, queue, handle)

    sent, worked = assert_hop(captured)
    step = captured.assert_step("p2p.purchase_order.acknowledged", keys={**PO, "idempotency": "I-1"})
    assert step.parent is not None
    assert worked.context is not None
    assert step.parent.span_id == worked.context.span_id
    assert (sent.name, worked.name) == (f"send {queue}", f"process {queue}")
    for span in (sent, worked):
        assert attribute(span, "messaging.message.id") == "M-1"
        assert attribute(span, "messaging.destination.name") == queue
        assert attribute(span, "server.port") == 5672
        assert attribute(span, "controltower.key.idempotency") == "I-1"
    assert attribute(worked, "controltower.message.redelivered") is False
    assert of(captured, "settle") == []  # of what is settled well the handler's span tells enough


def test_the_hosts_properties_are_left_alone(channel: BlockingChannel, queue: str) -> None:
    """Properties are used again by many hosts: ours go into a copy, theirs arrive."""
    properties = pika.BasicProperties(headers={"theirs": 1}, content_type="application/json")
    for _ in range(2):
        channel.basic_publish("", queue, b"{}", properties)
    _, arrived, _ = channel.basic_get(queue, auto_ack=True)

    assert properties.headers == {"theirs": 1}
    assert arrived is not None
    assert set(arrived.headers) == {"theirs", "traceparent", "controltower-sent-at"}
    assert arrived.content_type == "application/json"


def test_fetched_messages(captured: Captured, channel: BlockingChannel, queue: str) -> None:
    """What is fetched is linked, leaves nothing current behind, and is worked on in ``processing``."""
    publish(channel, queue)
    message: Message = channel.basic_get(queue)
    assert channel.basic_get(queue) == (None, None, None)

    _, received = assert_hop(captured, received="receive")
    with tracer.processing(message) as sender, tracer.step("p2p.purchase_order.acknowledged"):
        channel.basic_ack(message[0].delivery_tag)

    assert attribute(received, "messaging.message.id") is None
    assert sender is not None
    assert sender.span_id == received.links[0].context.span_id
    assert_linked(only(captured, "process"), only(captured, "send"))
    captured.assert_step("p2p.purchase_order.acknowledged", keys=PO)


def test_a_loop_that_is_left(captured: Captured, channel: BlockingChannel, queue: str) -> None:
    """Neither a ``break`` nor an exception in a loop over messages leaves a context behind."""
    for _ in range(2):
        publish(channel, queue)
    for method, _, _ in channel.consume(queue):
        channel.basic_ack(method.delivery_tag)
        break
    error: ValueError | None = None
    try:
        for _ in channel.consume(queue):
            raise ValueError
    except ValueError as kept:
        error = kept
    with tracer.step("p2p.invoice.received"):
        pass

    assert error is not None  # it holds the loop's frame, and with it the generator
    assert len(of(captured, "receive")) == 2
    step = captured.assert_step("p2p.invoice.received")
    assert step.parent is None
    assert attribute(step, "controltower.key.purchase_order") is None


def test_a_handler_that_raises(captured: Captured, channel: BlockingChannel, queue: str) -> None:
    """The host sees its own exception; the span has its type and not its text."""

    def handle(*_: Any) -> None:
        raise LookupError("patient Jane Doe")

    publish(channel, queue)
    with pytest.raises(LookupError, match="Jane"):
        deliver(channel, queue, handle)

    _, worked = assert_hop(captured)
    assert worked.status.status_code.name == "ERROR"
    assert attribute(worked, "error.type") == "LookupError"
    assert "Jane" not in worked.to_json()


def test_a_message_given_back_comes_again(captured: Captured, channel: BlockingChannel, queue: str) -> None:
    """A nack with requeue is a span of its own, and the second delivery is one that was delivered before."""
    publish(channel, queue)
    method, _, _ = channel.basic_get(queue)
    assert method is not None
    channel.basic_nack(method.delivery_tag, requeue=True)
    again, _, _ = channel.basic_get(queue)

    settled = only(captured, "settle")
    assert again is not None
    assert_linked(settled, only(captured, "send"))
    assert attribute(settled, "controltower.message.requeued") is True
    assert attribute(settled, "controltower.outcome") is None
    assert [attribute(span, "controltower.message.redelivered") for span in of(captured, "receive")] == [False, True]


@pytest.mark.parametrize("how", ["reject", "nack"])
def test_dead_letters(captured: Captured, channel: BlockingChannel, how: str) -> None:
    """What is refused is rejected in its span; found among the dead letters it says who gave it up, and why."""
    alive, dead = fresh(), fresh("dead")
    channel.queue_declare(dead, exclusive=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    channel.queue_declare(alive, exclusive=True, arguments=arguments)

    def handle(receiver: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        if how == "reject":
            receiver.basic_reject(method.delivery_tag, requeue=False)
        else:
            receiver.basic_nack(delivery_tag=method.delivery_tag, requeue=False)

    publish(channel, alive)
    deliver(channel, alive, handle)
    deliver(channel, dead, lambda receiver, method, properties, body: receiver.basic_ack(method.delivery_tag))

    sent, settled = only(captured, "send"), only(captured, "settle")
    assert sent.context is not None
    assert [link.context.span_id for link in settled.links] == [sent.context.span_id]
    assert attribute(settled, "messaging.operation.name") == how
    worked, found = of(captured, "process")
    for span in (settled, worked):
        assert attribute(span, "controltower.outcome") == "rejected"
    assert_linked(found, sent)
    assert attribute(found, "controltower.context.dlq") == dead
    assert attribute(found, "controltower.context.dlq_from") == alive
    assert attribute(found, "controltower.reason") == "rejected"
    assert attribute(found, "controltower.message.dead_letter_count") == 1
    assert attribute(found, "controltower.key.purchase_order") == "PO-1042"


def test_many_at_once_given_back(captured: Captured, channel: BlockingChannel, queue: str) -> None:
    """A nack of several messages is one span with a link for each, also beyond OpenTelemetry's 128."""
    for _ in range(150):
        publish(channel, queue)
    last = 0
    for method, _, _ in channel.consume(queue, inactivity_timeout=5):
        last = method.delivery_tag
        if last == 150:
            break
    channel.basic_nack(last, multiple=True, requeue=False)

    assert_linked(only(captured, "settle"), *of(captured, "send"))
    assert captured.system.health().cut == 0


@pytest.mark.parametrize("traceparent", GARBAGE)
def test_headers_of_strangers(captured: Captured, channel: BlockingChannel, queue: str, traceparent: str) -> None:
    """A message without headers or with broken ones is worked on like any other, without a link."""
    tracer.uninstrument("pika")
    headers = {"traceparent": traceparent, "baggage": "controltower.key.invoice", "controltower-sent-at": "soon"}
    channel.basic_publish("", queue, b"", pika.BasicProperties(headers={**headers, "x-death": [], "table": {"a": [1]}}))
    channel.basic_publish("", queue, b"")
    tracer.instrument("pika")
    for _ in range(2):
        with tracer.processing(channel.basic_get(queue, auto_ack=True)) as sender:
            assert sender is None

    for span in (*of(captured, "receive"), *of(captured, "process")):
        assert span.links == ()
        assert attribute(span, "controltower.message.wait_ms") is None
    assert len(of(captured, "process")) == 2


def test_an_unroutable_message(captured: Captured, channel: BlockingChannel) -> None:
    """What the broker gives back is an error of the send."""
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", fresh("nobody"), b"", mandatory=True)

    assert attribute(only(captured, "send"), "error.type") == "pika.exceptions.UnroutableError"


def test_a_broker_that_is_gone(parameters: pika.ConnectionParameters) -> None:
    """The host gets the library's own exception, and the span of the send has its type."""
    with hooked("pika") as captured, relay(parameters.host, parameters.port) as (port, cut):
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
        channel = connection.channel()
        channel.confirm_delivery()
        cut()
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            channel.basic_publish("", "orders", b"")
        connection._cleanup()  # pika leaves its own sockets open when the broker went

    sent = only(captured, "send")
    assert sent.status.status_code.name == "ERROR"
    assert str(attribute(sent, "error.type")).startswith("pika.exceptions.")


def test_a_connection_with_callbacks(captured: Captured, parameters: pika.ConnectionParameters) -> None:
    """The connection without blocking calls is hooked the same way, with one span each."""
    queue = fresh()

    def opened(channel: Any) -> None:
        channel.queue_declare(queue, exclusive=True, callback=lambda _: declared(channel))

    def declared(channel: Any) -> None:
        channel.basic_consume(queue, on_message_callback=handle)
        with tracer.step("p2p.purchase_order.dispatched", keys=PO):
            channel.basic_publish(exchange="amq.direct", routing_key="nobody", body=b"")
            channel.basic_publish(exchange="", routing_key=queue, body=b"")

    def handle(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        with tracer.step("p2p.purchase_order.acknowledged"):
            channel.basic_ack(method.delivery_tag)
        connection.close()

    connection = pika.SelectConnection(
        parameters,
        on_open_callback=lambda made: made.channel(on_open_callback=opened),
        on_close_callback=lambda made, _: made.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()

    to_exchange, to_queue = of(captured, "send")
    assert to_exchange.name == "send amq.direct"
    assert attribute(to_exchange, "messaging.rabbitmq.destination.routing_key") == "nobody"
    assert_linked(only(captured, "process"), to_queue)
    captured.assert_step("p2p.purchase_order.acknowledged", keys=PO)


def test_keys_go_to_listed_brokers_only(parameters: pika.ConnectionParameters) -> None:
    """A broker that ``propagate_hosts`` does not list gets the trace and no keys, and none that were there before."""
    old = "theirs=1,controltower.key.invoice=I-9"
    with (
        hooked("pika", propagate_hosts=["other.example.org"]) as captured,
        pika.BlockingConnection(parameters) as connection,
    ):
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        publish(channel, queue, headers={"baggage": old})
        _, arrived, _ = channel.basic_get(queue, auto_ack=True)

    assert arrived is not None
    assert arrived.headers["baggage"] == "theirs=1"
    assert only(captured, "send").name == "send amq.gen"
    assert of(captured, "receive")[0].links


def test_keys_by_rules(captured: Captured, channel: BlockingChannel, queue: str) -> None:
    """A rule takes keys from the body at the sender, from where they travel, and from headers at the receiver."""
    needs("jsonpath_rfc9535")
    tracer.instrument("pika", extract={"purchase_order": "$.order.number", queue: {"invoice": "header:X-Invoice"}})
    headers = {"X-Invoice": "I-1"}
    with unhooked():
        channel.basic_publish("", queue, b"{}", pika.BasicProperties(headers=headers))
    channel.basic_publish("", queue, b'{"order": {"number": "PO-1042"}}')
    deliver(channel, queue, lambda receiver, method, properties, body: receiver.basic_ack(method.delivery_tag))

    stranger, ours = of(captured, "process")
    assert attribute(stranger, "controltower.key.invoice") == "I-1"
    for span in (only(captured, "send"), ours):
        assert attribute(span, "controltower.key.purchase_order") == "PO-1042"


def test_nothing_is_left_after_uninstrument(captured: Captured, channel: BlockingChannel, queue: str) -> None:
    """Handlers that were registered before go on without spans, and the library's methods are its own again."""
    seen: list[bytes] = []
    channel.basic_consume(queue, lambda *message: seen.append(message[3]))
    tracer.uninstrument("pika")
    channel.basic_publish("", queue, b"later")
    channel.connection.process_data_events(time_limit=5)

    assert seen == [b"later"]
    assert captured.spans == ()
    assert BlockingChannel.basic_publish.__module__ == "pika.adapters.blocking_connection"
    assert not hasattr(BlockingChannel.basic_publish, "__wrapped__")
