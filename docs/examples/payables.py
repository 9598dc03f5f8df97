"""Makes an invoice of each receipt that comes from Kafka (evaluated receipt settlement), for the nightly job to post."""

import json
import os

import confluent_kafka
import psycopg

from controltower import tracer

tracer.instrument("confluent-kafka", "psycopg")
tracer.configure(service="payables")

RECEIPTS = os.environ.get("RECEIPTS_TOPIC", "receipts")
DATABASE = os.environ.get("DATABASE_URL", "postgresql://postgres@127.0.0.1/postgres")
INVOICES = "CREATE TABLE IF NOT EXISTS invoices (number text, purchase_order text, amount numeric, posted boolean)"
INVOICE = "INSERT INTO invoices VALUES (%(invoice)s, %(number)s, %(amount)s, false)"

receipts = confluent_kafka.Consumer({
    "bootstrap.servers": os.environ.get("KAFKA_SERVERS", "127.0.0.1:9092"),
    "group.id": "payables",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})  # fmt: skip
receipts.subscribe([RECEIPTS], on_assign=lambda *_: print("payables is ready", flush=True))
with psycopg.connect(DATABASE, autocommit=True) as database:
    database.execute(INVOICES)
    while True:
        message = receipts.poll(5)
        if message is None:
            continue
        if message.error():
            raise confluent_kafka.KafkaException(message.error())
        order = json.loads(message.value())
        with tracer.processing(message), tracer.step("p2p.invoice.received", amount=order["amount"]) as step:
            invoice = f"I-{order['number']}"
            step.key("invoice", invoice)
            database.execute(INVOICE, {**order, "invoice": invoice})
        receipts.commit(message, asynchronous=False)
