"""Packs what the supplier acknowledged, from a Redis stream, and announces the shipment by NATS JetStream."""

import asyncio
import json
import os

import nats
import redis.asyncio
from redis.exceptions import ResponseError

from controltower import tracer

tracer.instrument("redis", "nats")
tracer.configure(service="shipping")

STREAM = os.environ.get("PACKING_STREAM", "packing")
SUBJECT = os.environ.get("SHIPMENTS_SUBJECT", "shipments")
GROUP = "shipping"


async def main() -> None:
    """Announce one shipment for each order."""
    address = os.environ.get("REDIS_URL", "redis://127.0.0.1/")
    packing = redis.asyncio.Redis.from_url(address, decode_responses=True, socket_timeout=None)  # it waits for orders
    try:
        await packing.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):  # the group is there already
            raise
    connection = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    stream = connection.jetstream()
    await stream.add_stream(name=SUBJECT.replace(".", "-"), subjects=[SUBJECT])
    print("shipping is ready", flush=True)
    while True:
        for _, entries in await packing.xreadgroup(GROUP, "packer", {STREAM: ">"}, count=1, block=0):
            for entry in entries:
                id_, order = entry
                async with tracer.processing(entry), tracer.step("p2p.shipment.dispatched") as step:
                    step.key("shipment", f"S-{order['number']}")
                    await stream.publish(SUBJECT, json.dumps(order).encode())
                await packing.xack(STREAM, GROUP, id_)


asyncio.run(main())
