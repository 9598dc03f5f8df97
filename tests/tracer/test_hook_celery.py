"""Celery with a real worker on a real Redis: the run of a task is linked to its sender and has its keys."""

import gc
import logging
import queue
from collections.abc import Iterator
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.integrations.celery import hosts_of
from controltower.tracer.testing import Captured
from tests.processes import until
from tests.tracer.hooked import PO, attribute, broker, fresh, hooked, needs

needs("celery", "redis", instrumentations=("celery",))
import celery
from celery.contrib.testing.worker import start_worker

App = Any


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The level and handlers of the root logger, which a worker sets, are for tests behind this one as they were."""
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def captured() -> Iterator[Captured]:
    """The spans of a process with the hook."""
    broker("Redis", "REDIS_ADDRESS", 6379)
    with hooked("celery") as found:
        yield found


@pytest.fixture
def app(captured: Captured, root_logger: None) -> Iterator[App]:
    """An application whose worker runs in a thread of this process."""
    host, port = broker("Redis", "REDIS_ADDRESS", 6379)
    address = f"redis://{host}:{port}/0"
    made = celery.Celery("orders", broker=address, set_as_current=False)
    made.conf.update(task_default_queue=fresh("celery"), worker_hijack_root_logger=False)
    yield made
    with made.connection_for_write() as connection:
        connection.default_channel.queue_delete(made.conf.task_default_queue)
    made.close()
    gc.collect()  # the worker leaves its sockets to the collector; not to that of another test


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_task(captured: Captured, app: App) -> None:
    """The run has the sender's keys, its wait, and no arguments; the next run in the same worker has none of them."""
    seen: queue.Queue[str] = queue.Queue()

    def work(number: str) -> str:
        with tracer.step("p2p.purchase_order.acknowledged"):
            seen.put(number)
        return "patient Jane Doe"

    task = app.task(name="orders.work")(work)
    with start_worker(app, perform_ping_check=False, pool="solo"):
        with tracer.step("p2p.purchase_order.dispatched", keys={**PO, "claim_pcn": "C-1"}):
            task.delay("12345")
        task.delay("67890")
        assert [seen.get(timeout=20), seen.get(timeout=20)] == ["12345", "67890"]
        until(
            lambda: len([span for span in captured.spans if span.kind.name == "CONSUMER"]) == 2,
            "every message is handled",
        )

    sent, _ = [span for span in captured.spans if span.kind.name == "PRODUCER"]
    first, second = [span for span in captured.spans if span.kind.name == "CONSUMER"]
    steps = [span for span in captured.steps if span.name == "p2p.purchase_order.acknowledged"]
    assert sent.context is not None
    assert first.context is not None
    assert [link.context.span_id for link in first.links] == [sent.context.span_id]
    assert first.context.trace_id != sent.context.trace_id
    for span in (sent, first, steps[0]):
        assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
    assert attribute(first, "controltower.key.claim_pcn") is None
    for span in (second, steps[1]):
        assert attribute(span, "controltower.key.purchase_order") is None
    assert isinstance(attribute(first, "controltower.message.wait_ms"), int)
    assert attribute(first, "controltower.message.delivery_count") == 1
    assert not any("12345" in span.to_json() or "Jane" in span.to_json() for span in captured.spans)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_task_that_fails_and_is_tried_again(captured: Captured, app: App) -> None:
    """Each try is a run with its number; the spans have no text of the exception."""

    def work(task: Any) -> None:
        if task.request.retries == 0:
            raise task.retry(exc=LookupError("patient Jane Doe"), countdown=0)
        raise LookupError("patient Jane Doe")

    task = app.task(name="orders.again", bind=True, max_retries=1)(work)
    with start_worker(app, perform_ping_check=False, pool="solo"):
        with tracer.step("p2p.purchase_order.dispatched", keys=PO):
            task.delay()
        until(
            lambda: len([span for span in captured.spans if span.kind.name == "CONSUMER"]) == 2,
            "every message is handled",
        )

    first, second = [span for span in captured.spans if span.kind.name == "CONSUMER"]
    assert [attribute(span, "controltower.message.delivery_count") for span in (first, second)] == [1, 2]
    for span in (first, second):
        assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
    assert second.status.status_code.name == "ERROR"
    assert not any("Jane" in span.to_json() for span in captured.spans)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis://127.0.0.1:6379/0", ("127.0.0.1",)),
        ("redis://127.0.0.1:6379/0;amqp://guest@rabbit.example.org//", ("127.0.0.1", "rabbit.example.org")),
        (["amqp://a.internal//", "amqp://b.internal//"], ("a.internal", "b.internal")),
        ("redis+socket:///run/redis.sock", ("/run/redis.sock",)),
        ("memory://", ("localhost",)),
        ("sqs://", ("",)),
        (None, ("localhost",)),
    ],
)
def test_whose_broker_it_is(url: object, hosts: tuple[str, ...]) -> None:
    """Every broker that a task may go to counts; one whose host is not known may not have keys."""
    app = celery.Celery("orders", broker=url, set_as_current=False)

    assert hosts_of(app, None, None) == hosts
    if url and "sqs" not in str(url):  # its library is another one
        with app.connection_for_write() as connection:
            assert hosts_of(app, None, connection) == hosts


def test_keys_go_to_listed_brokers_only(app: App) -> None:
    """A broker that ``propagate_hosts`` does not list gets the trace and no keys."""
    with hooked("celery", propagate_hosts=["other.example.org"]), tracer.step("p2p.purchase_order.dispatched", keys=PO):
        app.send_task("orders.work", ["12345"])
    with app.connection_for_write() as connection:
        message = connection.SimpleQueue(app.conf.task_default_queue).get(timeout=10)

    assert "traceparent" in message.headers
    assert "baggage" not in message.headers
