"""The course of a soak of scrapers: systems leave records, faults strike, silence until all is read, judgement."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from controltower.cli.demo.plan import history
from controltower.cli.demo.truth import truth_of, write_truth
from controltower.cli.demo.written import Json, written
from tests.collector.scrapers.brokers import rabbit
from tests.collector.scrapers.test_remote_files import sftp, storage_of
from tests.processes import NeverError, Tower, tower, until
from tests.scrape_soak.places import FilesPlace, LogPlace, Place, QueuePlace, TablePlace
from tests.scrape_soak.postgresql import pair, programs
from tests.soak.world import FAKETIME, own_clock, set_clock

DAYS: Final = 60
A_LITTLE: Final = timedelta(minutes=2)
READ_S: Final = 120.0
CLOCK_JUMP_S: Final = 3_000
RESOLVED_S: Final = 60.0
WHERE: Final[Mapping[str, str]] = {  # what of the network leaves its records where; the others have logs
    "edi-gateway": "queue",
    "erp": "table",
    "bank-gateway": "files",
    "accounts-payable": "files",
}
READ: Final = """
SELECT count() AS rows, uniqExact(TraceId, SpanId) AS spans, uniqExact(TraceId, ParentSpanId) AS steps
FROM otel_traces WHERE ScopeName = 'controltower.scrape'
"""

READ_OF_EACH: Final = """
SELECT ServiceName, uniqExact(TraceId, ParentSpanId) FROM otel_traces WHERE ScopeName = 'controltower.scrape' GROUP BY ServiceName
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a soak."""

    records: int
    rows: int  # of spans in the store
    spans: int  # with ids of their own
    steps: int  # that are there, read once or more often
    faults: dict[str, int]
    figures: dict[str, Any]  # of `score`
    said: str = field(repr=False, default="")

    @property
    def flawless(self) -> bool:
        """Whether no step is lost, none is there twice, and all that follows from them is as it really was."""
        once = self.rows == self.spans == self.steps == self.records
        return once and self.figures["worst"] == [] and self.figures["membership"]["precision"] == 1.0


class World:
    """A scraper that can be killed, and the places that it reads."""

    def __init__(self, running: Tower, sources: Path, places: Mapping[str, Place], clock: Path | None) -> None:
        self.running = running
        self.places = places
        self.clock = clock
        self.clock_is_off = False
        self._sources = str(sources)
        self._scrape = running.start("scrape", self._sources, "--quiet")

    def kill(self) -> None:
        """kill -9 of the scraper, which is started again."""
        self.running.kill(self._scrape)
        self._scrape = self.running.start("scrape", self._sources, "--quiet")

    def read(self) -> tuple[int, int, int]:
        """Return how many spans of scrapers the store has, how many have ids of their own, and of how many steps."""
        with closing(self.running.client()) as client:
            (row,) = client.query(READ).result_rows
        return int(row[0]), int(row[1]), int(row[2])

    def read_of_each(self) -> dict[str, int]:
        """Return how many steps of each place are in the store."""
        with closing(self.running.client()) as client:
            return {str(name): int(steps) for name, steps in client.query(READ_OF_EACH).result_rows}


Records = Mapping[str, Sequence[Json]]  # by place
Fault = Callable[[World, Records, random.Random], str]


def kill(world: World, records: Records, chance: random.Random) -> str:
    """kill -9 of the scraper while records come; of half a file it would believe the time, where its clock is right."""
    if world.clock_is_off:
        world.places["files"].finish()
    until_read = world.read()[2] + chance.randint(1, max(1, sum(map(len, records.values())) // 2))
    _put(world, records)
    until(lambda: world.read()[2] >= until_read, "some of it is read", READ_S)
    world.kill()
    return "kill -9"


def rotate(world: World, records: Records, chance: random.Random) -> str:
    """Logs are rotated while they are read, in the middle of a line or by copying."""
    how = Counter[str]()
    for name, place in world.places.items():
        if isinstance(place, LogPlace):
            how[place.put_rotating(records.get(name, ()), chance)] += 1
    _put(world, {name: each for name, each in records.items() if not isinstance(world.places[name], LogPlace)})
    return ", ".join(sorted(how))


def broker_away(world: World, records: Records, chance: random.Random) -> str:
    """The broker ends all connections and is away for a while; records come meanwhile."""
    place = world.places["queue"]
    assert isinstance(place, QueuePlace)
    _put(world, records)
    refused = place.way.refused
    place.way.cut()
    until(lambda: place.way.refused > refused, "the scraper finds nobody", READ_S)
    place.way.open()
    return "broker restarted"


def failover(world: World, records: Records, chance: random.Random) -> str:
    """The database dies between two rows, and goes on as its standby."""
    place = world.places["table"]
    assert isinstance(place, TablePlace)
    half = len(records.get("table", ())) // 2
    _put(world, {**records, "table": records.get("table", ())[:half]})
    place.failover()
    place.put(records.get("table", ())[half:])
    return "database failed over"


def half_a_file(world: World, records: Records, chance: random.Random) -> str:
    """A file is there in part; the rest comes with the next one."""
    place = world.places["files"]
    assert isinstance(place, FilesPlace)
    place.finish()
    place.put_half(records.get("files", ()), chance)
    _put(world, {name: each for name, each in records.items() if name != "files"})
    return "half a file"


def clock_jumps(world: World, records: Records, chance: random.Random) -> str:
    """The scraper's clock jumps and stays there, ahead of or behind that of the others."""
    assert world.clock is not None
    _put(world, records)
    offset_s = chance.choice((-1, 1)) * chance.randrange(60, CLOCK_JUMP_S)
    set_clock(world.clock, offset_s)
    world.clock_is_off = True
    return "clock jumped"


