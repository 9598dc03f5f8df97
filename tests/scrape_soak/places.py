"""Where systems leave their records: a log that is rotated, a queue, a table, files on an SFTP server."""

import json
import random
from collections import deque
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from xml.etree.ElementTree import Element, SubElement, tostring

from controltower.cli.demo.written import Json, as_json, line_of, rules
from tests.collector.scrapers.brokers import Rabbit
from tests.collector.scrapers.writers import Log
from tests.scrape_soak.postgresql import Pair
from tests.scrape_soak.way import Way
from tests.tracer.hooked import fresh

BEGUN = 200  # characters of a record of which the rest comes later
EVERY = "0 minutes"  # a table is looked at all the time


class Place(Protocol):
    """Takes records in their order."""

    def source(self, records: Sequence[Json]) -> Json:
        """Return the source that reads all of *records* here."""

    def put(self, records: Sequence[Json]) -> None:
        """Leave records."""

    def finish(self) -> None:
        """Leave what is half there to its end."""


class LogPlace(Log):
    """The log of one system, which is rotated while it is read."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._waiting: deque[Json] = deque()
        super().__init__(folder)

    def source(self, records: Sequence[Json]) -> Json:
        """Return the source of the log under all its names."""
        return {"kind": "log", "files": [f"{self.path}*"], "format": "json", "rules": rules(records)}

    def put(self, records: Sequence[Json]) -> None:
        """Write lines."""
        self._waiting.extend(records)
        while self._waiting:
            self.write()

    def put_rotating(self, records: Sequence[Json], chance: random.Random) -> str:
        """Write lines, and rotate in the middle of one of them or between two; return how."""
        half = len(records) // 2
        self.put(records[:half])
        self._waiting.extend(records[half:])
        if chance.random() < 0.5 and self._waiting:
            self.write_half(BEGUN)
            self.rename()
            how = "renamed within a line"
            if self._waiting:
                self.write(len(self._waiting) // 2)  # the writer has not noticed yet
            self.reopen()
            self.compress(chance.choice(["gz", "zst"]))
        else:
            self.copy_truncate()
            how = "copied and truncated"
        self.put(())
        return how

    def finish(self) -> None:
        """Write the rest of a line."""
        self.reopen()

    def _begin(self, length: int) -> None:
        self._half = line_of(self._waiting.popleft()).encode()
        self.lines.append(self._half)


class QueuePlace:
    """An exchange of RabbitMQ, which is scraped through a way of its own."""

    def __init__(self, rabbit: Rabbit) -> None:
        self._rabbit = rabbit
        self._exchange = rabbit.exchange()
        self._queue = rabbit.known(fresh("scraped"))
        self.way = Way(rabbit.host, rabbit.port)

    @property
    def address(self) -> str:
        """The broker's address for the scraper."""
        return f"amqp://guest:guest@127.0.0.1:{self.way.port}/%2F"

    def source(self, records: Sequence[Json]) -> Json:
        """Return a tap of the exchange."""
        return {"kind": "tap", "queue": self._queue, "exchange": self._exchange, "rules": rules(records)}

    def put(self, records: Sequence[Json]) -> None:
        """Publish messages."""
        for record in records:
            self._rabbit.put("steps", line_of(record).encode(), self._exchange)

    def finish(self) -> None:
        """Nothing is half there."""


class TablePlace:
    """An outbox in PostgreSQL, which is scraped through a way of its own."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.way = Way("127.0.0.1", pair.primary.port)
        pair.primary.execute(
            "CREATE TABLE outbox (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), "
            "record jsonb NOT NULL)"
        )

    @property
    def address(self) -> str:
        """The database's address for the scraper."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.way.port}/postgres"

    def source(self, records: Sequence[Json]) -> Json:
        """Return the source of the table."""
        told = {"kind": "rows", "table": "outbox", "key": ["id"], "changed": "at", "every": EVERY}
        return {**told, "rules": rules(records, lambda name: as_json(f"record.{name}"))}

    def put(self, records: Sequence[Json]) -> None:
        """Insert rows, each in a transaction of its own."""
        quoted = [line_of(record).replace("'", "''") for record in records]
        self._pair.primary.execute(*(f"INSERT INTO outbox (record) VALUES ('{each}')" for each in quoted))

    def failover(self) -> None:
        """Let the database go on as its standby, to which the way then leads."""
        self._pair.failover()
        self.way.cut()
        self.way.open(self._pair.primary.port)

    def finish(self) -> None:
        """Nothing is half there."""


class FilesPlace:
    """A folder on an SFTP server, with documents of several records."""

    def __init__(self, folder: Path, storage: dict[str, Any]) -> None:
        self._folder = folder / "in"
        self._folder.mkdir()
        self._storage = storage
        self._numbers = count(1)
        self._half: list[tuple[Path, bytes]] = []

    def source(self, records: Sequence[Json]) -> Json:
        """Return the source of the folder, whose files are put away when they were read."""
        where = "sftp://127.0.0.1"
        told = {"kind": "folder", "format": "xml", "each": "/steps/step", "files": [f"{where}/in/*.xml"]}
        put_away = {"storage": self._storage, "archive": {"to": f"{where}/done", "rejected": f"{where}/bad"}}
        return {**told, **put_away, "rules": rules(records, lambda name: name.replace(".", "/"))}

    def put(self, records: Sequence[Json]) -> None:
        """Put a whole file there."""
        if records:
            file = self._folder / f"{next(self._numbers):04d}.xml"
            file.with_suffix(".part").write_bytes(_document(records))
            file.with_suffix(".part").rename(file)

    def put_half(self, records: Sequence[Json], chance: random.Random) -> None:
        """Put a file there of which a part is written."""
        if records:
            content = _document(records)
            file = self._folder / f"{next(self._numbers):04d}.xml"
            cut = chance.randrange(1, len(content) - 1)
            file.write_bytes(content[:cut])
            self._half.append((file, content[cut:]))

    def finish(self) -> None:
        """Write what is half there to its end."""
        while self._half:
            file, rest = self._half.pop()
            with file.open("ab") as opened:
                opened.write(rest)


def _document(records: Sequence[Json]) -> bytes:
    root = Element("steps")
    for record in records:
        _fill(SubElement(root, "step"), json.loads(line_of(record)))
    return tostring(root)


def _fill(element: Element, told: Json) -> None:
    for name, value in told.items():
        for each in value if isinstance(value, list) else [value]:
            child = SubElement(element, name)
            if isinstance(each, dict):
                _fill(child, each)
            else:
                child.text = each
