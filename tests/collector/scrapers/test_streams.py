"""Streams of Redis and NATS and topics of Kafka: each message once, in order, read by our own position alone."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from controltower.collector.scrapers.definition import DeadLetterSource, TapSource
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.kind import kind_of
from controltower.collector.scrapers.nats_client import Nats
from controltower.collector.scrapers.observation import Level, Record
from controltower.collector.scrapers.stream import StreamReader
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.brokers import SPAN, TRACE, rabbit, source_of, worker_of
from tests.collector.scrapers.streams import OWN, Own, OwnKafka, OwnNats, OwnRedis, orders
from tests.collector.scrapers.test_worker import attributes_of, spans_of
from tests.processes import until
from tests.tracer.hooked import needs

needs("pika", "redis", "nats", "confluent_kafka")
import nats
import redis

ALWAYS: Answer = (200, {}, b"")
Source = DeadLetterSource | TapSource
Made = TypeVar("Made", bound=Own)


@pytest.fixture(scope="module", params=OWN, ids=lambda made: made.name)
def any_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """One broker after the other."""
    kind: type[Own] = request.param
    with closing(kind(tmp_path_factory.mktemp("broker"))) as made:
        yield made


@pytest.fixture
def broker(any_broker: Own, monkeypatch: pytest.MonkeyPatch) -> Own:
    """A broker whose address the environment holds."""
    return addressed(any_broker, monkeypatch)


def addressed(made: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    variable = {"redis": "REDIS_URL", "nats": "NATS_URL", "kafka": "KAFKA_BOOTSTRAP_SERVERS"}[made.name]
    monkeypatch.setenv(variable, made.address)
    return made


def source_in(broker: Own, queue: str, kind: str = "tap", **options: Any) -> Source:
    body = {"body": "body"} if broker.name == "redis" else {}
    source = source_of(kind, queue, broker=broker.name, **body, **options)
    assert isinstance(source, DeadLetterSource | TapSource)
    return source


def reader_of(source: Source, saved: Any = None) -> StreamReader:
    made = kind_of(source)(source, time.time_ns)
    assert isinstance(made, StreamReader)
    if saved is not None:
        made.restore(saved)
    return made


def records_of(reader: StreamReader) -> list[Record]:
    """Return all that is there."""
    found: list[Record] = []
    caught_up = False
    while not caught_up:
        records, caught_up = reader.read()
        found += records
    return found


def read_on(reader: StreamReader) -> None:
    """Read for as long as it goes, or nearly."""
    for _ in range(100):
        reader.read()


def read(source: Source, saved: Any = None) -> tuple[list[str], Any]:
    """Return the orders of all that is there behind what was saved, and what is to be saved then."""
    with closing(reader_of(source, saved)) as reader:
        return [reader.parse(record)["po"] for record in records_of(reader)], reader.state()


def numbered(*numbers: int) -> list[str]:
    return [f"PO-{number}" for number in numbers]


def test_all_of_it_in_order_and_again_the_same(broker: Own) -> None:
    """In many requests; what is read anew, after a crash before anything was saved, has the same places and content."""
    queue = broker.queue()
    broker.put(queue, orders(*range(3_000)))
    source = source_in(broker, queue)
    with closing(reader_of(source)) as first, closing(reader_of(source)) as second:
        found = records_of(first)
        assert [first.parse(record)["po"] for record in found] == numbered(*range(3_000))
        assert len({record.place for record in found}) == 3_000
        assert records_of(second) == found
        assert second.levels[0] == Level("depth", 3_000, queue)
        assert second.problems == {}


def test_what_was_saved_is_not_read_again(broker: Own) -> None:
    """In the middle, at the end, and when others come later."""
    queue = broker.queue()
    broker.put(queue, orders(*range(100)))
    source = source_in(broker, queue)
    with closing(reader_of(source)) as reader:
        some = [reader.parse(record)["po"] for record in reader.read().records]
        while not some:
            some = [reader.parse(record)["po"] for record in reader.read().records]
        saved = reader.state()
    assert some == numbered(*range(len(some)))

    rest, saved = read(source, saved)
    assert rest == numbered(*range(len(some), 100))
    assert read(source, saved) == ([], saved)
    broker.put(queue, orders(100))
    assert read(source, saved)[0] == numbered(100)


def test_a_stream_is_followed_while_it_grows(broker: Own) -> None:
    """One reader sees what comes later, and nothing twice."""
    queue = broker.queue()
    with closing(reader_of(source_in(broker, queue))) as reader:
        assert records_of(reader) == []
        for number in range(3):
            broker.put(queue, orders(number))
            records = until(lambda: records_of(reader), "it is there")
            assert [reader.parse(record)["po"] for record in records] == numbered(number)
        assert records_of(reader) == []


def test_from_the_end(broker: Own) -> None:
    """What was there at the first start is passed over, and only then."""
    queue = broker.queue()
    broker.put(queue, orders(1, 2))
    source = source_in(broker, queue, begin="end")
    nothing, saved = read(source)
    broker.put(queue, orders(3))

    assert nothing == []
    assert read(source, saved)[0] == numbered(3)


def test_a_step_stands_in_the_trace_of_its_sender(broker: Own, tmp_path: Path) -> None:
    """Headers are fields, the time is when the broker got it; what is bad is rejected and holds nothing up."""
    queue = broker.queue()
    broker.put(queue, orders(1), {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    broker.put(queue, [b"no", b"x" * 900_000, *orders(2)])
    rule = {
        "step": "p2p.purchase_order.dispatched",
        "keys": {"purchase_order": "$.po"},
        "amount": "$.amount",
        "trace": {"trace_id": "trace.id", "span_id": "trace.span"},
    }
    source = source_in(broker, queue, rules=[rule])
    with answering(lambda *_: ALWAYS) as server:
        first = worker_of(tmp_path, source, server.url, time.time_ns)
        first.run_once()
        second = worker_of(tmp_path, source, server.url, time.time_ns)
        second.run_once()

    one, two = spans_of(server.bodies)
    assert (one.trace_id.hex(), one.parent_span_id.hex()) == (TRACE, SPAN)
    assert attributes_of(two)["controltower.amount"] == "12.50"
    assert abs(two.start_time_unix_nano - time.time_ns()) < 300 * 10**9
    assert (first.health.records, first.health.rejected, second.health.records) == (4, 2, 0)


def test_what_nobody_can_read_any_more_is_told(broker: Own) -> None:
    """Messages that were removed before they were read are counted; what is behind them is read."""
    if isinstance(broker, OwnKafka):
        pytest.skip("librdkafka's broker removes nothing")
    queue = broker.queue()
    broker.put(queue, orders(0))
    source = source_in(broker, queue)
    _, saved = read(source)
    broker.put(queue, orders(*range(1, 10)))
    broker.remove_first(queue, 5)

    with closing(reader_of(source, saved)) as reader:
        assert [reader.parse(record)["po"] for record in records_of(reader)] == numbered(*range(5, 10))
        assert reader.problems == {queue: "4 messages were removed before they were read"}


def test_a_stream_that_was_made_anew_is_read_from_its_first_message(broker: Own) -> None:
    """A position in the old one says nothing of the new one."""
    if isinstance(broker, OwnKafka):
        pytest.skip("librdkafka's broker removes nothing")
    queue = broker.queue()
    broker.put(queue, orders(1, 2, 3))
    source = source_in(broker, queue)
    _, saved = read(source)
    broker.make_anew(queue)

    with closing(reader_of(source, saved)) as reader:
        assert records_of(reader) == []
        assert "was made anew" in reader.problems[queue]
        broker.put(queue, orders(4))
        assert [reader.parse(record)["po"] for record in records_of(reader)] == numbered(4)


@pytest.mark.parametrize("made", [OwnRedis, OwnNats], ids=lambda made: made.name)
def test_kill_9_of_the_broker(made: type[OwnRedis | OwnNats], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks is told, and after its restart all of it was read once."""
    with closing(made(tmp_path)) as broker:
        addressed(broker, monkeypatch)
        queue = broker.queue()
        broker.put(queue, orders(*range(200)))
        source = source_in(broker, queue)
        with closing(reader_of(source)) as reader:
            some = [reader.parse(record)["po"] for record in reader.read().records]
            saved = reader.state()
            broker.process.kill()
            with pytest.raises((redis.exceptions.ConnectionError, nats.errors.Error)):
                read_on(reader)
        broker.process.start()
        broker.put(queue, orders(200))

        assert some + read(source, saved)[0] == numbered(*range(201))