def soak(
    folder: Path, rounds: int, transactions: int, seed: int, say: Callable[[str], None] = lambda text: None
) -> Report:
    """Let so many *transactions* leave their records in so many *rounds*, a fault in each, and return what came of it."""
    chance = random.Random(seed)
    end = (datetime.now(UTC) - A_LITTLE).replace(microsecond=0)
    plan = history(seed, transactions, DAYS, end)
    write_truth(folder / "truth.jsonl", truth_of(plan))
    records: dict[str, list[Json]] = {}
    for each in written(plan):
        records.setdefault(WHERE.get(each.system, each.system), []).append(each.record)
    with ExitStack() as stack:
        world = _world(stack, folder, records)
        faults = _afflict(world, records, rounds, chance, say)
        for place in world.places.values():
            place.finish()
        total = sum(map(len, records.values()))
        try:
            until(lambda: world.read()[2] >= total, f"{total} steps are read", READ_S)
        except NeverError:
            say("not all was read")  # which the report tells
        figures = _scored(world.running, folder / "truth.jsonl")
        return Report(total, *world.read(), dict(faults), figures, world.running.said("scrape"))


def _world(stack: ExitStack, folder: Path, records: Records) -> World:
    bin_ = programs()
    assert bin_ is not None, "PostgreSQL's programs are not there"
    served, keys = folder / "served", folder / "keys"
    served.mkdir()
    keys.mkdir()
    (keys / "word").write_text("word", encoding="utf-8")
    port = stack.enter_context(sftp(served, keys))
    queue = QueuePlace(stack.enter_context(rabbit()))
    table = TablePlace(stack.enter_context(pair(bin_)))
    stack.callback(queue.way.close)
    stack.callback(table.way.close)
    places: dict[str, Place] = {"queue": queue, "table": table, "files": FilesPlace(served, storage_of(keys, port))}
    places |= {name: LogPlace(folder / name) for name in records if name not in places}
    sources = folder / "sources.yaml"
    told = {name: place.source(records[name]) for name, place in places.items() if name in records}
    sources.write_text(json.dumps({"sources": told}), encoding="utf-8")  # JSON is YAML
    clock = folder / "clock" if FAKETIME.exists() else None
    serving = stack.enter_context(tower(folder / "data"))
    serving.serve()
    scraping = stack.enter_context(tower(folder / "data", environment=_environment(queue, table, clock)))
    scraping.runtime = serving.runtime
    scraping.run("scrape", str(sources), "--once")  # makes the queue
    return World(scraping, sources, places, clock)


def _environment(queue: QueuePlace, table: TablePlace, clock: Path | None) -> dict[str, str]:
    addresses = {"RABBITMQ_URL": queue.address, "DATABASE_URL": table.address}
    # Files keep the times of the server that they are on.
    return addresses if clock is None else {**addresses, **own_clock(clock), "NO_FAKE_STAT": "1"}


def _afflict(
    world: World, records: Records, rounds: int, chance: random.Random, say: Callable[[str], None]
) -> Counter[str]:
    done: Counter[str] = Counter()
    waiting: list[Fault] = []
    for number, part in enumerate(_parts(records, 2 * rounds)):
        if number % 2 == 0:  # the scraper is at work everywhere when the fault strikes
            before = world.read_of_each()
            _put(world, part)
            until(partial(_is_read, world, part, before), "some of each place is read", READ_S)
            continue
        if not waiting:
            waiting = [kill, rotate, rotate, broker_away, failover, half_a_file]
            waiting += [clock_jumps] if world.clock else []
            chance.shuffle(waiting)
        how = waiting.pop()(world, part, chance)
        say(how)
        done[how] += 1
    return done


def _is_read(world: World, part: Records, before: Mapping[str, int]) -> bool:
    now = world.read_of_each()
    return all(now.get(name, 0) > before.get(name, 0) for name, each in part.items() if each)


def _parts(records: Records, rounds: int) -> Iterator[Records]:
    """Yield the records of each round: those of every place in their order."""
    for number in range(rounds):
        yield {
            name: each[len(each) * number // rounds : len(each) * (number + 1) // rounds]
            for name, each in records.items()
        }


def _put(world: World, records: Records) -> None:
    for name, each in records.items():
        world.places[name].put(each)


def _scored(running: Tower, truth: Path) -> dict[str, Any]:
    """Return the figures of `score` once nothing differs, or those of the end."""
    figures: dict[str, Any] = {}

    def whole() -> bool:
        nonlocal figures
        figures = json.loads(running.run("score", str(truth), "--json"))
        return not figures["worst"]

    try:
        until(whole, "all is as it really was", RESOLVED_S)
    except NeverError:
        return figures  # which tell what is not
    return figures
