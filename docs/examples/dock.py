"""Receives goods at the dock: a scanner's MQTT message becomes a receipt, which goes to Kafka."""

import json
import os
from typing import Any

import confluent_kafka
from paho.mqtt import client as mqtt

from controltower import tracer

tracer.instrument("paho", "confluent-kafka")
tracer.configure(service="dock")

TOPIC = os.environ.get("DOCK_TOPIC", "dock/arrivals")
RECEIPTS = os.environ.get("RECEIPTS_TOPIC", "receipts")
HOST, _, PORT = os.environ.get("MQTT_ADDRESS", "127.0.0.1:1883").partition(":")
receipts = confluent_kafka.Producer({"bootstrap.servers": os.environ.get("KAFKA_SERVERS", "127.0.0.1:9092")})


def receive(client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
    """Book the goods of one shipment."""
    with tracer.step("p2p.goods.received") as step:
        step.key("receipt", f"R-{json.loads(message.payload)['number']}")
        receipts.produce(RECEIPTS, message.payload, on_delivery=booked)
        receipts.flush(10)


def booked(error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
    """Fail loudly when the broker did not take a receipt."""
    if error is not None:
        raise confluent_kafka.KafkaException(error)


dock = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=TOPIC, protocol=mqtt.MQTTv5)
dock.on_connect = lambda *_: dock.subscribe(TOPIC, qos=1)
dock.on_subscribe = lambda *_: print("dock is ready", flush=True)
dock.on_message = receive
dock.connect(HOST, int(PORT))
dock.loop_forever()
