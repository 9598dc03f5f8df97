"""Pictures of what each source pack yields, for docs/packs: the pack's own examples, scraped for real, as the dashboard shows them.

python -m tests.pack_pictures [PACK ...]

Each pack has a store, a `serve` and a dashboard of its own, since their examples tell of the same order. What a pack reads is
there for real: files, systemd's journal, PostgreSQL and RabbitMQ of this machine (`POSTGRESQL_ADDRESS`, `RABBITMQ_ADDRESS`,
`RABBITMQ_MANAGEMENT_ADDRESS`) in a database and a virtual host that are removed again, and a Redis, a NATS and a Kafka of
this process. A picture shows the times of the examples, and how long ago that was.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml
from PIL import Image

from controltower.collector.scrapers.packs import packs
from controltower.collector.scrapers.positions import Positions
from controltower.dashboard.launch import command, environment
from controltower.store.client import Client
from controltower.store.read import SearchFilters, Standing, search
from controltower.store.read import sources as sources_of
from tests.clickhouse_server import free_port
from tests.collector.scrapers.streams import OwnKafka, OwnNats, OwnRedis
from tests.conftest import CHROMIUM_NAMES, CHROMIUM_OPTIONS
from tests.processes import Tower, tower, until
from tests.tracer.hooked import broker

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "packs"
WIDTH, TALLEST = 1200, 1150
SHOWN_MS = 120_000
MOST_BYTES = 120_000
WRITTEN_AT = datetime(2026, 11, 4, 10, 0, tzinfo=UTC)  # of the files in folders, behind what their documents say
JOURNAL_WRITER = "/lib/systemd/systemd-journal-remote"
GUEST = "guest:guest"
REDACTION_KEY = f"1:{b64encode(b'k' * 32).decode()}"  # the tokens in a picture are the same each time
Json = dict[str, Any]
IDLE = """() => !document.querySelector('[data-testid=stSkeleton], [data-testid=stStatusWidget], [data-stale=true]')
    && document.querySelector('.ct-table')"""
EXTENT = """tallest => {
    const boxes = [...document.querySelectorAll('[data-testid=stMainBlockContainer] [data-testid=stElementContainer]')]
        .filter(one => one.getBoundingClientRect().height > 20);
    const bottom = one => one.getBoundingClientRect().bottom;
    const ends = boxes.filter(one => bottom(one) <= tallest && !one.querySelector('.ct-heading')).map(bottom);
    return [Math.min(...boxes.map(one => one.getBoundingClientRect().top)) - 14, Math.max(...ends) + 14];
}"""  # from the title to the last part that is there as a whole and is no heading
QUIET_S = 6


@dataclass(frozen=True)
class Fed:
    """A pack whose examples are there to be read: its sources as an operator changed them, and where its systems are."""

    sources: Json
    variables: Mapping[str, str]
    prepare: Callable[[Tower, Path], None] = lambda _tower, _sources: None


Feeder = Callable[[Json, Path], AbstractContextManager[Fed]]


def given(source: Json) -> Iterator[str]:
    """Yield what each test of a source reads."""
    yield from (test["given"] for test in source["tests"])


def messages(source: Json) -> Iterator[Json]:
    """Yield the messages, rows or entries that the tests of a source read."""
    yield from (json.loads(line) for text in given(source) for line in text.splitlines())


# -- feeding


@contextmanager
def log(sources: Json, folder: Path) -> Iterator[Fed]:
    """One log that holds all examples."""
    for name, source in sources.items():
        (folder / f"{name}.log").write_text("".join(given(source)), encoding="utf-8")
        source["files"] = [f"{name}.log"]
    yield Fed(sources, {})


@contextmanager
def documents(sources: Json, folder: Path) -> Iterator[Fed]:
    """A folder with a file for each example."""
    (folder / "in").mkdir()
    for source in sources.values():
        for test in source["tests"]:
            path = folder / "in" / f"{test['name'].replace(' ', '-').replace(',', '')}.{source['format']}"
            path.write_text(test["given"], encoding="utf-8")
            os.utime(path, (WRITTEN_AT.timestamp(),) * 2)
        source["files"] = ["in/*"]
    yield Fed(sources, {})


@contextmanager
def journal(sources: Json, folder: Path) -> Iterator[Fed]:
    """A journal that systemd's own program writes."""
    (folder / "journal").mkdir()
    for source in sources.values():
        entries = [_entry(fields) for fields in messages(source)]
        words = [JOURNAL_WRITER, "--split-mode=none", f"--output={folder / 'journal' / 'x.journal'}", "-"]
        subprocess.run(words, input="\n".join(entries).encode(), check=True, capture_output=True, timeout=30)
        source["directory"] = str(folder / "journal")
    yield Fed(sources, {})


