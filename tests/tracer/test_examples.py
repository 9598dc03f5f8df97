"""The services of docs/examples, as processes on the real brokers: one order is one transaction in all of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.processes import until
from tests.tracer.hooked import needs

needs(
    "confluent_kafka", "fastapi", "flask", "httpx", "jsonpath_rfc9535", "nats", "paho.mqtt", "pika", "psycopg", "redis",
    "yaml", instrumentations=("fastapi", "flask", "httpx", "psycopg"),
)  # fmt: skip
from tests.tracer.example_network import CONSUMERS, PATIENCE_S, Network, clocked, network, waited

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
HELD_S = 0.3
SECRET = "Maria-Example-1957-04-12"  # in the payload of every message
SERVICES = {  # step -> its service
    "p2p.purchase_order.created": "order-api",
    "p2p.purchase_order.dispatched": "order-adapter",
    "p2p.purchase_order.acknowledged": "supplier",
    "p2p.shipment.dispatched": "shipping",
    "p2p.shipment.notified": "warehouse",
    "p2p.goods.received": "dock",
    "p2p.invoice.received": "payables",
    "p2p.invoice.posted": "ledger",
}
BROKERS = ("rabbitmq", "redis", "nats", "mqtt", "kafka")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Everything, running."""
    with network(tmp_path_factory.mktemp("network")) as running:
        yield running


def traced(services: Network, number: str) -> list[dict[str, Any]]:
    """Return the transactions that ``controltower trace`` tells of an order."""
    found: list[dict[str, Any]] = json.loads(services.tower.run("trace", number, "--json"))["transactions"]
    return found


def sent_slowly(services: Network, order: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Send an order while all consumers stand still, and let one after the other go on.

    Returns for each broker between which two durations, in milliseconds, its message waited by this test's own clock:
    it was sent after the consumer before was let go and before its step was seen; the same holds for its arrival.
    """
    for name in CONSUMERS:
        services.hold(name)
    sent = clocked(lambda: services.send(**order))
    waits = {}
    for name, broker in zip(CONSUMERS, BROKERS, strict=True):
        waited(HELD_S)
        service = name.replace("_", "-")

        def go_on(name: str = name, service: str = service) -> None:
            services.release(name)
            until(lambda: services.steps_of(service, order["number"]), f"the step of {name} is stored", PATIENCE_S)

        arrived = clocked(go_on)
        waits[broker] = (arrived[0] - sent[1], arrived[1] - sent[0])
        sent = arrived
    return waits


def test_an_order_is_one_transaction_over_every_broker(services: Network) -> None:
    """Eight services, five brokers, a database and a nightly job: one transaction, each wait as the clock says."""
    order = {"number": "PO-1042", "amount": "250.00", "note": SECRET}
    waits = sent_slowly(services, order)
    job = services.start("nightly")
    assert job.wait(PATIENCE_S) == 0, services.said("nightly")
    until(lambda: services.steps_of("ledger", "PO-1042"), "the posting is stored", PATIENCE_S)
    until(lambda: len(traced(services, "PO-1042")[0]["steps"]) == len(SERVICES), "all steps are resolved", PATIENCE_S)

    (transaction,) = traced(services, "PO-1042")
    assert {step["step"]: step["system"] for step in transaction["steps"]} == SERVICES
    hops = {(hop["operation"], hop["broker"]): hop for hop in transaction["hops"]}
    assert len(transaction["hops"]) == len(hops) == 2 * len(BROKERS)
    for broker, (shortest, longest) in waits.items():
        sent, arrived = hops["send", broker], hops["process", broker]
        assert shortest <= arrived["wait_ms"] <= longest, broker
        assert shortest >= HELD_S * 1000 - 1
        assert sent["span"]["trace_id"] != arrived["span"]["trace_id"]
        assert sent["destination"] == arrived["destination"]
    assert [hop["broker"] for hop in transaction["hops"] if hop["operation"] == "process"] == list(BROKERS)


def test_what_the_supplier_refuses_is_rejected_on_its_way_back(services: Network) -> None:
    """The supplier's step, the adapter's, the work on the message and its return are rejected; nothing goes on."""
    services.send(number="PO-9", amount="2500.00", note=SECRET)
    until(lambda: services.steps_of("order-adapter", "PO-9"), "the adapter's step is stored", PATIENCE_S)
    until(lambda: len(traced(services, "PO-9")[0]["steps"]) == 3, "all steps are resolved", PATIENCE_S)

    (transaction,) = traced(services, "PO-9")
    assert {step["system"] for step in transaction["steps"] if step["outcome"] == "rejected"} == {
        "order-adapter",
        "supplier",
    }
    assert {hop["operation"]: hop["outcome"] for hop in transaction["hops"]} == {
        "send": "",
        "process": "rejected",
        "settle": "rejected",
    }


def test_nothing_of_a_payload_is_stored(services: Network) -> None:
    """The note that every message carried is in no table and no file of the tower; the key that a rule named is."""
    tables = dict(services.tower.tables())
    services.tower.end()
    files = [path for path in services.tower.data.rglob("*") if path.is_file()]

    assert "PO-1042" in tables["otel_traces"]
    assert [name for name, rows in tables.items() if SECRET in rows] == []
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
