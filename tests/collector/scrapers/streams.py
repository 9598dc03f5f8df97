"""Brokers of a test's own: servers of Redis, NATS and MQTT that can be killed, and librdkafka's Kafka."""

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.clickhouse_server import free_port
from tests.conftest import missing
from tests.processes import until


class Process:
    """A server on a port and in a folder of its own, which outlive it."""

    def __init__(self, program: str, *words: str) -> None:
        if shutil.which(program) is None:
            missing(f"no {program}")
        self.port = free_port()
        self._words = [program, *words]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        words = [word.format(port=self.port) for word in self._words]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._listens, f"{words[0]} listens")

    def kill(self) -> None:
        """Let it end as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class OwnRedis:
    """A Redis that has on the disk what it acknowledged."""

    name = "redis"

    def __init__(self, folder: Path) -> None:
        import redis

        kept = ("--appendonly", "yes", "--appendfsync", "always")
        self.process = Process("redis-server", "--port", "{port}", "--dir", str(folder), "--save", "", *kept)
        self.process.start()
        self.address = f"redis://127.0.0.1:{self.process.port}/0"
        self.client = redis.Redis(port=self.process.port)
        self._made = 0

    def queue(self) -> str:
        """Return a name for a new stream."""
        self._made += 1
        return f"orders{self._made}"

    def put(self, queue: str, bodies: list[bytes], headers: Mapping[str, str] | None = None) -> None:
        """Add entries, with their body in the field `body`."""
        pipeline = self.client.pipeline(transaction=False)
        for body in bodies:
            pipeline.xadd(queue, {"body": body, **(headers or {})})
        pipeline.execute()

    def remove_first(self, queue: str, messages: int) -> None:
        """Remove the first messages."""
        self.client.xtrim(queue, maxlen=self.client.xlen(queue) - messages, approximate=False)

    def make_anew(self, queue: str) -> None:
        """Remove it; the next message makes it anew."""
        self.client.delete(queue)
        self.client.xadd(queue, {"body": b"{}"}, id="1-1")
        self.client.xdel(queue, "1-1")

    def close(self) -> None:
        """End it."""
        self.client.close()
        self.process.kill()


class OwnNats:
    """A NATS with JetStream."""

    name = "nats"

    def __init__(self, folder: Path) -> None:
        self.process = Process("nats-server", "-a", "127.0.0.1", "-p", "{port}", "-js", "-sd", str(folder))
        self.process.start()
        self.address = f"nats://127.0.0.1:{self.process.port}"
        self._made = 0

    def run(self, work: Any) -> Any:
        """Return what comes of *work*, a function of a connection and its JetStream."""
        import nats

        async def session() -> Any:
            client = await nats.connect(self.address)
            try:
                return await work(client, client.jetstream())
            finally:
                await client.close()

        return asyncio.run(session())

    def queue(self, **config: Any) -> str:
        """Return a new stream; its subjects begin with its name."""
        self._made += 1
        name = f"orders{self._made}"
        self._make(name, **config)
        return name

    def _make(self, name: str, **config: Any) -> None:
        given = {"subjects": [f"{name}.>"], **config}
        self.run(lambda _, streams: streams.add_stream(name=name, **given))

    def put(self, queue: str, bodies: list[bytes], headers: Mapping[str, str] | None = None) -> None:
        """Publish messages, and wait until the server has them."""

        async def work(client: Any, streams: Any) -> None:
            for body in bodies[:-1]:
                await client.publish(f"{queue}.new", body, headers=headers)
            await streams.publish(f"{queue}.new", bodies[-1], headers=headers)

        self.run(work)

    def remove_first(self, queue: str, messages: int) -> None:
        """Remove the first messages."""

        async def work(_: Any, streams: Any) -> None:
            info = await streams.stream_info(queue)
            await streams.purge_stream(queue, seq=info.state.first_seq + messages)

        self.run(work)

    def make_anew(self, queue: str) -> None:
        """Remove it, and make it anew."""
        self.run(lambda _, streams: streams.delete_stream(queue))
        self._make(queue)

    def close(self) -> None:
        """End it."""
        self.process.kill()


class OwnKafka:
    """Librdkafka's own broker, which speaks Kafka's protocol; it lives in this process, and cannot be killed."""

    name = "kafka"
    process = None

    def __init__(self, folder: Path) -> None:
        from confluent_kafka import Producer

        self._owner = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
        (found,) = self._owner.list_topics(timeout=10).brokers.values()
        self.address = f"{found.host}:{found.port}"
        self.producer = Producer({"bootstrap.servers": self.address, "linger.ms": 1})
        self._made = 0

    def queue(self) -> str:
        """Return a new topic."""
        self._made += 1
        name = f"orders{self._made}"
        self.producer.list_topics(name, timeout=10)
        return name

    def put(
        self, queue: str, bodies: list[bytes], headers: Mapping[str, str] | None = None, partition: int = 0
    ) -> None:
        """Produce messages, and wait until the broker has them."""
        for body in bodies:
            self.producer.produce(queue, body, key=b"K", partition=partition, headers=dict(headers or {}))
        assert self.producer.flush(30) == 0

    def close(self) -> None:
        """Nothing else ends than this process."""
        self.producer.flush(1)


MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location {folder}/
autosave_interval {changes}
autosave_on_changes true
max_queued_messages 0
max_inflight_messages {inflight}
"""


class OwnMqtt:
    """A Mosquitto that has on the disk what it keeps for sessions, and keeps any number of messages."""

    name = "mqtt"

    def __init__(self, folder: Path, inflight: int = 20, changes: int = 1) -> None:
        """Hand so many messages out before the first is acknowledged; save, all of it, after so many changes."""
        self.process = Process("mosquitto", "-c", str(folder / "mosquitto.conf"))
        self.address = f"mqtt://127.0.0.1:{self.process.port}"
        self.kept = folder / "mosquitto.db"
        text = MOSQUITTO.format(port=self.process.port, folder=folder, inflight=inflight, changes=changes)
        (folder / "mosquitto.conf").write_text(text, encoding="ascii")
        self.process.start()

    def put(self, topic: str, bodies: list[bytes], headers: Mapping[str, str] | None = None) -> None:
        """Publish messages, and wait until the broker has them."""
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        client.connect("127.0.0.1", self.process.port)
        client.loop_start()
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = list((headers or {}).items())
        sent = [client.publish(topic, body, qos=1, properties=properties) for body in bodies]
        for each in sent:
            each.wait_for_publish(60)
        client.disconnect()
        client.loop_stop()

    def close(self) -> None:
        """End it."""
        self.process.kill()


Own = OwnRedis | OwnNats | OwnKafka
OWN = (OwnRedis, OwnNats, OwnKafka)


def orders(*numbers: int) -> list[bytes]:
    """Return bodies of orders."""
    return [json.dumps({"po": f"PO-{number}", "amount": "12.50"}).encode() for number in numbers]
