"""Takes orders over HTTP, writes them down in PostgreSQL, and passes them on by RabbitMQ."""

import json
import os

import fastapi
import pika
import psycopg
import uvicorn

from controltower import tracer

tracer.instrument("fastapi", "pika", "psycopg")
tracer.configure(service="order-api")

QUEUE = os.environ.get("ORDERS_QUEUE", "orders")
RABBITMQ = pika.URLParameters(os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1/"))
DATABASE = os.environ.get("DATABASE_URL", "postgresql://postgres@127.0.0.1/postgres")
app = fastapi.FastAPI()


@app.post("/orders", status_code=202)
def take(order: dict[str, str]) -> None:
    """Take one order; its key comes by the rule in keys.yaml."""
    with (
        tracer.step("p2p.purchase_order.created", amount=order["amount"], currency="USD"),
        psycopg.connect(DATABASE) as database,
        pika.BlockingConnection(RABBITMQ) as connection,
    ):
        database.execute("INSERT INTO orders (number, amount) VALUES (%(number)s, %(amount)s)", order)
        channel = connection.channel()
        channel.queue_declare(QUEUE)
        channel.confirm_delivery()
        channel.basic_publish("", QUEUE, json.dumps(order).encode())


if __name__ == "__main__":
    with psycopg.connect(DATABASE) as database:
        database.execute("CREATE TABLE IF NOT EXISTS orders (number text, amount numeric)")
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
