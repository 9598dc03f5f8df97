"""kill -9 of a scraper at work on a log that is rotated in every way: each line is in the store, once."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from controltower.collector.scrapers.positions import HEAD, MAGIC
from tests.collector.scrapers.writers import Log
from tests.processes import Tower, tower, until

ROUNDS = 4
SOURCES = """
sources:
  orders:
    kind: log
    files: [{pattern}]
    rules:
      - match: {{line: '^line (?P<number>[0-9]+) '}}
        step: p2p.purchase_order.created
        keys: {{purchase_order: {{text: 'PO-{{number}}'}}}}
"""
FOUND = """
SELECT SpanAttributes['controltower.key.purchase_order'] AS number, count() AS times, uniqExact(TraceId, SpanId) AS ids
FROM otel_traces WHERE ServiceName = 'orders' GROUP BY number
"""


class Rotation:
    """What happens to the log while it is read."""

    def __init__(self, log: Log, randomness: random.Random) -> None:
        self._log = log
        self._random = randomness

    def go_on(self) -> None:
        """Write some lines, and rotate in one way or another."""
        log = self._log
        log.write(self._random.randrange(200, 20_000), length=60)
        match self._random.randrange(5):
            case 0:
                log.write_half(length=60)
                log.rename()
                log.write(self._random.randrange(50))  # the writer has not noticed yet
                log.write_half(length=60)
                log.reopen()
            case 1:
                log.copy_truncate()
            case 2:
                log.compress(self._random.choice(["gz", "zst"]))
            case 3:
                log.write_half(length=60)
            case _:
                pass


def counted(running: Tower) -> Counter[bytes]:
    """Return how often the line of each number is in the store."""
    client = running.client()
    try:
        rows = client.query(FOUND).result_rows
    finally:
        client.close()
    assert all(times == ids for _, times, ids in rows), "a span is stored twice"
    return Counter({number: times for number, times, _ in rows})


def acknowledged(running: Tower) -> int:
    """Return a number that grows with each batch that was acknowledged."""
    position = running.data / "scrape" / "orders" / "position"
    if not position.exists():
        return 0
    file = position.read_bytes()
    begin = len(MAGIC) + HEAD.size
    _, length, _ = HEAD.unpack_from(file, len(MAGIC))
    return int(json.loads(file[begin : begin + length])["serial"])


def acknowledged_after(running: Tower, before: int) -> int:
    """Wait for another batch."""
    until(lambda: acknowledged(running) > before, "a batch is acknowledged")
    return acknowledged(running)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_in_the_middle(tmp_path: Path) -> None:
    """No line is lost and none is stored twice, whenever scraper or collector are killed and however the log is rotated."""
    randomness = random.Random(5)
    folder = tmp_path / "log"
    folder.mkdir()
    sources = tmp_path / "sources.yaml"
    sources.write_text(SOURCES.format(pattern=folder / "app.log*"), encoding="utf-8")
    log = Log(folder)
    rotation = Rotation(log, randomness)
    with tower(tmp_path / "data") as running:
        serve = running.serve()
        for number in range(ROUNDS):
            scrape = running.start("scrape", str(sources), "--quiet")
            before = acknowledged(running)
            for _ in range(randomness.randrange(1, 6)):
                rotation.go_on()
            for _ in range(randomness.randrange(1, 4)):
                rotation.go_on()
                before = acknowledged_after(running, before)
            if number == ROUNDS // 2:
                running.kill(serve)
                rotation.go_on()
                serve = running.serve(
                    int(running.runtime.collector.rpartition(":")[2])
                )  # the port that the scraper knows
            running.kill(scrape)
            rotation.go_on()
        log.reopen()
        running.run("scrape", str(sources), "--once")
        log.close()
        expected = {f"PO-{line.split()[1].decode()}" for line in log.lines}
        until(lambda: len(counted(running)) >= len(expected), f"{len(expected)} lines are there")
        found = counted(running)

    assert found.keys() == expected
    assert set(found.values()) == {1}
