"""Acknowledges orders and has them packed, by a Redis stream; refuses those with more than it has."""

import os
from decimal import Decimal

import flask
import redis

from controltower import tracer

tracer.instrument("flask", "redis")
tracer.configure(service="supplier")

STREAM = os.environ.get("PACKING_STREAM", "packing")
packing = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1/"))
app = flask.Flask(__name__)
MOST = 1000


@app.post("/orders")
def acknowledge() -> tuple[str, int]:
    """Acknowledge one order."""
    with tracer.step("p2p.purchase_order.acknowledged") as step:
        order: dict[str, str] = flask.request.json
        if Decimal(order["amount"]) > MOST:
            step.outcome("rejected", reason="too_large")
            return "too large", 422
        packing.xadd(STREAM, order)
    return "", 202


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
