"""An instrumented service: makes the orders that it is told of and publishes them."""

import json
import os
import sys

import pika

from controltower import tracer

LINES = (("A-77", "10", "BX", "125.00"), ("A-78", "4", "EA", "0.50"))

tracer.configure(service="ordering")
tracer.instrument("pika")
with pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"])) as connection:
    channel = connection.channel()
    for number in sys.argv[1:]:
        facts = {"vendor": "V-1011"}
        with tracer.step(
            "p2p.purchase_order.created",
            keys={"purchase_order": number},
            context=facts,
            amount="1252.00",
            currency="USD",
        ) as step:
            for at, (item, quantity, uom, price) in enumerate(LINES, 1):
                step.line(line=at, item=item, quantity=quantity, uom=uom, unit_price=price)
            channel.basic_publish(
                "", os.environ["ORDERS_QUEUE"], json.dumps({"order": number, "lines": LINES}).encode()
            )
tracer.shutdown()
