"""Dead letters in real queues: each becomes a span once, and the queue is as it was, whatever happens meanwhile."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.scrapers import dead_letters, redis_list
from controltower.collector.scrapers.dead_letters import DeadLetterReader
from controltower.collector.scrapers.delivery import StoppedError
from controltower.collector.scrapers.kind import kind_of
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.sqs_shelf import seen_of
from tests.aws_server import aws_server
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.brokers import DIED_S, SPAN, TRACE, Rabbit, death, rabbit, source_of, worker_of
from tests.collector.scrapers.streams import OwnRedis, orders
from tests.collector.scrapers.test_worker import attributes_of, spans_of
from tests.tracer.hooked import needs

needs("pika", "redis", "boto3", "moto")
import boto3

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
    made = kind_of(source)(source, time.time_ns)
    assert isinstance(made, DeadLetterReader)
    return made


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


def test_a_list_of_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is taken out; what is pushed at either end is read, and nothing else is for a second time."""
    with closing(OwnRedis(tmp_path)) as own:
        monkeypatch.setenv("REDIS_URL", own.address)
        own.client.rpush("failed", *orders(*range(2_500), 7))
        reader = reader_of("failed", broker="redis_list")
        first = looked(reader)
        own.client.lpush("failed", *orders(-1))
        own.client.rpush("failed", *orders(2_500))
        own.client.lrem("failed", 1, orders(5)[0])
        again = reader_of("failed", broker="redis_list")
        again.restore(reader.state())
        second, third = looked(again), looked(again)
        there = own.client.lrange("failed", 0, -1)
        monkeypatch.setattr(redis_list, "MOST_SEEN", 100)
        assert looked(again) == []
        told = again.problems
        again.close()
        reader.close()

    assert first == [f"PO-{number}" for number in (*range(2_500), 7)]
    assert (second, third) == (["PO--1", "PO-2500"], [])
    assert there == orders(-1, *range(5), *range(6, 2_500), 7, 2_500)
    assert told == {"failed": "holds 2502 messages; the first 100 are read"}


@pytest.fixture(scope="module")
def sqs_options() -> Iterator[Json]:
    """How SQS, as moto has it, is reached."""
    with aws_server() as address:
        yield {"endpoint_url": address, "region_name": "us-east-1"}


@pytest.fixture
def sqs(sqs_options: Json, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of SQS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return boto3.client("sqs", **sqs_options)


def test_a_queue_of_sqs(sqs: Any, sqs_options: Json, tmp_path: Path) -> None:
    """Each letter once, in its sender's trace, and all can be had afterwards."""
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    alive = sqs.create_queue(QueueName="alive", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    text = {"StringValue": f"00-{TRACE}-{SPAN}-01", "DataType": "String"}
    for body in orders(*range(25)):
        sqs.send_message(QueueUrl=alive, MessageBody=body.decode(), MessageAttributes={"traceparent": text})
    while sqs.receive_message(QueueUrl=alive, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages"):
        pass
    rule = {
        "step": "p2p.purchase_order.dispatched",
        "keys": {"purchase_order": "$.po"},
        "trace": {"trace_id": "trace.id", "span_id": "trace.span"},
    }
    source = source_of("dead_letters", "dead", broker="sqs", options=sqs_options, rules=[rule])
    with answering(lambda *_: ALWAYS) as server:
        for _ in range(2):
            worker = worker_of(tmp_path, source, server.url, time.time_ns)
            worker.run_once()

    spans = spans_of(server.bodies)
    assert sorted(attributes_of(span)["controltower.key.purchase_order"] for span in spans) == sorted(
        f"PO-{number}" for number in range(25)
    )
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    told = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    assert (told["ApproximateNumberOfMessages"], told["ApproximateNumberOfMessagesNotVisible"]) == ("25", "0")


def test_where_a_letter_of_sqs_died() -> None:
    """AWS says which queue gave it up, which moto does not; how often it was received is no part of its content."""
    facts = {"DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:1:orders", "SentTimestamp": "1762171964250"}
    told = {"MessageId": "m-1", "ReceiptHandle": "r", "Body": "{}"}
    one = seen_of({**told, "Attributes": {**facts, "ApproximateReceiveCount": "4"}})
    two = seen_of({**told, "Attributes": {**facts, "ApproximateReceiveCount": "5"}})

    assert one == two
    assert one.message.dead == {"queue": "orders", "reason": "delivery_limit"}
    assert (one.id, one.message.time) == ("m-1", "1762171964.250")


def test_a_queue_of_sqs_that_gives_up_itself_is_left_alone(sqs: Any, sqs_options: Json) -> None:
    """Each look would count, and in the end move its messages on."""
    last = sqs.create_queue(QueueName="last")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=last, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    address = sqs.create_queue(QueueName="first", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    sqs.send_message(QueueUrl=address, MessageBody="{}")
    reader = reader_of("first", broker="sqs", options=sqs_options)
    for _ in range(3):
        assert looked(reader) == []

    assert "gives messages up itself" in reader.problems["first"]
    reader.close()
    (message,) = sqs.receive_message(QueueUrl=address, AttributeNames=["All"])["Messages"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


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
