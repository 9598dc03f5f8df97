"""How fast messages become acknowledged steps: ``python -m bench.queues [--messages 50000] [--only rabbitmq,redis]``.

Each broker is filled, and ``controltower scrape --once`` reads it, in a process of its own, into what only acknowledges:
taps of five brokers, and the browse of dead letters in RabbitMQ, of which all have to lie there in their order
afterwards, and of which a second look has to read none. A run with nothing to read before it is the cost of the start,
which is taken off. Brokers run on the same cores, RabbitMQ as it is here, the others for the length of the bench.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from controltower.cli.bench.receiver import receiver
from controltower.cli.text import table
from tests.collector.scrapers.brokers import death, rabbit
from tests.collector.scrapers.streams import OwnKafka, OwnMqtt, OwnNats, OwnRedis, orders
from tests.tracer.hooked import fresh

COMMAND: Final = (sys.executable, "-P", "-m", "controltower.cli", "scrape")
RULE: Final = {"step": "p2p.purchase_order.created", "keys": {"purchase_order": "$.po"}, "amount": "$.amount"}
DEAD: Final = 10_000
AT_ONCE: Final = 10_000  # messages that are put

Json = dict[str, Any]
Put = Callable[[list[bytes]], None]
Check = Callable[[], None]


class Side(NamedTuple):
    """A source, what fills it, its address, and what is to be checked afterwards."""

    source: Json
    put: Put
    environment: dict[str, str]
    check: Check = lambda: None


class Run(NamedTuple):
    """What one scrape took."""

    steps: int
    wall_s: float
    cpu_s: float


@contextmanager
def rabbitmq_tap(folder: Path) -> Iterator[Side]:
    """A queue of copies beside an exchange."""
    with rabbit() as mq:
        exchange, queue = mq.exchange(), mq.known(fresh("tap"))

        def put(bodies: list[bytes]) -> None:
            for body in bodies:
                mq.put("orders.new", body, exchange)
            mq.channel.queue_declare(queue, passive=True)

        yield Side({"kind": "tap", "queue": queue, "exchange": exchange}, put, {"RABBITMQ_URL": mq.url})


@contextmanager
def rabbitmq_dead(folder: Path) -> Iterator[Side]:
    """A classic queue of dead letters."""
    with rabbit() as mq:
        queue = mq.queue()
        there: list[bytes] = []

        def put(bodies: list[bytes]) -> None:
            there.extend(bodies)
            for body in bodies:
                mq.put(queue, body, headers={"x-death": [death()]})
            mq.channel.queue_declare(queue, passive=True)

        def check() -> None:
            mq.holds(queue, len(there))
            if mq.drained(queue) != there:
                raise SystemExit("The letters do not lie there as they were.")

        yield Side({"kind": "dead_letters", "queue": queue}, put, {"RABBITMQ_URL": mq.url}, check)


@contextmanager
def redis_tap(folder: Path) -> Iterator[Side]:
    """A stream of Redis."""
    with closing(OwnRedis(folder)) as own:
        source = {"kind": "tap", "broker": "redis", "queue": "orders", "body": "body"}
        yield Side(source, lambda bodies: own.put("orders", bodies), {"REDIS_URL": own.address})


@contextmanager
def nats_tap(folder: Path) -> Iterator[Side]:
    """A stream of JetStream."""
    with closing(OwnNats(folder)) as own:
        queue = own.queue()
        source = {"kind": "tap", "broker": "nats", "queue": queue}
        yield Side(source, lambda bodies: own.put(queue, bodies), {"NATS_URL": own.address})


@contextmanager
def kafka_tap(folder: Path) -> Iterator[Side]:
    """A topic of librdkafka's broker."""
    with closing(OwnKafka(folder)) as own:
        topic = own.queue()
        source = {"kind": "tap", "broker": "kafka", "queue": topic}
        yield Side(source, lambda bodies: own.put(topic, bodies), {"KAFKA_BOOTSTRAP_SERVERS": own.address})


@contextmanager
def mqtt_tap(folder: Path) -> Iterator[Side]:
    """A session of Mosquitto, which hands any number of messages out."""
    with closing(OwnMqtt(folder, inflight=0, changes=1_000_000)) as own:
        source = {"kind": "tap", "broker": "mqtt", "queue": "tower", "topics": ["orders/#"]}
        yield Side(source, lambda bodies: own.put("orders/new", bodies), {"MQTT_URL": own.address})


SIDES: Final = {
    "rabbitmq": rabbitmq_tap,
    "redis": redis_tap,
    "nats": nats_tap,
    "kafka": kafka_tap,
    "mqtt": mqtt_tap,
    "rabbitmq_dead": rabbitmq_dead,
}


def main() -> None:
    """Print a row for each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=50_000, help="for each tap (default 50,000)")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SIDES), help=",".join(SIDES))
    arguments = parser.parse_args()
    rows = [measured(name, DEAD if name.endswith("_dead") else arguments.messages) for name in arguments.only]
    head = ("SIDE", "MESSAGES", "SECONDS", "MESSAGES/S", "SCRAPER µs/MESSAGE", "START s")
    print(table(rows, head=head, right=(1, 2, 3, 4, 5)))


def measured(name: str, messages: int) -> list[str]:
    """Fill one side, scrape it, and return its row."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-queues-")))
        side = stack.enter_context(SIDES[name](folder))
        endpoint = stack.enter_context(receiver())
        sources = folder / "sources.yaml"
        sources.write_text(json.dumps({"sources": {"mq": {**side.source, "rules": [RULE]}}}), encoding="utf-8")
        environment = {**os.environ, **side.environment, "CONTROLTOWER_ENDPOINT": endpoint}
        start = scrape(sources, environment)
        for begin in range(0, messages, AT_ONCE):
            side.put(orders(*range(begin, min(begin + AT_ONCE, messages))))
        run = scrape(sources, environment)
        if run.steps != messages:
            raise SystemExit(f"{name}: {run.steps:,} of {messages:,} messages became steps.")
        if again := scrape(sources, environment).steps:
            raise SystemExit(f"{name}: {again:,} messages became steps twice.")
        side.check()
    wall_s, cpu_s = run.wall_s - start.wall_s, run.cpu_s - start.cpu_s
    numbers = (f"{wall_s:.1f}", f"{messages / wall_s:,.0f}", f"{cpu_s / messages * 1e6:.0f}", f"{start.wall_s:.1f}")
    return [name, f"{messages:,}", *numbers]


def scrape(sources: Path, environment: dict[str, str]) -> Run:
    """Read all that is there, in a process of its own."""
    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [*COMMAND, str(sources), "--once", "--json", "--quiet", "--data", str(sources.parent / "data")]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    wall_s, after = time.perf_counter() - since, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode:
        raise SystemExit(f"The scraper failed: {ran.stderr.strip()}")
    (source,) = json.loads(ran.stdout)["sources"]
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(source["steps"], wall_s, cpu_s)


if __name__ == "__main__":
    main()
