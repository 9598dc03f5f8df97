"""Dead letters in a real RabbitMQ: each becomes a span once, and the queue is as it was, whatever happens meanwhile."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.scrapers import dead_letters
from controltower.collector.scrapers.dead_letters import DeadLetterReader
from controltower.collector.scrapers.definition import DeadLetterSource
from controltower.collector.scrapers.delivery import StoppedError
from controltower.collector.scrapers.observation import Level
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.brokers import DIED_S, SPAN, TRACE, Rabbit, death, rabbit, source_of, worker_of
from tests.collector.scrapers.test_worker import attributes_of, spans_of
from tests.tracer.hooked import needs

needs("pika")

ALWAYS: Answer = (200, {}, b"")
Json = dict[str, Any]


@pytest.fixture
def mq(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rabbit]:
    """A RabbitMQ whose address the environment holds."""
    with rabbit() as made:
        monkeypatch.setenv("RABBITMQ_URL", made.url)
        yield made


def reader_of(queue: str, **options: Any) -> DeadLetterReader:
    source = source_of("dead_letters", queue, every="0 minutes", **options)
    assert isinstance(source, DeadLetterSource)
    return DeadLetterReader(source, time.time_ns)


def looked(reader: DeadLetterReader) -> list[str]:
    """Return the orders of one look at a queue."""
    orders: list[str] = []
    caught_up = False
    while not caught_up:
        records, caught_up = reader.read()
        orders += [record.flaw or reader.parse(record)["po"] for record in records]
    return orders


def fill(mq: Rabbit, queue: str, *numbers: int) -> None:
    for number in numbers:
        mq.put(queue, {"po": f"PO-{number}"}, headers={"x-death": [death()]})
    mq.channel.queue_declare(queue, passive=True)


def test_ten_thousand_are_looked_through_and_stay_in_their_order(mq: Rabbit, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several batches; all are there afterwards, one behind the other as they were."""
    monkeypatch.setattr(dead_letters, "MOST_RECORDS", 3_000)
    queue = mq.queue()
    fill(mq, queue, *range(10_000))
    reader = reader_of(queue)

    assert looked(reader) == [f"PO-{number}" for number in range(10_000)]
    assert mq.holds(queue, 10_000)
    assert looked(reader) == []
    assert reader.levels[0] == Level("depth", 10_000, queue)
    assert mq.holds(queue, 10_000)
    assert mq.drained(queue) == [b'{"po": "PO-%d"}' % number for number in range(10_000)]


