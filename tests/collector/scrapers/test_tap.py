"""Copies of a real RabbitMQ's messages: each once, given up when it is safe, and the others' queues untouched."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.scrapers import tap
from controltower.collector.scrapers.definition import TapSource
from controltower.collector.scrapers.kind import kind_of
from controltower.collector.scrapers.tap import TapReader
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.brokers import SPAN, TRACE, Rabbit, rabbit, source_of, worker_of
from tests.collector.scrapers.test_worker import attributes_of, spans_of
from tests.tracer.hooked import fresh, needs

needs("pika")

ALWAYS: Answer = (200, {}, b"")


@pytest.fixture
def mq(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rabbit]:
    """A RabbitMQ whose address the environment holds."""
    with rabbit() as made:
        monkeypatch.setenv("RABBITMQ_URL", made.url)
        yield made


def tap_of(mq: Rabbit, **options: Any) -> TapSource:
    """Return a source on a new exchange, whose queue is there already."""
    source = source_of("tap", mq.known(fresh("tap")), exchange=mq.exchange(), **options)
    assert isinstance(source, TapSource)
    reader = reader_of(source)
    assert reader.read() == ([], True)
    reader.close()
    return source


def reader_of(source: TapSource) -> TapReader:
    made = kind_of(source)(source, time.time_ns)
    assert isinstance(made, TapReader)
    return made


def orders(reader: TapReader) -> list[str]:
    """Return the orders of all that is there."""
    found: list[str] = []
    caught_up = False
    while not caught_up:
        records, caught_up = reader.read()
        found += [reader.parse(record)["po"] for record in records]
    return found


def numbered(*numbers: int) -> list[str]:
    return [f"PO-{number}" for number in numbers]


def send(mq: Rabbit, source: TapSource, *numbers: int) -> None:
    for number in numbers:
        mq.put("orders.new", {"po": f"PO-{number}"}, source.exchange)
    mq.channel.queue_declare(source.queue, passive=True)


def test_others_get_their_messages_as_before(mq: Rabbit, tmp_path: Path) -> None:
    """What was copied became steps and was given up, in several batches; the queue beside ours holds all of it."""
    source = tap_of(mq)
    theirs = mq.queue()
    mq.channel.queue_bind(theirs, source.exchange, "orders.*")
    send(mq, source, *range(12_000))
    with answering(lambda *_: ALWAYS) as server:
        worker_of(tmp_path, source, server.url, time.time_ns).run_once()

    spans = spans_of(server.bodies)
    assert [attributes_of(span)["controltower.key.purchase_order"] for span in spans] == numbered(*range(12_000))
    assert len({span.span_id for span in spans}) == 12_000
    assert mq.holds(source.queue, 0)
    assert mq.drained(theirs) == [b'{"po": "PO-%d"}' % number for number in range(12_000)]


def test_what_is_not_kept_comes_again(mq: Rabbit) -> None:
    """After a crash before it was saved, every message is read as if for the first time."""
    source = tap_of(mq)
    send(mq, source, 1, 2)
    first = reader_of(source)
    assert orders(first) == numbered(1, 2)
    first.close()

    second = reader_of(source)
    assert orders(second) == numbered(1, 2)
    second.close()


def test_what_was_saved_and_not_given_up_is_no_second_step(mq: Rabbit) -> None:
    """After a crash between the two, the broker delivers it again, and it is known; others that are alike are not."""
    source = tap_of(mq)
    send(mq, source, 1, 1, 2)
    first = reader_of(source)
    assert orders(first) == numbered(1, 1, 2)
    saved = first.state()
    first.close()
    send(mq, source, 2, 3)

    second = reader_of(source)
    second.restore(saved)
    assert orders(second) == numbered(2, 3)
    second.acknowledged(second.state())
    second.close()
    assert mq.holds(source.queue, 0)


def test_no_more_is_held_than_it_says(mq: Rabbit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker hands out no more until what was read is kept, and everything comes in the end."""
    monkeypatch.setattr(tap, "MOST_HELD", 10)
    source = tap_of(mq)
    send(mq, source, *range(25))
    reader = reader_of(source)
    first = [record for _ in range(5) for record in reader.read().records]
    assert len(first) == 10
    assert reader.holding

    reader.acknowledged(reader.state())
    assert orders_kept(reader) == numbered(*range(10, 25))
    reader.close()


def orders_kept(reader: TapReader) -> list[str]:
    found: list[str] = []
    caught_up = False
    while not caught_up:
        records, caught_up = reader.read()
        found += [reader.parse(record)["po"] for record in records]
        reader.acknowledged(reader.state())
    return found


def test_a_queue_that_was_full_is_told(mq: Rabbit) -> None:
    """The broker drops the oldest copies, and nobody could know."""
    source = tap_of(mq, most=3)
    send(mq, source, *range(5))
    reader = reader_of(source)

    assert orders(reader) == numbered(2, 3, 4)
    assert "was full" in reader.problems[source.queue]
    reader.close()


def test_a_message_without_a_rule_is_given_up(mq: Rabbit, tmp_path: Path) -> None:
    """What no rule fits, and what is rejected, does not stay in the queue."""
    rules = [
        {
            "when": {"message.routing_key": "orders.new"},
            "step": "p2p.purchase_order.created",
            "keys": {"purchase_order": "$.po"},
            "trace": {"trace_id": "trace.id", "span_id": "trace.span"},
        }
    ]
    source = tap_of(mq, rules=rules)
    mq.put("orders.old", {"po": "PO-1"}, source.exchange)
    mq.put("orders.new", b"no", source.exchange)
    mq.put("orders.new", {"po": "PO-2"}, source.exchange, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    mq.channel.queue_declare(source.queue, passive=True)
    with answering(lambda *_: ALWAYS) as server:
        worker = worker_of(tmp_path, source, server.url, time.time_ns)
        worker.run_once()

    assert (worker.health.records, worker.health.unmatched, worker.health.rejected) == (3, 1, 1)
    assert [span.trace_id.hex() for span in spans_of(server.bodies)] == [TRACE]
    assert mq.holds(source.queue, 0)
