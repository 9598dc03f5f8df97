"""paho-mqtt against a real Mosquitto: MQTT 5 with its user properties, and MQTT 3.1.1 without headers."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    broker,
    fresh,
    hooked,
    needs,
    of,
    only,
    relay,
    unhooked,
)

needs("paho")
from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

pytestmark = pytest.mark.usefixtures("low_descriptors")  # paho waits by select

SERVER = ("an MQTT broker", "MQTT_ADDRESS", 1883)
Handle = Callable[[Any, Any, Any], None]


@pytest.fixture
def captured() -> Iterator[Captured]:
    """The spans of a process with the hook."""
    broker(*SERVER)
    with hooked("paho") as found:
        yield found


@contextmanager
def connected(protocol: Any = MQTTv5, handle: Handle | None = None, topic: str = "", **options: Any) -> Iterator[Any]:
    """A client with its thread, subscribed to *topic*."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    subscribed: queue.Queue[bool] = queue.Queue()
    client.on_connect = lambda *_: client.subscribe(topic, qos=1) if topic else subscribed.put(True)
    client.on_subscribe = lambda *_: subscribed.put(True)
    if handle is not None:
        client.on_message = handle
    client.connect(*broker(*SERVER), **options)
    client.loop_start()
    assert subscribed.get(timeout=10)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def properties(*pairs: tuple[str, str]) -> Any:
    """Return the properties of a message."""
    made = Properties(PacketTypes.PUBLISH)
    made.UserProperty = list(pairs)
    return made


def publish(client: Any, topic: str, *pairs: tuple[str, str]) -> None:
    """Publish one message below a step, and wait until the broker has it."""
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        info = client.publish(topic, b"{}", qos=1, properties=properties(*pairs) if pairs else None)
    info.wait_for_publish(10)


def test_a_callback_is_linked_to_its_sender(captured: Captured) -> None:
    """The handler has the sender's keys; a topic is named by what was subscribed to."""
    topic = fresh("site/1")
    seen: queue.Queue[Any] = queue.Queue()

    def handle(client: Any, data: Any, message: Any) -> None:
        with tracer.step("p2p.purchase_order.acknowledged"):
            pass
        seen.put(message)

    given = properties(("theirs", "1"), ("Idempotency-Key", "I-1"))
    with connected(handle=handle, topic="site/+") as client:
        client.subscribe([(f"{topic}/#", 1)])
        with tracer.step("p2p.purchase_order.dispatched", keys=PO):
            client.publish(f"{topic}/orders", b"{}", qos=1, properties=given)
        message = seen.get(timeout=10)
        until(lambda: bool(of(captured, "process")), "every message is handled")

    sent, worked = assert_hop(captured)
    assert (sent.name, worked.name) == (f"send {topic}/orders", f"process {topic}/#")
    assert attribute(worked, "messaging.destination.name") == f"{topic}/orders"
    assert attribute(worked, "controltower.message.redelivered") is False
    assert given.UserProperty == [("theirs", "1"), ("Idempotency-Key", "I-1")]
    assert message.properties.UserProperty[:2] == given.UserProperty
    captured.assert_step("p2p.purchase_order.acknowledged", keys={**PO, "idempotency": "I-1"})


def test_a_worker_that_gets_messages_from_the_callback(captured: Captured) -> None:
    """``processing`` knows the message in another thread."""
    topic = fresh("site/2")
    seen: queue.Queue[Any] = queue.Queue()
    with connected(handle=lambda client, data, message: seen.put(message), topic=topic) as client:
        publish(client, topic)
        with tracer.processing(seen.get(timeout=10)) as sender, tracer.step("p2p.purchase_order.acknowledged"):
            assert sender is not None

    assert len(of(captured, "process")) == 2
    captured.assert_step("p2p.purchase_order.acknowledged", keys=PO)


def test_mqtt_3_has_no_headers(captured: Captured) -> None:
    """Both ends have their spans, nothing joins them, and it is counted."""
    topic = fresh("site/3")
    seen: queue.Queue[Any] = queue.Queue()
    with connected(MQTTv311, lambda client, data, message: seen.put(message), topic) as client:
        publish(client, topic)
        message = seen.get(timeout=10)
        with tracer.processing(message) as sender:
            assert sender is None
        until(lambda: len(of(captured, "process")) == 2, "every message is handled")

    assert message.payload == b"{}"
    assert of(captured, "send")
    assert all(span.links == () for span in captured.spans)
    assert captured.system.health().misuse == {"mqtt_without_headers": 1}


