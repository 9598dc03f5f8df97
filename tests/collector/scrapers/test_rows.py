"""Tables of a real PostgreSQL and a real MariaDB: each row once in each state, in whatever order transactions commit."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controltower.collector.scrapers import rows as rows_module
from controltower.collector.scrapers.database import opened
from controltower.collector.scrapers.definition import RowSource, parse_sources
from controltower.collector.scrapers.errors import AddressError, SourcesError, TableError
from controltower.collector.scrapers.rows import RowReader
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.brokers import worker_of
from tests.collector.scrapers.test_worker import attributes_of, spans_of
from tests.tracer.hooked import broker, fresh, needs, relay

needs("sqlalchemy", "psycopg", "pymysql")
import sqlalchemy

ALWAYS: Answer = (200, {}, b"")
NOW = datetime.now(UTC).replace(microsecond=0)
RULE = {"when": {"status": "done"}, "step": "implant.case.billed", "keys": {"run": "id"}, "reason": "status"}


@dataclass
class Jobs:
    """A table of jobs in a database, and what writes to it."""

    engine: Any
    url: str
    name: str

    def put(self, *ids: int, at: datetime = NOW, status: str = "done", connection: Any = None) -> None:
        """Insert rows; in a transaction of their own unless there is a *connection*."""
        if connection is None:
            with self.engine.begin() as own:
                self.put(*ids, at=at, status=status, connection=own)
            return
        rows = [{"id": each, "status": status, "at": at.replace(tzinfo=None)} for each in ids]
        statement = f"INSERT INTO {self.name} (id, status, updated_at) VALUES (:id, :status, :at)"
        connection.execute(sqlalchemy.text(statement), rows)

    def run(self, statement: str, **values: Any) -> None:
        """Run a statement; JOBS stands for the table."""
        with self.engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement.replace("JOBS", self.name)), values)

    def source(self, **options: Any) -> RowSource:
        """Return a source of it."""
        said = {"kind": "rows", "table": self.name, "key": ["id"], "changed": "updated_at", "every": "0 minutes"}
        whole = {"sources": {"jobs": {**said, "rules": [RULE], **options}}}
        source = parse_sources(json.dumps(whole), "jobs.yaml").sources["jobs"]  # JSON is YAML
        assert isinstance(source, RowSource)
        return source

    def reader(self, **options: Any) -> RowReader:
        """Return what reads it."""
        return RowReader(self.source(**options), time.time_ns)


def address_of(name: str, port: int | None = None) -> str:
    """Return the address of a database, through another port if there is one; skips where there is none."""
    if name == "postgresql":
        host, own = broker("PostgreSQL", "POSTGRESQL_ADDRESS", 5432)
        user = os.environ.get("POSTGRESQL_USER", "postgres")
        return f"postgresql+psycopg://{user}@{host}:{port or own}/postgres"
    host, own = broker("MariaDB", "MARIADB_ADDRESS", 3306)
    return f"mariadb+pymysql://{os.environ.get('MARIADB_USER', 'root')}@{host}:{port or own}/test"


@contextmanager
def table_in(name: str) -> Iterator[Jobs]:
    """Give a new table, for the length of the block."""
    url = address_of(name)
    if name == "mariadb":
        with sqlalchemy.create_engine(url.removesuffix("/test")).begin() as connection:
            connection.execute(sqlalchemy.text("CREATE DATABASE IF NOT EXISTS test"))
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    kind = "TIMESTAMP(6)" if name == "postgresql" else "DATETIME(6)"
    made = Jobs(engine, url, fresh("jobs").replace(".", "_"))
    made.run(f"CREATE TABLE JOBS (id BIGINT PRIMARY KEY, status VARCHAR(20), updated_at {kind}, number BIGINT)")
    try:
        yield made
    finally:
        made.run("DROP TABLE JOBS")
        engine.dispose()


@pytest.fixture(params=["postgresql", "mariadb"])
def jobs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """A table in each of the databases, whose address the environment holds."""
    with table_in(request.param) as made:
        monkeypatch.setenv("DATABASE_URL", made.url)
        yield made


def seen(reader: RowReader) -> list[tuple[int, str]]:
    """Return id and status of all rows that one look gives."""
    found: list[tuple[int, str]] = []
    caught_up = False
    while not caught_up:
        records, caught_up = reader.read()
        for record in records:
            fields = reader.parse(record)
            found.append((int(fields["id"]), fields["status"]))
    return found


def done(*ids: int) -> list[tuple[int, str]]:
    return [(each, "done") for each in ids]


def played(
    jobs: Jobs, writers: list[Any], events: list[tuple[str, int, int]]
) -> tuple[list[tuple[int, str]], list[int]]:
    """Return what a reader found that looks after each event, and the rows that were committed."""
    reader = jobs.reader()
    open_rows: list[list[int]] = [[], [], []]
    committed: list[int] = []
    found: list[tuple[int, str]] = []
    for number, (what, which, ago_s) in enumerate(events):
        if what == "write":
            jobs.put(number, at=NOW - timedelta(seconds=ago_s), connection=writers[which])
            open_rows[which].append(number)
        elif what == "crash":
            saved = reader.state()
            reader.close()
            reader = jobs.reader()
            reader.restore(saved)
        else:
            committed += open_rows[which] if what == "commit" else []
            getattr(writers[which], what)()
            open_rows[which] = []
        found += seen(reader)
    reader.close()
    return found, committed


def test_inserts_and_changes_become_steps(jobs: Jobs, tmp_path: Path) -> None:
    """Each once, with the time of the change, across restarts."""
    jobs.put(1, at=NOW - timedelta(seconds=30))
    jobs.put(2, status="running")
    with answering(lambda *_: ALWAYS) as server:
        worker_of(tmp_path, jobs.source(), server.url, time.time_ns).run_once()
        jobs.run("UPDATE JOBS SET status = 'done', updated_at = :at WHERE id = 2", at=NOW.replace(tzinfo=None))
        last = worker_of(tmp_path, jobs.source(), server.url, time.time_ns)
        last.run_once()

    spans = spans_of(server.bodies)
    assert [attributes_of(span)["controltower.key.run"] for span in spans] == ["1", "2"]
    assert [span.start_time_unix_nano for span in spans] == [
        int((NOW - timedelta(seconds=30)).timestamp()) * 10**9,
        int(NOW.timestamp()) * 10**9,
    ]
    assert (last.health.records, last.health.steps) == (1, 1)


def test_what_commits_late_is_not_missed(jobs: Jobs) -> None:
    """A transaction that wrote before the latest one read, and ended after it."""
    reader = jobs.reader()
    with jobs.engine.connect() as slow:
        jobs.put(1, at=NOW - timedelta(minutes=5), connection=slow)
        jobs.put(2)
        assert seen(reader) == done(2)
        slow.commit()

    assert seen(reader) == done(1)
    assert seen(reader) == []
    reader.close()


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],  # making a failure smaller would take many minutes here
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, 2), st.integers(0, 600)),
            st.tuples(st.sampled_from(["commit", "rollback"]), st.integers(0, 2), st.just(0)),
            st.tuples(st.just("crash"), st.just(0), st.just(0)),
        ),
        min_size=8,
        max_size=20,
    )
)
def test_any_order_of_commits_and_looks(jobs: Jobs, events: list[tuple[str, int, int]]) -> None:
    """Three writers, and a reader that looks after each event and is ended now and then: every row that was committed comes once."""
    jobs.run("DELETE FROM JOBS")
    with ExitStack() as ends:  # an open transaction would hold up the next example
        writers = [ends.enter_context(jobs.engine.connect()) for _ in range(3)]
        found, committed = played(jobs, writers, events)

    assert sorted(found) == done(*sorted(committed))


def test_many_rows_of_one_moment(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, through a crash in the middle; more than can be known is told, and none is lost."""
    monkeypatch.setattr(rows_module, "MOST_RECORDS", 100)
    monkeypatch.setattr(rows_module, "MOST_KNOWN", 600)
    jobs.put(*range(450))
    first = jobs.reader()
    taken = [record for _ in range(2) for record in first.read().records]
    second = jobs.reader()
    second.restore(first.state())
    assert len(taken) == 200
    assert seen(second) == done(*range(200, 450))
    assert second.problems == {}

    jobs.put(*range(450, 1_300))
    assert seen(second) == done(*range(450, 1_300))
    assert "more than 600 rows" in second.problems[jobs.name]
    jobs.put(2_000, at=NOW + timedelta(seconds=1))
    assert seen(second) == done(2_000)
    first.close()
    second.close()


