"""Levels of queues, as real brokers tell them: how much is there, who is behind, how old it is."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from controltower.cli.main import main
from controltower.collector.scrapers.definition import Limits, QueueSource, parse_sources
from controltower.collector.scrapers.errors import QueueError
from controltower.collector.scrapers.health import metrics_request
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.queues import QueueReader, beyond
from tests.aws_server import aws_server
from tests.collector.scrapers.answering import answering
from tests.collector.scrapers.brokers import rabbit, worker_of
from tests.collector.scrapers.streams import OwnKafka, OwnNats, OwnRedis, orders
from tests.processes import until
from tests.tracer.hooked import broker, needs

needs("pika", "redis", "nats", "confluent_kafka", "paho", "boto3", "moto")
import boto3

AWS = {"region_name": "us-east-1"}


def source_of(broker: str, *queues: str, **options: Any) -> QueueSource:
    """Return the source called ``mq``."""
    named = {"queues": queues} if queues else {}
    given = {"kind": "queues", "broker": broker, "every": "0 minutes", **named, **options}
    source = parse_sources(json.dumps({"sources": {"mq": given}}), "mq.yaml").sources["mq"]
    assert isinstance(source, QueueSource)
    return source


def asked(source: QueueSource) -> tuple[dict[tuple[str, str], int], dict[str, str]]:
    """Return the levels by group and name, and the problems; there are no records."""
    with closing(QueueReader(source, time.time_ns)) as reader:
        assert reader.read() == ([], True)
        return {(level.group, level.name): level.value for level in reader.levels}, dict(reader.problems)


TOLD = ("depth", "held", "published", "delivered", "consumers")


def test_rabbitmq_by_its_management_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues are found by a pattern; what is held, and how often it came, is told."""
    host, port = broker("RabbitMQ's management API", "RABBITMQ_MANAGEMENT_ADDRESS", 15672)
    with rabbit() as mq:
        monkeypatch.setenv("RABBITMQ_URL", f"http://guest:guest@{host}:{port}/%2F")
        queue = mq.queue()
        for number in range(3):
            mq.put(queue, {"po": number}, timestamp=int(time.time()) - 100)
        mq.channel.basic_get(queue)
        source = source_of("rabbitmq", f"{queue[:-1]}?")

        def counted() -> dict[tuple[str, str], int]:
            levels, problems = asked(source)
            assert problems == {}
            told = {("", name) for name in TOLD} <= levels.keys()  # each comes with its own sample
            return levels if told and levels["", "held"] == 1 else {}

        levels = until(counted, "RabbitMQ counted")

    assert {name: levels["", name] for name in TOLD} == {
        "depth": 2,
        "held": 1,
        "published": 3,
        "delivered": 1,
        "consumers": 0,
    }


def test_rabbitmq_by_amqp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the management API it is less; a queue that is not there is told, and patterns are refused."""
    with rabbit() as mq:
        monkeypatch.setenv("RABBITMQ_URL", mq.url)
        queue = mq.queue()
        mq.put(queue, {"po": 1})
        assert mq.holds(queue, 1)
        levels, problems = asked(source_of("rabbitmq", "nowhere.at.all", queue))

        assert levels == {("", "depth"): 1, ("", "consumers"): 0}
        assert problems == {"nowhere.at.all": "is not there"}
        with pytest.raises(QueueError, match="no patterns"):
            asked(source_of("rabbitmq", "scraped.*"))


def test_streams_and_lists_of_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is behind by what it was not given, and holds what it did not acknowledge."""
    with closing(OwnRedis(tmp_path)) as own:
        monkeypatch.setenv("REDIS_URL", own.address)
        own.client.rpush("failed", "1", "2")
        own.client.xadd("orders", {"body": "{}"}, id=f"{int(time.time() - 500) * 1000}-0")
        own.put("orders", orders(*range(4)))
        own.client.xgroup_create("orders", "edi", "0")
        own.client.xreadgroup("edi", "one", {"orders": ">"}, count=2)
        own.client.xreadgroup("edi", "one", {"orders": "0"})
        of_stream, _ = asked(source_of("redis", "orders"))
        both, problems = asked(source_of("redis", "fail*", "ord*", "none"))

    known = {("", "depth"): 5, ("", "published"): 5, ("edi", "lag"): 3, ("edi", "held"): 2, ("edi", "delivered"): 2}
    assert {**of_stream, **known} == of_stream
    assert (of_stream["edi", "redelivered"], of_stream["edi", "consumers"]) == (2, 1)
    assert 500 <= of_stream["edi", "oldest"] < 900
    assert problems == {"none": "is not there"}
    assert ("edi", "lag") in both


