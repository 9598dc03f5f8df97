"""Acknowledges orders, or refuses those with more than it has."""

import os
from decimal import Decimal

import flask

from controltower import tracer

tracer.instrument("flask")
tracer.configure(service="supplier")

app = flask.Flask(__name__)
MOST = 1000


@app.post("/orders")
def acknowledge() -> tuple[str, int]:
    """Acknowledge one order."""
    with tracer.step("p2p.purchase_order.acknowledged") as step:
        if Decimal(flask.request.json["amount"]) > MOST:
            step.outcome("rejected", reason="too_large")
            return "too large", 422
    return "", 202


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
