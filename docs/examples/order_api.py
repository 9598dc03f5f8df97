"""Takes orders over HTTP and passes them on by RabbitMQ."""

import json
import os

import fastapi
import pika
import uvicorn

from controltower import tracer

tracer.instrument("fastapi", "pika")
tracer.configure(service="order-api")

QUEUE = os.environ.get("ORDERS_QUEUE", "orders")
app = fastapi.FastAPI()


@app.post("/orders", status_code=202)
def take(order: dict[str, str]) -> None:
    """Take one order; its key comes by the rule in keys.yaml."""
    with (
        tracer.step("p2p.purchase_order.created", amount=order["amount"], currency="USD"),
        pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"])) as connection,
    ):
        channel = connection.channel()
        channel.queue_declare(QUEUE)
        channel.confirm_delivery()
        channel.basic_publish("", QUEUE, json.dumps(order).encode())


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
