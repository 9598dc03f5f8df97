"""kill -9 of a scraper at work on a folder into which files come in every way: each document is in the store, once."""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.collector.scrapers.test_scrape_kill import acknowledged, acknowledged_after, counted
from tests.collector.scrapers.x12_writer import encoded, interchange, order
from tests.processes import tower, until

ROUNDS = 2
WRITES_EVERY_S = 0.2  # far less than a file is quiet for until it counts as whole
SOURCES = """
sources:
  orders:
    kind: folder
    format: x12
    files: ['{folder}/in/*.edi']
    archive: {{to: '{folder}/done', rejected: '{folder}/bad'}}
    rules:
      - when: {{ST01: '850'}}
        step: p2p.purchase_order.dispatched
        keys: {{purchase_order: BEG03}}
"""


class Arrivals:
    """Files that come into a folder: whole, half, twice, defective."""

    def __init__(self, folder: Path, randomness: random.Random) -> None:
        self._folder = folder
        self._random = randomness
        self._number = 0
        self._half: list[tuple[Path, bytes]] = []
        self._sent: list[bytes] = []
        self.orders: set[str] = set()
        self.rejected = 0
        """How many files are refused, as duplicates or for what they are."""

    def go_on(self) -> None:
        """Let a file come, in one way or another."""
        match self._random.randrange(5):
            case 0 if self._sent:
                self._put(self._random.choice(self._sent))
                self.rejected += 1
            case 1:
                content = self._content()
                self._put(content[:-30])
                self.rejected += 1
            case 2:
                content = self._content(known=True)
                file = self._file()
                file.write_bytes(content[: self._random.randrange(1, len(content) - 3)])
                self._half.append((file, content))
            case _:
                content = self._content(known=True)
                self._put(content)
                self._sent.append(content)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let what is half there be written to until the block ends, however slowly the rest goes on."""
        over = threading.Event()

        def write() -> None:
            while not over.wait(WRITES_EVERY_S):
                for file, _ in [*self._half]:
                    with suppress(FileNotFoundError):  # it was taken for whole, which is found out at the end
                        os.utime(file)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            yield
        finally:
            over.set()
            writer.join()

    def finish(self) -> None:
        """Write what is half to its end."""
        while self._half:
            file, content = self._half.pop()
            file.write_bytes(content)
            self._age(file)

    def _content(self, *, known: bool = False) -> bytes:
        self._number += 1
        names = [f"PO-{self._number}-{at}" for at in range(self._random.randrange(1, 800))]
        if known:
            self.orders |= {*names}
        return encoded(interchange([[order(name) for name in names]], number=self._number))

    def _file(self) -> Path:
        self._number += 1
        return self._folder / f"{self._number:04d}.edi"

    def _put(self, content: bytes) -> None:
        file = self._file()
        part = file.with_suffix(".part")
        part.write_bytes(content)
        self._age(part)
        part.rename(file)

    @staticmethod
    def _age(file: Path) -> None:
        before = time.time() - 60
        os.utime(file, (before, before))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_in_the_middle_of_files(tmp_path: Path) -> None:
    """No document is lost and none is stored twice, nothing is read of a half file, and all of them are put away."""
    randomness = random.Random(11)
    (tmp_path / "in").mkdir()
    sources = tmp_path / "sources.yaml"
    sources.write_text(SOURCES.format(folder=tmp_path), encoding="utf-8")
    arrivals = Arrivals(tmp_path / "in", randomness)
    with tower(tmp_path / "data") as running:
        serve = running.serve()
        with arrivals.at_work():
            for number in range(ROUNDS):
                scrape = running.start("scrape", str(sources), "--quiet")
                before = acknowledged(running)
                for _ in range(4):
                    arrivals.go_on()
                before = acknowledged_after(running, before)
                for _ in range(3):
                    arrivals.go_on()
                if number == 1:
                    running.kill(serve)
                    arrivals.go_on()
                    serve = running.serve(int(running.runtime.collector.rpartition(":")[2]))
                running.kill(scrape)
                arrivals.go_on()
        arrivals.finish()
        running.run("scrape", str(sources), "--once")
        until(lambda: len(counted(running)) >= len(arrivals.orders), f"{len(arrivals.orders)} documents are there")
        found = counted(running)

    assert found.keys() == arrivals.orders
    assert set(found.values()) == {1}
    assert [*(tmp_path / "in").iterdir()] == []
    assert len([*(tmp_path / "bad").iterdir()]) == arrivals.rejected