def _entry(fields: Json) -> str:
    process = {"_PID": "1"} if "UNIT" in fields else {}  # what the pack asks for: systemd speaks of a unit
    named = {"_BOOT_ID": "b" * 32, **process, **fields}
    return "".join(f"{name}={value}\n" for name, value in named.items())


@contextmanager
def schedule(sources: Json, folder: Path) -> Iterator[Fed]:
    """A calendar whose scraper was away for some days."""

    def away(running: Tower, file: Path) -> None:
        running.run("scrape", str(file), "--once", "--quiet")
        since = (datetime.now(UTC) - timedelta(days=5)).isoformat()
        for name in sources:
            positions = Positions(running.data / "scrape" / name)
            saved, _ = positions.open()
            assert saved is not None
            positions.acknowledge({**saved, "reader": {**saved["reader"], "after": since}})

    yield Fed(sources, {}, away)


@contextmanager
def rows(sources: Json, folder: Path) -> Iterator[Fed]:
    """A table in a database of its own; each state of a row is there at the end only, as in any table."""
    import sqlalchemy

    host, port = broker("PostgreSQL", "POSTGRESQL_ADDRESS", 5432)
    server = f"postgresql+psycopg://{os.environ.get('POSTGRESQL_USER', 'postgres')}@{host}:{port}"
    owner = sqlalchemy.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    name = f"packs_{os.getpid()}"
    with owner.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    try:
        engine = sqlalchemy.create_engine(f"{server}/{name}", poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text(
                    "CREATE TABLE jobs (id BIGINT PRIMARY KEY, status TEXT, updated_at TIMESTAMP, invoice TEXT, error TEXT, "
                    "rows_done INT)"
                )
            )
            for row in {row["id"]: row for source in sources.values() for row in messages(source)}.values():
                values = {"error": None, "rows_done": None, **row, "updated_at": row["row.changed"]}
                names = ("id", "status", "updated_at", "invoice", "error", "rows_done")
                statement = f"INSERT INTO jobs VALUES ({', '.join(f':{name}' for name in names)})"
                connection.execute(sqlalchemy.text(statement), {name: values[name] for name in names})
        yield Fed(sources, {"DATABASE_URL": f"{server}/{name}"})
    finally:
        with owner.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
        owner.dispose()


