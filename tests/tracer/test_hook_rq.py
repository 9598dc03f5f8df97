"""RQ with its real workers on a real Redis: the run of a job is linked to its sender and has its keys."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.testing import Captured
from tests.tracer.hooked import PO, assert_hop, attribute, broker, fresh, hooked, needs, of, only

needs("rq", "redis")
import redis
import rq
import rq.timeouts


def work(number: str) -> str:
    """A job with a step in it."""
    with tracer.step("p2p.purchase_order.acknowledged"):
        if number == "fails":
            raise LookupError("patient Jane Doe")
    return "patient Jane Doe"


def tell(path: str) -> None:
    """Write the trace context that a job has into a file."""
    Path(path).write_text(tracer.environment().get("BAGGAGE", "none"))


@pytest.fixture
def captured() -> Iterator[Captured]:
    """The spans of a process with the hook."""
    broker("Redis", "REDIS_ADDRESS", 6379)
    with hooked("rq") as found:
        yield found


@pytest.fixture
def queue(captured: Captured) -> Iterator[Any]:
    """A queue of this test alone."""
    host, port = broker("Redis", "REDIS_ADDRESS", 6379)
    with redis.Redis(host=host, port=port) as connection:
        made = rq.Queue(fresh("rq"), connection=connection)
        yield made
        made.delete(delete_jobs=True)


def run(queue: Any, kind: type[Any] = rq.SimpleWorker) -> None:
    """Run what is in the queue in a real worker."""
    kind([queue], connection=queue.connection).work(burst=True, logging_level="CRITICAL")


def test_a_job(captured: Captured, queue: Any) -> None:
    """The run has the sender's keys and its wait; arguments and results are not kept."""
    with tracer.step("p2p.purchase_order.dispatched", keys={**PO, "claim_pcn": "C-1"}):
        job = queue.enqueue(work, "12345")
    run(queue)

    sent, worked = assert_hop(captured)
    assert attribute(sent, "messaging.message.id") == attribute(worked, "messaging.message.id") == job.id
    assert attribute(worked, "controltower.key.claim_pcn") is None
    assert attribute(worked, "controltower.message.delivery_count") == 1
    captured.assert_step("p2p.purchase_order.acknowledged", keys=PO)
    assert not any("12345" in span.to_json() or "Jane" in span.to_json() for span in captured.spans)


def test_a_job_that_fails_and_is_tried_again(captured: Captured, queue: Any) -> None:
    """Each try has its number and the keys of who sent it; the spans have no text of the exception."""
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        queue.enqueue(work, "fails", retry=rq.Retry(max=1))
    run(queue)

    first, second = of(captured, "process")
    assert len(of(captured, "send")) == 1
    assert [attribute(span, "controltower.message.delivery_count") for span in (first, second)] == [1, 2]
    for span in (first, second):
        assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
        assert attribute(span, "error.type") == "LookupError"
    assert not any("Jane" in span.to_json() for span in captured.spans)


def test_many_and_planned_jobs(captured: Captured, queue: Any) -> None:
    """Each of many has a span; one that is planned has its sender's headers when its time comes."""
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        queue.enqueue_many([rq.Queue.prepare_data(work, ("1",)), rq.Queue.prepare_data(work, ("2",))])
        planned = queue.enqueue_at(datetime(2100, 1, 1, tzinfo=UTC), work, "3")
    queue._enqueue_job(rq.job.Job.fetch(planned.id, connection=queue.connection))  # as the scheduler does
    run(queue)

    assert len(of(captured, "send")) == 3
    runs = of(captured, "process")
    assert [attribute(span, "controltower.key.purchase_order") for span in runs] == ["PO-1042"] * 3
    assert all(len(span.links) == 1 for span in runs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that a process with threads forks
def test_a_worker_that_forks(captured: Captured, queue: Any, tmp_path: Path) -> None:
    """The process of a job has the sender's keys, and ends with exit code 0."""
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        job = queue.enqueue(tell, str(tmp_path / "told"))
    run(queue, rq.Worker)

    assert job.get_status() == "finished"
    assert (tmp_path / "told").read_text() == "controltower.key.purchase_order=PO-1042"
    assert attribute(only(captured, "send"), "messaging.system") == "rq"