def test_a_look_that_breaks_off_changes_nothing(mq: Rabbit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes while messages are held; others come behind them, and what was saved is not read again."""
    monkeypatch.setattr(dead_letters, "MOST_RECORDS", 40)
    queue = mq.queue()
    fill(mq, queue, *range(100))
    reader = reader_of(queue)
    assert len(reader.read().records) == 40
    fill(mq, queue, 100)
    reader.close()
    assert mq.holds(queue, 101)
    after = reader_of(queue)
    after.restore(reader.state())

    assert looked(after) == [f"PO-{number}" for number in range(40, 101)]
    assert mq.holds(queue, 101)
    assert mq.drained(queue) == [b'{"po": "PO-%d"}' % number for number in range(101)]


def test_what_comes_and_goes(mq: Rabbit) -> None:
    """A message that is replayed and dies again is a new dead letter; of two that are alike each counts."""
    queue = mq.queue()
    fill(mq, queue, 1, 2, 2)
    reader = reader_of(queue)
    assert looked(reader) == ["PO-1", "PO-2", "PO-2"]
    assert mq.holds(queue, 3)

    mq.channel.basic_get(queue, auto_ack=True)
    mq.put(queue, {"po": "PO-1"}, headers={"x-death": [death(count=2, at_s=DIED_S + 60)]})
    fill(mq, queue, 2)
    assert mq.holds(queue, 4)
    assert looked(reader) == ["PO-1", "PO-2"]


def test_a_quorum_queue_is_left_alone(mq: Rabbit) -> None:
    """It would lose its order, and in the end its messages: it is looked at twice, and never again."""
    queue = mq.queue("quorum", **{"x-delivery-limit": 5})
    mq.channel.confirm_delivery()
    fill(mq, queue, *range(50))
    assert mq.holds(queue, 50)
    reader = reader_of(queue)
    for _ in range(10):
        assert looked(reader) == []
    after = reader_of(queue)
    after.restore(reader.state())
    for _ in range(10):
        assert looked(after) == []

    assert "quorum queue" in after.problems[queue]
    assert mq.drained(queue) == [b'{"po": "PO-%d"}' % number for number in range(50)]


def test_a_span_tells_where_it_died_and_of_which_trace_it_is(mq: Rabbit, tmp_path: Path) -> None:
    """Through the queue that gave it up, as a broker does it: reason, times, money, and the sender's span as its parent."""
    dead = mq.queue()
    alive = mq.queue(**{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    mq.put(alive, {"po": "PO-1", "amount": 12.50}, headers=headers, message_id="m-1")
    method, _, _ = mq.channel.basic_get(alive)
    assert method is not None
    mq.channel.basic_reject(method.delivery_tag, requeue=False)
    rule: Json = {
        "step": "p2p.purchase_order.dispatched",
        "keys": {"purchase_order": "$.po"},
        "context": {"dlq_from": "dead.queue"},
        "amount": "$.amount",
        "reason": "dead.reason",
        "outcome": {"text": "exception"},
        "trace": {"trace_id": "trace.id", "span_id": "trace.span"},
    }
    source = source_of("dead_letters", dead, rules=[rule])
    before_s = int(time.time())
    with answering(lambda *_: ALWAYS) as server:
        worker_of(tmp_path, source, server.url, time.time_ns).run_once()
        worker_of(tmp_path, source, server.url, time.time_ns).run_once()

    (span,) = spans_of(server.bodies)
    found = attributes_of(span)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert found["controltower.reason"] == "rejected"
    assert found["controltower.outcome"] == "exception"
    assert found["controltower.context.dlq_from"] == alive
    assert found["controltower.amount"] == "12.5"
    assert abs(span.start_time_unix_nano // 10**9 - before_s) < 60


def test_a_bad_letter_stops_no_other(mq: Rabbit, tmp_path: Path) -> None:
    """What is no JSON is rejected once, and what lies behind it is read."""
    queue = mq.queue()
    for body in (b"\xff", b"no", b'{"po": "PO-1"}'):
        mq.put(queue, body)
    source = source_of("dead_letters", queue)
    with answering(lambda *_: ALWAYS) as server:
        first = worker_of(tmp_path, source, server.url, time.time_ns)
        first.run_once()
        assert mq.holds(queue, 3)
        second = worker_of(tmp_path, source, server.url, time.time_ns)
        second.run_once()

    assert (first.health.records, first.health.steps, first.health.rejected) == (3, 1, 2)
    assert (second.health.records, second.health.levels[0].value) == (0, 3)
    assert mq.holds(queue, 3)


def test_a_collector_that_is_away(mq: Rabbit, tmp_path: Path) -> None:
    """What was read and not acknowledged is sent by the next process, once."""
    queue = mq.queue()
    fill(mq, queue, 1, 2)
    source = source_of("dead_letters", queue)
    with answering(lambda number, _: (503, {}, b"") if not number else ALWAYS) as server:
        stopped = worker_of(tmp_path, source, server.url, time.time_ns)
        stopped.ask_to_stop()
        with pytest.raises(StoppedError):
            stopped.run_once()
        worker_of(tmp_path, source, server.url, time.time_ns).run_once()

    assert [attributes_of(span)["controltower.key.purchase_order"] for span in spans_of(server.bodies[-1:])] == [
        "PO-1",
        "PO-2",
    ]
    assert mq.holds(queue, 2)
