"""kill -9 of a scraper that reads a broker: each message is one step, whether it was killed before or after it was taken."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.collector.scrapers.answering import Answer, Answering, answering
from tests.collector.scrapers.brokers import RULE, rabbit
from tests.collector.scrapers.streams import OwnRedis, orders
from tests.collector.scrapers.test_worker import attributes_of, spans_of
from tests.processes import COMMAND, until
from tests.tracer.hooked import fresh, needs

needs("pika", "redis")

OK: Answer = (200, {}, b"")
EACH = 1_000  # messages between two kills
ROUNDS = 2
TRACES = "/v1/traces"
Put = Callable[[list[bytes]], None]


class Scraped:
    """A scraper as a process, and what it sent; the next request can be its end."""

    def __init__(self, folder: Path, source: dict[str, Any], environment: dict[str, str]) -> None:
        self._file = folder / "sources.yaml"
        self._file.write_text(json.dumps({"sources": {"mq": {**source, "rules": [RULE]}}}), encoding="utf-8")
        self._environment = {**os.environ, "CONTROLTOWER_DATA": str(folder / "data"), **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._kill_at_next = False
        self.server: Answering

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Take what it sends for the length of the block."""
        with answering(lambda number, body: self._taken()) as self.server:
            try:
                yield
            finally:
                self.kill()

    def _taken(self) -> Answer:
        if self._kill_at_next and self.server.paths[-1] == TRACES:
            self._kill_at_next = False
            self.kill()  # the collector has it, and nobody hears so
        return OK

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(self._command(), env=self._environment, stdout=subprocess.DEVNULL)

    def once(self) -> None:
        """Run it to the end of what is there."""
        subprocess.run([*self._command(), "--once"], env=self._environment, check=True, capture_output=True)

    def _command(self) -> list[str]:
        return [*COMMAND, "scrape", str(self._file), "--endpoint", self.server.url, "--quiet"]

    def kill(self) -> None:
        """Let it end as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kill_unheard(self) -> None:
        """Kill it between a request and its answer."""
        assert self._process is not None
        self._kill_at_next = True
        self._process.wait()

    def kill_after(self, requests: int) -> None:
        """Kill it when it sent so many requests more, wherever it is then."""
        before = len(self.bodies)
        until(lambda: len(self.bodies) >= before + requests, "it sends on")
        self.kill()

    @property
    def bodies(self) -> list[bytes]:
        """What came, as it came."""
        return [body for path, body in zip(self.server.paths, self.server.bodies, strict=False) if path == TRACES]

    def found(self) -> tuple[Counter[str], int]:
        """Return how often each order is in what a collector keeps, which knows the same bytes again; and how many ids."""
        spans = spans_of([*dict.fromkeys(self.bodies)])
        numbers = Counter(attributes_of(span)["controltower.key.purchase_order"] for span in spans)
        return numbers, len({(span.trace_id, span.span_id) for span in spans})


def killed_again_and_again(scraped: Scraped, put: Put) -> None:
    """Kill it in each way, with messages that come before and meanwhile; each of them is one step in the end."""
    for number in range(ROUNDS):
        put(orders(*range(number * EACH, (number + 1) * EACH)))
        scraped.start()
        scraped.kill_after(2) if number % 2 else scraped.kill_unheard()
    put(orders(ROUNDS * EACH))
    scraped.start()
    expected = {f"PO-{number}" for number in range(ROUNDS * EACH + 1)}
    until(lambda: scraped.found()[0].keys() >= expected, "all of them are there")
    scraped.kill()
    numbers, ids = scraped.found()

    assert numbers == dict.fromkeys(expected, 1)
    assert ids == len(expected)
    assert len(scraped.bodies) > len({*scraped.bodies})  # what nobody heard of was sent again, in the same bytes


@pytest.mark.slow
def test_a_stream_of_redis(tmp_path: Path) -> None:
    """It is read on behind what was acknowledged; what was on its way is sent again in the same bytes."""
    with closing(OwnRedis(tmp_path)) as broker:
        queue = broker.queue()
        source = {"kind": "tap", "broker": "redis", "queue": queue, "body": "body"}
        scraped = Scraped(tmp_path, source, {"REDIS_URL": broker.address})
        with scraped.receiving():
            killed_again_and_again(scraped, lambda bodies: broker.put(queue, bodies))


@pytest.mark.slow
def test_a_tap_of_rabbitmq(tmp_path: Path) -> None:
    """Copies that the broker hands out again are known."""
    with rabbit() as broker:
        exchange, queue = broker.exchange(), broker.known(fresh("tapped"))
        source = {"kind": "tap", "broker": "rabbitmq", "queue": queue, "exchange": exchange}
        scraped = Scraped(tmp_path, source, {"RABBITMQ_URL": broker.url})

        def put(bodies: list[bytes]) -> None:
            for body in bodies:
                broker.put("orders", body, exchange)

        with scraped.receiving():
            scraped.once()  # makes its queue
            killed_again_and_again(scraped, put)