@contextmanager
def rabbitmq(sources: Json, folder: Path) -> Iterator[Fed]:
    """Queues in a virtual host of its own: letters that are dead, and an exchange whose copies a queue gets once it is scraped."""
    import pika

    host, port = broker("RabbitMQ", "RABBITMQ_ADDRESS", 5672)
    managed = broker("RabbitMQ's management API", "RABBITMQ_MANAGEMENT_ADDRESS", 15672)
    address = ":".join(map(str, managed))
    vhost = f"packs.{os.getpid()}"
    ask = partial(_manage, f"http://{address}/api")
    ask("PUT", f"/vhosts/{vhost}")
    ask("PUT", f"/permissions/{vhost}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    parameters = pika.ConnectionParameters(host, port, vhost)
    dead, copied = sources["orders_dead"], sources["orders_copied"]

    def publish(running: Tower, file: Path) -> None:
        running.run("scrape", str(file), "--once", "--quiet")  # makes the queue of copies
        with closing(pika.BlockingConnection(parameters)) as connection:
            for message in messages(copied):
                _publish(connection.channel(), copied["exchange"], message["routing_key"], message)

    try:
        with closing(pika.BlockingConnection(parameters)) as connection:
            channel = connection.channel()
            channel.queue_declare(dead["queue"], durable=True)
            channel.exchange_declare(copied["exchange"], "topic", durable=True)
            for message in messages(dead):
                _publish(channel, "", dead["queue"], message)
        urls = {
            "RABBITMQ_URL": f"amqp://{GUEST}@{host}:{port}/{vhost}",
            "RABBITMQ_MANAGEMENT_URL": f"http://{GUEST}@{address}/{vhost}",
        }
        yield Fed(sources, urls, publish)
    finally:
        ask("DELETE", f"/vhosts/{vhost}")


def _publish(channel: Any, exchange: str, routing_key: str, message: Json) -> None:
    import pika

    headers = json.loads(json.dumps(message.get("headers", {})))
    for death in headers.get("x-death", []):
        death["time"] = datetime.fromtimestamp(int(death["time"]), UTC)
    sent = {"timestamp": int(message["time"])} if "time" in message else {}
    properties = pika.BasicProperties(headers=headers, **sent)
    channel.basic_publish(exchange, routing_key, json.dumps(message["body"]).encode(), properties)


def _manage(base: str, method: str, path: str, body: Json | None = None) -> None:
    basic = b64encode(GUEST.encode()).decode()
    heads = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    asked = urllib.request.Request(base + path, json.dumps(body or {}).encode(), heads, method=method)
    urllib.request.urlopen(asked, timeout=30).close()


@contextmanager
def streams(sources: Json, folder: Path) -> Iterator[Fed]:
    """A Redis with entries at their times, a NATS whose consumer gives a message up, and a Kafka."""
    made = [folder / name for name in ("redis", "nats", "kafka")]
    for path in made:
        path.mkdir()
    with closing(OwnRedis(made[0])) as redis, closing(OwnNats(made[1])) as nats, closing(OwnKafka(made[2])) as kafka:
        stream, advised, topic = (sources[name] for name in ("orders_stream", "orders_given_up", "invoices_dead"))
        for message in messages(stream):
            entry = {stream["body"]: json.dumps(message["body"]), **message["headers"]}
            redis.client.xadd(stream["queue"], entry, id=f"{float(message['time']) * 1000:.0f}-0")
        nats.run(partial(_give_up, advised, [*messages(advised)]))
        kafka.producer.list_topics(topic["queue"], timeout=10)
        for message in messages(topic):
            body, at_ms = json.dumps(message["body"]).encode(), int(message["time"]) * 1000
            key = message["routing_key"].encode()
            kafka.producer.produce(topic["queue"], body, key=key, headers=message["headers"], timestamp=at_ms)
        assert kafka.producer.flush(30) == 0
        yield Fed(
            sources,
            {"REDIS_URL": redis.address, "NATS_URL": nats.address, "KAFKA_BOOTSTRAP_SERVERS": kafka.address},
        )


async def _give_up(source: Json, letters: list[Json], _: Any, nats: Any) -> None:
    from nats.js.api import ConsumerConfig

    alive, consumer = letters[0]["dead"]["queue"], letters[0]["dead"]["exchange"]
    subject = f"{alive.lower()}.>"
    await nats.add_stream(name=alive, subjects=[subject])
    advised = [f"$JS.EVENT.ADVISORY.CONSUMER.{why}.{alive}.>" for why in ("MAX_DELIVERIES", "MSG_TERMINATED")]
    await nats.add_stream(name=source["queue"], subjects=advised)
    for letter in letters:
        await nats.publish(letter["routing_key"], json.dumps(letter["body"]).encode(), headers=letter.get("headers"))
    theirs = await nats.pull_subscribe(subject, consumer, config=ConsumerConfig(max_deliver=1))
    for message in await theirs.fetch(len(letters)):
        await message.term()


# -- what is shown


@dataclass(frozen=True)
class Shot:
    """How a pack is fed, and what of the dashboard shows best what it yields."""

    feed: Feeder
    flow: str  # whose transactions there must be
    page: str  # transaction: the one with the most steps; otherwise the name of a page
    tab: str = ""
    queues: bool = False  # whether the page Sources is pictured, too, since levels are no steps


SHOTS: Mapping[str, Shot] = {
    "access_log": Shot(log, "procure_to_pay", "transaction", "spans"),
    "cron": Shot(log, "batch_and_file", "transaction", "spans"),
    "edifact": Shot(documents, "procure_to_pay", "transaction"),
    "hl7": Shot(documents, "charge_to_cash", "transaction", "why"),
    "mirth_connect": Shot(log, "procure_to_pay", "transaction", "spans"),
    "postgresql_jobs": Shot(rows, "procure_to_pay", "transactions"),
    "rabbitmq": Shot(rabbitmq, "procure_to_pay", "transaction", "spans", queues=True),
    "schedule": Shot(schedule, "batch_and_file", "transactions"),
    "streams": Shot(streams, "procure_to_pay", "transactions"),
    "systemd": Shot(journal, "batch_and_file", "transactions"),
    "x12": Shot(documents, "procure_to_pay", "transaction"),
    "x12_claims": Shot(documents, "charge_to_cash", "transaction"),
}


def picture(name: str, folder: Path) -> None:
    """Feed a pack, scrape it, and write what the dashboard shows of it."""
    shot = SHOTS[name]
    sources = yaml.safe_load(packs()[name])["sources"]
    with shot.feed(sources, folder) as fed:
        file = folder / "sources.yaml"
        file.write_text(yaml.safe_dump({"sources": fed.sources}, sort_keys=False), encoding="utf-8")
        variables = {"CONTROLTOWER_REDACTION_KEY": REDACTION_KEY, **fed.variables}
        with tower(folder / "data", environment=variables) as running:
            running.serve()
            fed.prepare(running, file)
            running.start("scrape", str(file), "--quiet")
            with closing(running.client()) as client:
                steps = until(Settled(client, shot.flow, set(sources)), f"transactions of {name}")
                place = _place(client, shot)
            with _dashboard(running.data, folder) as address:
                _shoot(f"{address}/{place}", FOLDER / f"{name}.png")
                if shot.queues:
                    _shoot(f"{address}/sources", FOLDER / f"{name}_queues.png")
    print(f"{name}: {steps} steps", flush=True)


class Settled:
    """Whether all sources work and transactions, some of a flow, have stayed as they are for a while."""

    def __init__(self, client: Client, flow: str, names: set[str]) -> None:
        self._client, self._flow, self._names = client, flow, names
        self._steps, self._since = 0, time.monotonic()

    def __call__(self) -> int:
        """Return the number of steps, 0 until then."""
        found = search(self._client, SearchFilters(limit=50)).rows
        steps = sum(one.steps for one in found)
        if steps != self._steps or not any(one.flow == self._flow for one in found):
            self._steps, self._since = steps, time.monotonic()
        now = datetime.now(UTC)
        working = {each.source for each in sources_of(self._client) if each.standing(now) is not Standing.FAILING}
        return steps if time.monotonic() - self._since > QUIET_S and working == self._names else 0


def _place(client: Client, shot: Shot) -> str:
    if shot.page != "transaction":
        return shot.page
    found = search(client, SearchFilters(flow=shot.flow, limit=50)).rows
    most = max(found, key=lambda one: one.steps)
    anchor = most.anchor
    where = {"flow": most.flow, "type": anchor.type, "scope": anchor.scope, "value": anchor.value}
    return f"transaction?{urlencode({**where, **({'tab': shot.tab} if shot.tab else {})})}"


@contextmanager
def _dashboard(data: Path, folder: Path) -> Iterator[str]:
    port = free_port()
    with (folder / "dashboard.out").open("w") as out:
        process = subprocess.Popen(
            command(port), env=os.environ | environment(data, None), cwd=folder, stdout=out, stderr=out
        )
        try:
            until(partial(_answers, f"http://127.0.0.1:{port}/_stcore/health"), "the dashboard answers")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except OSError:
        return False
    return True


def _shoot(url: str, path: Path) -> None:
    """Write the content of a page, down to the last part of it that is there as a whole, in few colours."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(which, CHROMIUM_NAMES)), None)
    with sync_playwright() as playwright:  # for no longer than this: it keeps an event loop in the thread
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_OPTIONS)
        page = browser.new_page(viewport={"width": WIDTH, "height": TALLEST + 100})
        page.set_default_timeout(SHOWN_MS)
        page.goto(url)
        page.wait_for_function(IDLE)
        if "/transaction?" in url and "tab=" not in url:
            page.locator(".js-plotly-plot").wait_for()
            page.wait_for_function(IDLE)
        top, end = page.evaluate(EXTENT, TALLEST)
        clip: FloatRect = {"x": 0, "y": top, "width": WIDTH, "height": end - top}
        shown = Image.open(io.BytesIO(page.screenshot(clip=clip)))
        browser.close()
    shown.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size < MOST_BYTES, f"{path} has {path.stat().st_size} bytes"


if __name__ == "__main__":
    for chosen in sys.argv[1:] or sorted(SHOTS):
        with tempfile.TemporaryDirectory(prefix=f"{chosen}-") as made:
            picture(chosen, Path(made))
