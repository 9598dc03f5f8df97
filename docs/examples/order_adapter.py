"""Takes orders from RabbitMQ and sends them to the supplier; what the supplier refuses is rejected."""

import json
import os
from typing import Any

import httpx
import pika

from controltower import tracer

tracer.instrument("httpx", "pika")
tracer.configure(service="order-adapter")

QUEUE = os.environ.get("ORDERS_QUEUE", "orders")
RABBITMQ = pika.URLParameters(os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1/"))
supplier = httpx.Client(base_url=os.environ["SUPPLIER_URL"], timeout=10)


def send(channel: Any, method: Any, properties: Any, body: bytes) -> None:
    """Send one order."""
    with tracer.step("p2p.purchase_order.dispatched") as step:
        answer = supplier.post("/orders", json=json.loads(body))
        if answer.is_success:
            channel.basic_ack(method.delivery_tag)
        else:
            step.outcome("rejected", reason="refused_by_supplier")
            channel.basic_reject(method.delivery_tag, requeue=False)


with pika.BlockingConnection(RABBITMQ) as connection:
    channel = connection.channel()
    channel.queue_declare(QUEUE)
    channel.basic_consume(QUEUE, send)
    print("order-adapter is ready", flush=True)
    channel.start_consuming()