# -- what is particular


@pytest.fixture(scope="module")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """A Redis."""
    with closing(OwnRedis(tmp_path_factory.mktemp("redis"))) as made:
        yield made


@pytest.fixture(scope="module")
def one_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnNats]:
    """A NATS."""
    with closing(OwnNats(tmp_path_factory.mktemp("nats"))) as made:
        yield made


def test_a_stream_of_rabbitmq(monkeypatch: pytest.MonkeyPatch) -> None:
    """By offset: what was saved is not read again, what follows is, and all of it stays for others."""
    with rabbit() as mq:
        monkeypatch.setenv("RABBITMQ_URL", mq.url)
        queue = mq.queue("stream")
        mq.channel.confirm_delivery()
        for body in orders(*range(200)):
            mq.put(queue, body, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
        source = source_of("dead_letters", queue, broker="rabbitmq_stream")
        assert isinstance(source, Source)
        with closing(reader_of(source)) as reader:
            records = until(lambda: reader.read().records, "some came")
            saved = reader.state()
            fields = reader.parse(records[0])
        mq.put(queue, orders(200)[0])
        with closing(reader_of(source, saved)) as reader:
            rest: list[Record] = []
            while len(records) + len(rest) < 201:
                rest += until(lambda: records_of(reader), "more comes")
            found = [reader.parse(record)["po"] for record in (*records, *rest)]
            assert reader.problems == {}
        with closing(reader_of(source)) as again:
            alike = list(zip(until(lambda: again.read().records, "some came"), records, strict=False))

    assert found == numbered(*range(201))
    assert [one for one, other in alike if one != other] == []
    assert (fields["trace.id"], fields["header.x-stream-offset"]) == (TRACE, "0")


def test_fields_of_an_entry_are_its_body(one_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no field is named as the body; a group that reads the stream is as it was."""
    addressed(one_redis, monkeypatch)
    client, queue = one_redis.client, one_redis.queue()
    client.xgroup_create(queue, "theirs", mkstream=True)
    client.xadd(queue, {"po": "PO-1", "traceparent": f"00-{TRACE}-{SPAN}-01"})
    client.xreadgroup("theirs", "one", {queue: ">"})
    before = client.xinfo_groups(queue)
    source = source_of("tap", queue, broker="redis")
    assert isinstance(source, DeadLetterSource | TapSource)
    with closing(reader_of(source)) as reader:
        (record,) = records_of(reader)
        fields = reader.parse(record)

    assert (fields["po"], fields["header.po"], fields["trace.id"]) == ("PO-1", "PO-1", TRACE)
    assert client.xinfo_groups(queue) == before


@pytest.mark.timeout(30)
def test_a_server_that_is_not_there_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own patience would be two minutes, in which nothing is told and a scraper does not stop."""
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    reading = source_of("tap", "orders", broker="nats")
    assert isinstance(reading, TapSource)
    with pytest.raises(nats.errors.NoServersError):
        Nats(reading)


def test_a_stream_that_keeps_by_who_reads_is_refused(one_nats: OwnNats, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a work queue would take messages from others; what to do instead is said."""
    addressed(one_nats, monkeypatch)
    source = source_in(one_nats, one_nats.queue(retention="workqueue"))

    with pytest.raises(QueueError, match="keeps messages by workqueue"), closing(reader_of(source)) as reader:
        reader.read()


def test_a_consumer_that_the_server_forgot_is_no_silence(one_nats: OwnNats, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that is away for long is no reason to hear nothing any more, and not to tell."""
    from nats.js.errors import NotFoundError

    addressed(one_nats, monkeypatch)
    queue = one_nats.queue()
    with closing(reader_of(source_in(one_nats, queue))) as reader:
        assert records_of(reader) == []

        async def forget(_: Any, streams: Any) -> None:
            (info,) = await streams.consumers_info(queue)
            await streams.delete_consumer(queue, info.name)

        one_nats.run(forget)
        reader._looked_s = 0.0
        with pytest.raises(NotFoundError):
            records_of(reader)


def test_an_advisory_is_the_letter_that_it_tells_of(one_nats: OwnNats, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a consumer gave up lies where it was; a stream of advisories says which, and why."""
    addressed(one_nats, monkeypatch)
    alive = one_nats.queue()
    dead = one_nats.queue(subjects=[f"$JS.EVENT.ADVISORY.CONSUMER.*.{alive}.*"])
    one_nats.put(alive, orders(1, 2), {"traceparent": f"00-{TRACE}-{SPAN}-01"})

    async def give_up(_: Any, streams: Any) -> None:
        from nats.js.api import ConsumerConfig

        config = ConsumerConfig(ack_wait=0.05, max_deliver=1)
        theirs = await streams.pull_subscribe(f"{alive}.>", "theirs", config=config)
        for message in await theirs.fetch(2):
            await message.term()
        await streams.delete_msg(alive, 2)

    one_nats.run(give_up)
    source = source_in(one_nats, dead, "dead_letters")
    with closing(reader_of(source)) as reader:
        records = [record for _ in range(2) for record in records_of(reader)]
        one, two = (record for record in records if record.flaw or "dead.queue" in reader.parse(record))
        fields = reader.parse(one)

    assert (fields["po"], fields["trace.id"]) == ("PO-1", TRACE)
    assert (fields["dead.queue"], fields["dead.exchange"], fields["dead.reason"]) == (alive, "theirs", "terminated")
    assert float(fields["dead.time"]) >= float(fields["message.time"])
    assert two.flaw == f"gone: message 2 of {alive}"


def test_letters_of_kafka_connect_and_spring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they died and of what is told as both of them write it; all of them stay in the topic."""
    with closing(OwnKafka(tmp_path)) as broker:
        addressed(broker, monkeypatch)
        queue = broker.queue()
        connect = {"__connect.errors.topic": "orders", "__connect.errors.exception.class.name": "DataException"}
        spring = {"kafka_dlt-original-topic": "invoices", "kafka_dlt-exception-fqcn": "java.lang.IllegalState"}
        broker.put(queue, orders(1), connect)
        broker.put(queue, orders(2), spring)
        with closing(reader_of(source_in(broker, queue, "dead_letters"))) as reader:
            one, two = (reader.parse(record) for record in records_of(reader))

    assert (one["dead.queue"], one["dead.reason"], one["message.routing_key"]) == ("orders", "DataException", "K")
    assert (two["dead.queue"], two["dead.reason"]) == ("invoices", "java.lang.IllegalState")
