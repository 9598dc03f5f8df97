"""Plans the dock for shipments that NATS JetStream announces, and tells the dock by MQTT."""

import asyncio
import os
from typing import Any

import nats
from paho.mqtt import client as mqtt

from controltower import tracer

tracer.instrument("nats", "paho")
tracer.configure(service="warehouse")

SUBJECT = os.environ.get("SHIPMENTS_SUBJECT", "shipments")
TOPIC = os.environ.get("DOCK_TOPIC", "dock/arrivals")
HOST, _, PORT = os.environ.get("MQTT_ADDRESS", "127.0.0.1:1883").partition(":")


async def main() -> None:
    """Tell the dock of each shipment."""
    dock = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    dock.connect(HOST, int(PORT))
    dock.loop_start()

    async def plan(message: Any) -> None:
        with tracer.step("p2p.shipment.notified"):
            told = dock.publish(TOPIC, message.data, qos=1)
            await asyncio.to_thread(told.wait_for_publish, 10)
        await message.ack()

    connection = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    stream = connection.jetstream()
    await stream.add_stream(name=SUBJECT.replace(".", "-"), subjects=[SUBJECT])
    await stream.subscribe(SUBJECT, durable="warehouse", cb=plan, manual_ack=True)
    print("warehouse is ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