def test_a_row_dated_ahead_hides_no_other(jobs: Jobs) -> None:
    """It comes once, and what is written after it comes, too."""
    reader = jobs.reader()
    at = datetime.now(UTC).replace(microsecond=0)  # the reader looks back from now, and this file may be long imported
    jobs.put(1, at=at + timedelta(days=400))
    assert seen(reader) == done(1)
    jobs.put(2, at=at)
    assert seen(reader) == done(2)
    assert seen(reader) == []
    reader.close()


def test_numbers_that_grow(jobs: Jobs) -> None:
    """A sequence, whose numbers are given before the transactions end."""
    reader = jobs.reader(changed="number", gap=10)
    insert = "INSERT INTO JOBS (id, status, number) VALUES (:id, 'done', :id)"
    jobs.run(insert, id=100)
    assert seen(reader) == done(100)
    jobs.run(insert, id=95)
    jobs.run(insert, id=101)
    assert seen(reader) == done(95, 101)
    reader.close()


def test_what_is_there_can_be_passed_over(jobs: Jobs) -> None:
    """``begin: end``: then only what comes."""
    jobs.put(1, 2)
    reader = jobs.reader(begin="end")
    assert seen(reader) == []
    jobs.put(3)
    assert seen(reader) == done(3)
    reader.close()