def test_a_handler_that_raises(captured: Captured) -> None:
    """The client's thread sees the exception as before; the span has its type and not its text."""
    topic = fresh("site/4")
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect(*broker(*SERVER))

    def handle(*_: Any) -> None:
        raise LookupError("patient Jane Doe")

    client.on_connect = lambda *_: client.subscribe(topic)
    client.on_subscribe = lambda *_: client.publish(topic, b"")
    client.on_message = handle
    with pytest.raises(LookupError, match="Jane"):
        client.loop_forever()
    client.disconnect()

    worked = only(captured, "process")
    assert attribute(worked, "error.type") == "LookupError"
    assert "Jane" not in worked.to_json()


def test_properties_of_strangers(captured: Captured) -> None:
    """A message without properties or with broken ones is worked on like any other, without a link."""
    topic = fresh("site/5")
    seen: queue.Queue[Any] = queue.Queue()
    strange = [properties(("traceparent", each), ("baggage", "x")) for each in GARBAGE if "\0" not in each]
    with connected(handle=lambda client, data, message: seen.put(message), topic=topic) as client:
        for each in (*strange, None):
            with unhooked():
                client.publish(topic, b"", qos=1, properties=each).wait_for_publish(10)
            assert seen.get(timeout=10).payload == b""
        until(lambda: len(of(captured, "process")) == len(strange) + 1, "every message is handled")

    assert of(captured, "send") == []
    assert all(span.links == () for span in captured.spans)


def test_headers_of_an_earlier_hop_are_replaced(captured: Captured) -> None:
    """A message sent on with the properties that it came with has one trace, that of its sender."""
    topic = fresh("site/6")
    seen: queue.Queue[Any] = queue.Queue()
    with connected(handle=lambda client, data, message: seen.put(message), topic=topic) as client:
        publish(client, topic)
        first = seen.get(timeout=10)
        client.publish(topic, b"", qos=1, properties=first.properties)
        second = seen.get(timeout=10)
        until(lambda: len(of(captured, "process")) == 2, "every message is handled")

    names = [name for name, _ in second.properties.UserProperty]
    assert sorted(names) == ["controltower-sent-at", "traceparent"]
    for sent, worked in zip(of(captured, "send"), of(captured, "process"), strict=True):
        assert_linked(worked, sent)


def test_a_broker_that_is_gone() -> None:
    """A message that cannot be sent is an error of the send; one that the client keeps for later is not."""
    host, port = broker(*SERVER)
    with hooked("paho") as captured, relay(host, port) as (near, cut):
        gone: queue.Queue[bool] = queue.Queue()
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        client.on_connect = lambda *_: cut()
        client.on_disconnect = lambda *_: gone.put(True)
        client.connect("127.0.0.1", near)
        client.loop_start()
        gone.get(timeout=10)
        client.loop_stop()
        client.publish("site/7", b"")
        client.publish("site/7", b"", qos=1)

    lost, kept = of(captured, "send")
    assert attribute(lost, "error.type") == "MQTT_ERR_NO_CONN"
    assert kept.status.is_unset


def test_keys_by_rules(captured: Captured) -> None:
    """A message of somebody without a hook has the keys that a rule finds in it."""
    topic = fresh("site/8")
    seen: queue.Queue[Any] = queue.Queue()
    tracer.instrument("paho", extract={"site/*": {"invoice": "form:invoice"}})
    with connected(handle=lambda client, data, message: seen.put(message), topic=topic) as client:
        with unhooked():
            client.publish(topic, b"invoice=I-7", qos=1).wait_for_publish(10)
        seen.get(timeout=10)
        client.publish("site/9", b"invoice=I-8", qos=1).wait_for_publish(10)
        until(lambda: bool(of(captured, "process")), "every message is handled")

    assert attribute(only(captured, "send"), "controltower.key.invoice") == "I-8"
    assert attribute(only(captured, "process"), "controltower.key.invoice") == "I-7"
