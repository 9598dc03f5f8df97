"""A worker that nobody instruments: takes orders from a queue, writes each as an X12 850, and logs as such programs do."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pika

logging.Formatter.default_msec_format = "%s,%03d"
logging.basicConfig(filename=sys.argv[1], format="%(asctime)s %(levelname)-5s [edi] %(message)s", level=logging.INFO)
logging.getLogger("pika").setLevel(logging.WARNING)
log = logging.getLogger("edi")
outbound, wanted = Path(sys.argv[2]), int(sys.argv[3])


def document(order: str, lines: list[list[str]], control: int) -> str:
    """Return an interchange with one order."""
    now = datetime.now(UTC)
    body = [f"BEG*00*SA*{order}**{now:%Y%m%d}", "CUR*BY*USD", "N1*SE*ACME*92*V-1011"]
    body += [
        f"PO1*{at}*{quantity}*{uom}*{price}**VN*{item}" for at, (item, quantity, uom, price) in enumerate(lines, 1)
    ]
    body += [f"CTT*{len(lines)}", "AMT*TT*1252.00"]
    return "~".join(
        [
            f"ISA*00*          *00*          *ZZ*HOSPITAL       *ZZ*V-1011         *{now:%y%m%d*%H%M}*U*00401*{control:09d}*0*P*>",
            f"GS*PO*HOSPITAL*V-1011*{now:%Y%m%d*%H%M}*{control}*X*004010",
            "ST*850*0001",
            *body,
            f"SE*{len(body) + 2}*0001",
            f"GE*1*{control}",
            f"IEA*1*{control:09d}~",
        ]
    )


with pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"])) as connection:
    channel = connection.channel()
    for control, (method, _, content) in enumerate(channel.consume(os.environ["ORDERS_QUEUE"]), 1):
        order = json.loads(content)
        log.info("took %s from the queue", order["order"])
        name = outbound / f"{order['order']}.850"
        name.write_text(document(order["order"], order["lines"], control), encoding="ascii")
        Path(f"{name}.ok").touch()
        log.info("order %010d mapped to %s", int(order["order"].removeprefix("PO-")), name.name)
        channel.basic_ack(method.delivery_tag)
        if control == wanted:
            break
    channel.cancel()