def test_it_locks_nothing_and_cannot_write(jobs: Jobs) -> None:
    """While it is connected the table can be altered; its session refuses to write."""
    jobs.put(1)
    table = opened(jobs.source())
    assert len(table.rows(None, None, 10)) == 1
    jobs.run("ALTER TABLE JOBS ADD COLUMN more INTEGER")

    with pytest.raises(sqlalchemy.exc.DBAPIError):
        table._connection.execute(sqlalchemy.text(f"DELETE FROM {jobs.name}"))
    table.close()


def test_a_database_that_fails_over(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks; the next one goes on where it was saved."""
    jobs.put(1)
    name = "postgresql" if "postgresql" in jobs.url else "mariadb"
    url = sqlalchemy.make_url(jobs.url)
    with relay(url.host, url.port) as (port, cut):
        monkeypatch.setenv("DATABASE_URL", address_of(name, port))
        reader = jobs.reader()
        assert seen(reader) == done(1)
        cut()
        with pytest.raises(sqlalchemy.exc.DBAPIError):
            reader.read()
    saved = reader.state()
    reader.close()
    monkeypatch.setenv("DATABASE_URL", jobs.url)
    jobs.put(2)
    after = jobs.reader()
    after.restore(saved)

    assert seen(after) == done(2)
    after.close()


def test_what_is_wrong_is_said(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column or table that is not there, a column that cannot grow, an address that is none, a field of no column."""
    with pytest.raises(TableError, match="has no column nothing"):
        jobs.reader(columns=["nothing"], rules=[{**RULE, "when": {}, "reason": "nothing"}]).read()
    with pytest.raises(TableError, match="nothing grows in it"):
        jobs.reader(changed="status").read()
    with pytest.raises(TableError, match="no table nowhere"):
        jobs.reader(table="nowhere").read()
    with pytest.raises(SourcesError, match="is no column here"):
        jobs.source(columns=["updated_at"])
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    with pytest.raises(AddressError, match="cannot be used"):
        jobs.reader().read()
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(AddressError, match="DATABASE_URL"):
        jobs.reader().read()


def test_what_is_in_a_column_of_json(jobs: Jobs, tmp_path: Path) -> None:
    """Paths lead into columns of JSON, also of text that is JSON; numbers are the texts they are, and lines are lines."""
    jobs.run("ALTER TABLE JOBS ADD payload JSON")  # which is a text in MariaDB
    jobs.run("ALTER TABLE JOBS ADD note TEXT")
    jobs.put(1)
    told = '{"po": "PO-1", "lines": [{"price": 12345678901234567890.10}]}'
    jobs.run("UPDATE JOBS SET payload = :payload, note = :note", payload=told, note=told)
    rule = {
        "step": "p2p.purchase_order.created",
        "keys": {"purchase_order": "$.payload.po", "requisition": "$.note.po"},
        "lines": {"each": "$.payload.lines[*]", "unit_price": "price"},
    }
    with answering(lambda number, body: ALWAYS) as server:
        source = jobs.source(rules=[rule], json_columns=["payload", "note"])
        worker_of(tmp_path, source, server.url, time.time_ns).run_once()
        (span,) = spans_of(server.bodies)

    found = attributes_of(span)
    assert (found["controltower.key.purchase_order"], found["controltower.key.requisition"]) == ("PO-1", "PO-1")
    assert [each.value.string_value for each in span.events[0].attributes] == ["12345678901234567890.10"]


def test_a_text_that_is_no_json_is_rejected(jobs: Jobs, tmp_path: Path) -> None:
    """One row whose text should be JSON and is none is rejected with the column's name; the others are read."""
    jobs.run("ALTER TABLE JOBS ADD note TEXT")
    jobs.put(1, 2)
    jobs.run("UPDATE JOBS SET note = CASE id WHEN 1 THEN '{' ELSE :told END", told='{"po": "PO-2"}')
    rule = {"step": "p2p.purchase_order.created", "keys": {"purchase_order": "$.note.po"}}
    with answering(lambda number, body: ALWAYS) as server:
        worker = worker_of(tmp_path, jobs.source(rules=[rule], json_columns=["note"]), server.url, time.time_ns)
        worker.run_once()
        (span,) = spans_of(server.bodies)

    assert attributes_of(span)["controltower.key.purchase_order"] == "PO-2"
    assert worker.health.reject_reason == "not_json"
