"""The services of docs/examples as processes, with the real brokers and databases, and a tower that they send to."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.conninfo import make_conninfo

from tests.clickhouse_server import free_port
from tests.processes import Tower, tower, until
from tests.tracer.hooked import broker, fresh

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
CONSUMERS = ("order_adapter", "shipping", "warehouse", "dock", "payables")  # in the order of a message's way
PATIENCE_S = 180.0  # eight processes start beside the tower


@dataclass
class Network:
    """The services that run, and where the first one listens."""

    tower: Tower
    environment: dict[str, str]
    folder: Path
    api: str = ""
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def said(self, name: str) -> str:
        """Return what a service printed."""
        return (self.folder / f"{name}.out").read_text(encoding="utf-8")

    def start(self, name: str, **more: str) -> "subprocess.Popen[bytes]":
        """Start one service."""
        with (self.folder / f"{name}.out").open("wb") as out:
            self.processes[name] = subprocess.Popen(
                [sys.executable, str(EXAMPLES / f"{name}.py")],
                env={**os.environ, **self.environment, **more},
                stdout=out,
                stderr=out,
            )
        return self.processes[name]

    def ready(self, name: str) -> bool:
        """Return whether a consumer waits for messages; one that ended by itself is a failure."""
        assert self.processes[name].poll() is None, self.said(name)
        return " is ready" in self.said(name)

    def hold(self, name: str) -> None:
        """Let a service do nothing from now on."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def release(self, name: str) -> None:
        """Let a service go on."""
        self.processes[name].send_signal(signal.SIGCONT)

    def send(self, **order: str) -> None:
        """Send one order to the first service."""
        httpx.post(f"{self.api}/orders", json=order, timeout=60).raise_for_status()

    def steps_of(self, service: str, number: str) -> int:
        """Return how many steps of a service with the key of one order are in the store."""
        rows = self.ask(
            "SELECT count() FROM otel_traces WHERE ServiceName = {service:String} AND mapContains(SpanAttributes, "
            "'controltower.step') AND SpanAttributes['controltower.key.purchase_order'] = {number:String}",
            {"service": service, "number": number},
        )
        return int(rows[0][0])

    def ask(self, statement: str, parameters: dict[str, str]) -> Any:
        """Return the rows of a statement on the tower's store."""
        client = self.tower.client()
        try:
            return client.query(statement, parameters=parameters).result_rows
        finally:
            client.close()

    def stop(self) -> None:
        """End every service."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            process.wait(30)


def answers(url: str) -> bool:
    """Return whether a server is there."""
    try:
        return httpx.get(url, timeout=5).status_code > 0
    except httpx.TransportError:
        return False


@contextmanager
def kafka(topic: str) -> Iterator[str]:
    """Give the servers of ``KAFKA_ADDRESS``, or of librdkafka's own broker in this process, with one topic."""
    import confluent_kafka

    given = os.environ.get("KAFKA_ADDRESS")
    own = {"bootstrap.servers": given} if given else {"bootstrap.servers": "none", "test.mock.num.brokers": 1}
    owner = confluent_kafka.Producer({**own, "log_level": 0, "allow.auto.create.topics": True})
    found = next(iter(owner.list_topics(topic, timeout=10).brokers.values()))
    yield given or f"{found.host}:{found.port}"
    owner.flush(1)


@contextmanager
def database() -> Iterator[str]:
    """Give a connection string to a schema of this test in PostgreSQL."""
    host, port = broker("PostgreSQL", "POSTGRESQL_ADDRESS", 5432)
    own = {"user": "postgres", "dbname": "postgres"} if "PGUSER" not in os.environ else {}
    whole = make_conninfo(host=host, port=port, **own)
    schema = fresh("example").replace(".", "_")
    with psycopg.connect(whole, autocommit=True) as administrator:
        administrator.execute(f"CREATE SCHEMA {schema}")
        try:
            yield make_conninfo(whole, options=f"-csearch_path={schema}")
        finally:
            administrator.execute(f"DROP SCHEMA {schema} CASCADE")


def places() -> dict[str, str]:
    """Return the addresses of the brokers, and names of queues that are this test's own."""
    at = {
        name: broker(name, variable, port)
        for name, variable, port in (
            ("RabbitMQ", "RABBITMQ_ADDRESS", 5672),
            ("Redis", "REDIS_ADDRESS", 6379),
            ("NATS", "NATS_ADDRESS", 4222),
            ("MQTT", "MQTT_ADDRESS", 1883),
        )
    }
    rabbitmq, redis, nats, mqtt = (f"{host}:{port}" for host, port in at.values())
    return {
        "RABBITMQ_URL": f"amqp://guest:guest@{rabbitmq}/",
        "REDIS_URL": f"redis://{redis}/",
        "NATS_URL": f"nats://{nats}",
        "MQTT_ADDRESS": mqtt,
        "ORDERS_QUEUE": fresh(),
        "PACKING_STREAM": fresh("packing"),
        "SHIPMENTS_SUBJECT": fresh("shipments"),
        "DOCK_TOPIC": fresh("dock").replace(".", "/"),
        "RECEIPTS_TOPIC": fresh("receipts"),
    }


def clean_up(environment: dict[str, str]) -> None:
    """Remove what the services made at the brokers."""
    import asyncio

    import nats
    import pika
    import redis
    from nats.js.errors import NotFoundError

    with pika.BlockingConnection(pika.URLParameters(environment["RABBITMQ_URL"])) as connection:
        connection.channel().queue_delete(environment["ORDERS_QUEUE"])
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        client.delete(environment["PACKING_STREAM"])

    async def remove() -> None:
        connection = await nats.connect(environment["NATS_URL"])
        try:
            with suppress(NotFoundError):  # the service that makes it did not come so far
                await connection.jetstream().delete_stream(environment["SHIPMENTS_SUBJECT"].replace(".", "-"))
        finally:
            await connection.close()

    asyncio.run(remove())


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Run all services and a tower until the end of the block."""
    api, supplier = free_port(), free_port()
    with ExitStack() as stack:
        at = places()
        own = {
            **at,
            "DATABASE_URL": stack.enter_context(database()),
            "KAFKA_SERVERS": stack.enter_context(kafka(at["RECEIPTS_TOPIC"])),
            "CONTROLTOWER_EXTRACT": str(EXAMPLES / "keys.yaml"),
            "SUPPLIER_URL": f"http://127.0.0.1:{supplier}",
        }
        running = stack.enter_context(tower(folder / "data"))
        found = Network(running, own, folder, f"http://127.0.0.1:{api}")
        stack.callback(clean_up, own)
        stack.callback(found.stop)
        running.serve()
        own |= {"CONTROLTOWER_ENDPOINT": running.runtime.collector, "CONTROLTOWER_TOKEN": running.runtime.token}
        found.start("order_api", PORT=str(api))
        found.start("supplier", PORT=str(supplier))
        for name in CONSUMERS:
            found.start(name)
        for name in CONSUMERS:
            until(partial(found.ready, name), f"{name} waits for messages", PATIENCE_S)
        until(lambda: answers(found.api) and answers(own["SUPPLIER_URL"]), "the servers answer", PATIENCE_S)
        yield found


def waited(seconds: float) -> None:
    """Let time pass: a message lies at its broker meanwhile."""
    threading.Event().wait(seconds)


def clocked(do: Callable[[], object]) -> tuple[float, float]:
    """Do something, and return when it began and ended, in milliseconds."""
    begun = time.time() * 1000
    do()
    return begun, time.time() * 1000
