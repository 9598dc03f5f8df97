"""The services of docs/examples, as processes: one order is one transaction in all three."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.cli.otlp_recorder import Recorder, recording
from tests.processes import until
from tests.tracer.hooked import broker, fresh, needs

needs("fastapi", "flask", "httpx", "pika", "yaml", "jsonpath_rfc9535", instrumentations=("fastapi", "flask", "httpx"))
import pika

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@contextmanager
def running(script: str, environment: dict[str, str]) -> Iterator[None]:
    """Run one service for the length of the block."""
    process = subprocess.Popen([sys.executable, str(EXAMPLES / script)], env={**os.environ, **environment})
    try:
        yield
        assert process.poll() is None, f"{script} ended by itself"
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def answers(url: str) -> bool:
    """Return whether a server is there."""
    try:
        return httpx.get(url, timeout=5).status_code > 0
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[Recorder, str]]:
    """The three services with a broker and a recorder; gives it and the address of the first."""
    host, port = broker("RabbitMQ", "RABBITMQ_ADDRESS", 5672)
    address, queue = f"amqp://guest:guest@{host}:{port}/", fresh()
    api, supplier = free_port(), free_port()
    with ExitStack() as stack:
        recorder = stack.enter_context(recording())
        shared = {
            "CONTROLTOWER_ENDPOINT": recorder.url,
            "CONTROLTOWER_EXTRACT": str(EXAMPLES / "keys.yaml"),
            "RABBITMQ_URL": address,
            "ORDERS_QUEUE": queue,
            "SUPPLIER_URL": f"http://127.0.0.1:{supplier}",
        }
        for script, own in (("supplier.py", supplier), ("order_adapter.py", 0), ("order_api.py", api)):
            stack.enter_context(running(script, {**shared, "PORT": str(own)}))
        until(lambda: answers(f"http://127.0.0.1:{api}") and answers(f"http://127.0.0.1:{supplier}"), "services answer")
        yield recorder, f"http://127.0.0.1:{api}"
    with pika.BlockingConnection(pika.URLParameters(address)) as connection:
        connection.channel().queue_delete(queue)


def attributes(span: Span) -> dict[str, Any]:
    """Return the attributes of a span that are text or a flag."""
    return {item.key: item.value.string_value or item.value.bool_value for item in span.attributes}


def of_order(recorder: Recorder, number: str) -> list[tuple[str, Span]]:
    """Return the spans with the key of one order."""
    return [
        (service, span)
        for service, span in recorder.spans()
        if attributes(span).get("controltower.key.purchase_order") == number
    ]


def steps(recorder: Recorder, number: str) -> dict[str, str]:
    """Return each step of one order with its service."""
    found = {attributes(span).get("controltower.step"): service for service, span in of_order(recorder, number)}
    return {step: service for step, service in found.items() if step}


def test_an_order_is_one_transaction(network: tuple[Recorder, str]) -> None:
    """Every step has the key that no service handles, and the queue hop is a link."""
    recorder, address = network
    httpx.post(f"{address}/orders", json={"number": "PO-1042", "amount": "250.00"}).raise_for_status()
    until(lambda: len(steps(recorder, "PO-1042")) == 3, "all steps are there")
    until(lambda: len(of_order(recorder, "PO-1042")) == 8, "all spans are there")

    assert steps(recorder, "PO-1042") == {
        "p2p.purchase_order.created": "order-api",
        "p2p.purchase_order.dispatched": "order-adapter",
        "p2p.purchase_order.acknowledged": "supplier",
    }
    spans = {f"{service} {span.name.split()[0]}": span for service, span in of_order(recorder, "PO-1042")}
    (link,) = spans["order-adapter process"].links
    assert link.span_id == spans["order-api send"].span_id
    assert not any("250.00" in str(span) for _, span in of_order(recorder, "PO-1042") if span.name.startswith("send"))


def test_a_refused_order_is_rejected_in_both(network: tuple[Recorder, str]) -> None:
    """What the supplier refuses is rejected by its step, by the adapter's, and by the message."""
    recorder, address = network
    httpx.post(f"{address}/orders", json={"number": "PO-9", "amount": "2500.00"}).raise_for_status()
    until(lambda: len(of_order(recorder, "PO-9")) == 9, "all spans are there")

    rejected = sorted(
        f"{service} {span.name.split()[0]}"
        for service, span in of_order(recorder, "PO-9")
        if attributes(span).get("controltower.outcome") == "rejected"
    )
    assert rejected == [
        "order-adapter p2p.purchase_order.dispatched",
        "order-adapter process",
        "order-adapter settle",
        "supplier p2p.purchase_order.acknowledged",
    ]