def test_streams_of_nats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A durable consumer is behind by what it was not given; those that come and go are left out."""
    with closing(OwnNats(tmp_path)) as own:
        monkeypatch.setenv("NATS_URL", own.address)
        queue = own.queue()
        own.put(queue, orders(*range(5)))

        async def fetch(_: Any, streams: Any) -> None:
            theirs = await streams.pull_subscribe(f"{queue}.>", "edi")
            messages = await theirs.fetch(3)
            await messages[0].ack_sync()
            await streams.pull_subscribe(f"{queue}.>")

        own.run(fetch)
        levels, problems = asked(source_of("nats", "orders*"))

    assert levels.pop(("edi", "oldest")) < 300
    assert levels == {
        ("", "depth"): 5,
        ("", "published"): 5,
        ("edi", "lag"): 2,
        ("edi", "held"): 2,
        ("edi", "redelivered"): 0,
        ("edi", "delivered"): 3,
        ("edi", "acknowledged"): 1,
    }
    assert problems == {}


def test_topics_of_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is behind by what it did not commit; one that never read the topic is left out."""
    from confluent_kafka import Consumer, TopicPartition

    with closing(OwnKafka(tmp_path)) as own:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", own.address)
        topic = own.queue()
        own.put(topic, orders(*range(5)), partition=0)
        own.put(topic, orders(5), partition=1)
        theirs = Consumer({"bootstrap.servers": own.address, "group.id": "edi"})
        theirs.commit(offsets=[TopicPartition(topic, 0, 2), TopicPartition(topic, 1, 1)], asynchronous=False)
        theirs.close()
        levels, problems = asked(source_of("kafka", topic, groups=["edi", "others"]))

    assert 0 <= levels.pop(("edi", "oldest")) < 300
    assert levels == {
        ("", "depth"): 6,
        ("", "published"): 6,
        ("edi", "lag"): 3,
        ("edi", "acknowledged"): 3,
    }
    assert problems == {}


def test_an_mqtt_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mosquitto tells of all of it, and of no queue."""
    host, port = broker("an MQTT broker", "MQTT_ADDRESS", 1883)
    monkeypatch.setenv("MQTT_URL", f"mqtt://{host}:{port}")
    levels, problems = asked(source_of("mqtt"))

    assert {name for _, name in levels} == {"depth", "consumers", "published", "delivered", "dropped"}
    assert problems == {}


@pytest.fixture(scope="module")
def sqs() -> Iterator[dict[str, Any]]:
    """How SQS, as moto has it, is reached."""
    with aws_server() as address:
        yield {"endpoint_url": address, **AWS}


def test_queues_of_sqs(sqs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there, what is handed out, and what is not to be had yet."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = boto3.client("sqs", **sqs)
    address = client.create_queue(QueueName="orders")["QueueUrl"]
    for number in range(3):
        client.send_message(QueueUrl=address, MessageBody=str(number))
    client.receive_message(QueueUrl=address, VisibilityTimeout=600)
    by_name, problems = asked(source_of("sqs", "orders", "none", options=sqs))

    assert by_name == {("", "depth"): 2, ("", "held"): 1, ("", "delayed"): 0}
    assert problems == {"none": "is not there"}
    assert asked(source_of("sqs", "ord*", options=sqs)) == (by_name, {})


def test_a_level_beyond_its_limit() -> None:
    """Each is told, of one queue together; consumers are too few, and all others too many."""
    limits = Limits.model_validate({"depth": 10, "oldest": "15 minutes", "consumers": 1})
    levels = [
        Level("depth", 11, "a"),
        Level("oldest", 901, "a"),
        Level("lag", 10**6, "a", "g"),
        Level("consumers", 0, "b", "g"),
        Level("depth", 10, "c"),
        Level("consumers", 1, "c"),
    ]

    assert dict(beyond(levels, limits)) == {
        "a": "depth is 11, the limit 10; oldest is 0:15:01, the limit 0:15:00",
        "b g": "consumers is 0, the limit 1",
    }


def test_levels_are_metrics_and_shown_by_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By queue and group; a check shows a row for each, and fails with what is beyond its limit."""
    with closing(OwnRedis(tmp_path)) as own, answering(lambda *_: (200, {}, b"")) as server:
        monkeypatch.setenv("REDIS_URL", own.address)
        own.put("orders", orders(1, 2))
        own.client.xgroup_create("orders", "edi", "0")
        source = source_of("redis", "orders", limits={"lag": 1})
        worker = worker_of(tmp_path, source, server.url, time.time_ns)
        worker.run_once()
        file = tmp_path / "sources.yaml"
        file.write_text("sources: {mq: {kind: queues, broker: redis, queues: [orders], limits: {lag: 1}}}")
        assert main(["scrape", "check", str(file)]) == 1

    request = ExportMetricsServiceRequest.FromString(metrics_request([worker], 0, 10**18))
    metrics = {each.name: each for each in request.resource_metrics[0].scope_metrics[0].metrics}
    (lag,) = metrics["controltower.queue.lag"].gauge.data_points
    (published,) = metrics["controltower.queue.published"].sum.data_points
    assert (lag.as_int, published.as_int) == (2, 2)
    assert {each.key: each.value.string_value for each in lag.attributes} == {
        "source": "mq",
        "messaging.destination.name": "orders",
        "messaging.consumer.group.name": "edi",
    }
    assert metrics["controltower.scrape.problems"].gauge.data_points[0].as_int == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == [
        "QUEUE",
        "GROUP",
        "DEPTH",
        "LAG",
        "HELD",
        "REDELIVERED",
        "OLDEST",
        "CONSUMERS",
        "PUBLISHED",
    ]
    assert shown[3].split()[:4] == ["orders", "edi", "2", "0"]
    assert shown[-1] == "problem: orders edi: lag is 2, the limit 1"
