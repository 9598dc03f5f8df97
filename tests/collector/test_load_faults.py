"""What can befall loading, by the numbers of the fault catalogue: the store is away, half dead, full or forgetful."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from controltower.collector.drain import Drain
from controltower.collector.loading import Loading
from controltower.collector.metrics import Metrics
from controltower.collector.settings import Settings
from controltower.store import client as store_client_module
from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.loader import Segment, load_segment
from controltower.tracer.journal import Journal, JournalLimits
from tests.clickhouse_server import free_port
from tests.collector.requests import PATIENCE_S, Tower, request_of, running, span
from tests.collector.test_loading import forget_tokens, new_loading, restart
from tests.conftest import database_for
from tests.databases import migrated
from tests.store import otlp
from tests.store.wire import Fault, Wire
from tests.tracer.journals import append, open_journal

KEY = "controltower.key.purchase_order"
INSERT = b"otlp_traces_inbox"
DEPENDS = re.compile(r"\b(now\w*|today|yesterday|rand\w*|generateUUID\w*)\(", re.IGNORECASE)
WITHOUT_RECEIPT = "received_unix_nano, toUInt64(toUnixTimestamp64Nano(now64(9))))"


class Switch:
    """The way to a store that can be away: then nobody listens at its port."""

    def __init__(self, address: StoreAddress, *, away: bool = False) -> None:
        self._address = address
        self._nowhere = replace(address, port=free_port())
        self.away = away

    def open(self) -> Client:
        """Open a client, or fail as for a server that is down."""
        return connect(self._nowhere if self.away else self._address)


class Failures:
    """Short pauses that can be counted: loading pauses after each failure."""

    def __init__(self) -> None:
        self._seen = threading.Semaphore(0)

    def __call__(self, stop: threading.Event, _: float) -> bool:
        self._seen.release()
        return stop.wait(0.01)

    def wait_for(self, count: int) -> None:
        """Return when so many more were seen."""
        for _ in range(count):
            assert self._seen.acquire(timeout=PATIENCE_S)


def draining(
    journal: Journal, opening: Callable[[], Client], failures: Failures | None = None, metrics: Metrics | None = None
) -> Drain:
    """Start to load *journal*."""
    loading = Loading(opening, journal, "traces")
    drain = Drain(journal, loading, prepare=loading.prepare, wait=failures or Failures(), metrics=metrics)
    drain.start()
    return drain


def counted(client: Client) -> tuple[int, int]:
    """Return the spans in the store, and how many of them differ."""
    ((rows, different),) = client.query("SELECT count(), uniqExact(SpanId) FROM otel_traces").result_rows
    return int(rows), int(different)


@contextmanager
def filled(folder: Path, numbers: Sequence[int], each: int = 5) -> Iterator[Journal]:
    """Open a journal with a span of each number, so many in a segment."""
    journal = Journal(folder / "journal", JournalLimits(segment_age_s=3600.0))
    for at, number in enumerate(numbers, 1):
        append(journal, request_of(span(number)), received_ns=time.time_ns()).result(PATIENCE_S)
        if at % each == 0:
            journal.rotate()
    try:
        yield journal
    finally:
        journal.close()


# The store is away.


@pytest.mark.server
def test_a_store_that_is_down_refuses_no_request(
    tmp_path: Path, server_address: StoreAddress, server_store: Client
) -> None:
    """F42: while the database is down every request is answered 200, and all of them are there when it is back."""
    way, failures = Switch(server_address, away=True), Failures()
    with running(tmp_path) as tower:
        drain = draining(tower.journal, way.open, failures)
        answers = []
        for number in range(1, 61):
            answers.append(tower.send(request_of(span(number))).status)
            if number % 10 == 0:
                tower.journal.rotate()
        failures.wait_for(3)
        problem = drain.problem()
        way.away = False
        left = drain.stop(PATIENCE_S)

    assert answers == [200] * 60
    assert "does not answer" in str(problem)
    assert left.segments == 0
    assert counted(server_store) == (60, 60)


def fill(tower: Tower) -> tuple[list[int], set[str]]:
    """Send until the collector refuses; return what it took, and the kinds of trouble it told meanwhile."""
    taken: list[int] = []
    told: set[str] = set()
    for number in range(1, 1_000):
        answer = tower.send(request_of(span(number)))
        if answer.status != 200:
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0
            return taken, told
        taken.append(number)
        readiness = tower.get("/readyz").json
        told |= {kind for kind in ("warnings", "problems") if readiness[kind]}
    raise AssertionError("the journal was never full")


@pytest.mark.server
def test_a_full_journal_goes_on_by_itself(tmp_path: Path, server_address: StoreAddress, server_store: Client) -> None:
    """F43: full while the store is down, it says when to come back and drops nothing; later it takes requests again."""
    way, failures = Switch(server_address, away=True), Failures()
    with running(tmp_path, replace(Settings(port=0), journal_bytes=10_000, segment_bytes=500)) as tower:
        drain = draining(tower.journal, way.open, failures)
        taken, told = fill(tower)
        tower.journal.rotate()
        failures.wait_for(1)
        way.away = False
        more = request_of(span(len(taken) + 1))
        until(lambda: tower.send(more).status == 200)
        left = drain.stop(PATIENCE_S)

    assert told == {"warnings", "problems"}
    assert left.segments == 0
    assert counted(server_store) == (len(taken) + 1, len(taken) + 1)


def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds."""
    ends_at, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < ends_at
        pause.wait(0.02)


# The store is half dead.


@pytest.mark.server
@pytest.mark.parametrize("fault", ["lost", "silent", "error", "cut"])
def test_a_half_dead_store_gets_everything_once(
    tmp_path: Path,
    server_address: StoreAddress,
    server_store: Client,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F44: it stores and loses the answer, never answers, answers 500, or is cut in the insert: each span is there once.

    One thread loads, however often it is tried.
    """
    failures, numbers = Failures(), range(1, 21)
    if fault == "silent":
        monkeypatch.setitem(store_client_module.ANSWER_TIMEOUT_S, "writer", 2)
    with Wire(server_address) as wire, filled(tmp_path, numbers) as journal:
        with wire.failing(INSERT, fault):
            drain = draining(journal, lambda: connect(wire.address), failures)
            failures.wait_for(2)
            threads = [each.name for each in threading.enumerate() if each.name.startswith("drain")]
            monkeypatch.undo()
        left = drain.stop(PATIENCE_S)

    assert len(threads) == 1
    assert left.segments == 0
    assert counted(server_store) == (20, 20)


@pytest.mark.server
def test_a_full_disk_of_the_store_is_called_that(
    tmp_path: Path, server_address: StoreAddress, server_store: Client
) -> None:
    """F50: the engine's "not enough space" reaches the operator in its own words, is tried again, and loses nothing."""
    failures = Failures()
    with Wire(server_address) as wire, filled(tmp_path, range(1, 6)) as journal:
        with wire.failing(INSERT, "error"):
            drain = draining(journal, lambda: connect(wire.address), failures)
            failures.wait_for(1)
            problem = drain.problem()
        left = drain.stop(PATIENCE_S)
        stats = journal.stats()

    assert "not enough space" in str(problem)
    assert (left.segments, stats.quarantined_files) == (0, 0)
    assert counted(server_store) == (5, 5)


@pytest.mark.server
def test_a_link_that_is_cut_again_and_again(tmp_path: Path, server_address: StoreAddress, server_store: Client) -> None:
    """F51: after each cut loading goes on by itself; at the end nothing is left and nothing is doubled."""
    cuts = 12
    with Wire(server_address) as wire, filled(tmp_path, []) as journal:
        drain = draining(journal, lambda: connect(wire.address))
        for number in range(1, cuts + 1):
            append(journal, request_of(span(number)), received_ns=time.time_ns()).result(PATIENCE_S)
            journal.rotate()
            wire.cut()
        left = drain.stop(PATIENCE_S)

    assert (left.segments, drain.problem()) == (0, None)
    assert counted(server_store) == (cuts, cuts)


# What is loaded.


def test_a_record_larger_than_a_segment_is_loaded(tmp_path: Path, any_store: Client, any_address: StoreAddress) -> None:
    """F34: one body beyond the size of a segment is a segment of its own; the next ones follow it."""
    journal = Journal(tmp_path / "journal", JournalLimits(segment_age_s=3600.0, segment_bytes=2_000))
    large = request_of(span(1, name="x" * 20_000))
    for content in (request_of(span(2)), large, request_of(span(3))):
        append(journal, content, received_ns=time.time_ns()).result(PATIENCE_S)
    left = draining(journal, lambda: connect(any_address)).stop(PATIENCE_S)
    journal.close()

    assert left.segments == 0
    assert counted(any_store) == (3, 3)


def test_every_number_is_the_same_at_the_end(tmp_path: Path, any_store: Client, any_address: StoreAddress) -> None:
    """F50: issued, acknowledged, journaled, inserted and visible agree; what was sent twice is counted apart."""
    issued, twice = 40, 7
    with running(tmp_path) as tower:
        sent = [request_of(span(number)) for number in range(1, issued + 1)]
        acknowledged = [tower.send(each).status for each in [*sent, *sent[:twice]]].count(200)
        journaled = len(tower.stored_spans())
        drain = draining(tower.journal, lambda: connect(any_address), metrics=tower.metrics)
        drain.stop(PATIENCE_S)
        numbers = tower.metrics.snapshot()

    assert acknowledged == numbers["requests_accepted"] == issued + twice
    assert numbers["requests_duplicate"] == twice
    assert journaled == numbers["rows_loaded"] == issued
    assert counted(any_store) == (issued, issued)


def test_the_same_segment_makes_the_same_rows(
    tmp_path: Path, store_client: Client, embedded: Callable[[str], StoreAddress]
) -> None:
    """F48: loaded into two stores at two times, every column but the time of the load is equal, in each table."""
    spans = [otlp.span(number, {KEY: f"PO-{number % 7}"}) for number in range(1, 51)]
    content = otlp.record(otlp.request(*spans, otlp.span(51, start_time_unix_nano=0)).SerializeToString())
    (tmp_path / "segment").write_bytes(content)
    segment = Segment("one", "traces", tmp_path / "segment")
    with migrated(embedded(database_for("second"))) as other:
        loaded = [load_segment(client, segment) for client in (store_client, other)]
        first, second = rows(store_client), rows(other)

    assert loaded == [51, 51]
    assert first == second
    assert all(first.values())


def rows(client: Client) -> dict[str, str]:
    """Return what is stored, without when it was loaded."""
    texts = {
        "otel_traces": "* EXCEPT (LoadedAt)",
        "otel_traces_quarantine": "* EXCEPT (LoadedAt)",
        "span_keys": "* EXCEPT (LoadedAt)",
        "otel_traces_trace_id_ts": "*",
    }
    return {
        table: str(client.command(f"SELECT toString(arraySort(groupArray(toString(tuple({what}))))) FROM {table}"))
        for table, what in texts.items()
    }


def test_no_view_depends_on_when_it_runs(store_client: Client) -> None:
    """F48: between the inbox and the tables nothing asks for the time or for chance: defaults serve foreign writers.

    The one exception is a message without a time of receipt, which the journal never writes.
    """
    views = store_client.query(
        "SELECT name, as_select FROM system.tables "
        "WHERE database = currentDatabase() AND engine = 'MaterializedView' AND name LIKE 'ot%'"
    ).result_rows
    defaults = store_client.query(
        "SELECT DISTINCT name, default_expression FROM system.columns "
        "WHERE database = currentDatabase() AND table LIKE 'otel_%'"
    ).result_rows

    assert views
    assert [name for name, text in views if DEPENDS.search(text.replace(WITHOUT_RECEIPT, ""))] == []
    assert {name for name, text in defaults if DEPENDS.search(text)} <= {"IngestedAt", "LoadedAt"}


# What arrives more than once.


def test_the_same_bytes_from_two_clients(tmp_path: Path, any_store: Client, any_address: StoreAddress) -> None:
    """F19: three times each, interleaved from two clients: always 200, and once in the spans and in what is behind them."""
    bodies = [otlp.request(otlp.span(number, {KEY: f"PO-{number}"})).SerializeToString() for number in range(1, 11)]
    answers: list[int] = []
    with running(tmp_path) as tower:

        def send() -> None:
            for _ in range(3):
                answers.extend(tower.send(each).status for each in bodies)

        clients = [threading.Thread(target=send) for _ in range(2)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        left = draining(tower.journal, lambda: connect(any_address)).stop(PATIENCE_S)

    assert answers == [200] * 60
    assert left.segments == 0
    assert sums(any_store) == Sums.of(10, keys=10)


def test_a_client_that_hangs_up_before_its_answer(tmp_path: Path, any_store: Client, any_address: StoreAddress) -> None:
    """F22: the same body eight times on connections that are closed before the answer, then with one: it is there once."""
    content = request_of(span(1))
    with running(tmp_path) as tower:
        head = (
            f"POST /v1/traces HTTP/1.1\r\nHost: tests\r\nAuthorization: Bearer {tower.token}\r\n"
            f"Content-Type: application/x-protobuf\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        for _ in range(8):
            with socket.create_connection((tower.host, tower.port), PATIENCE_S) as connection:
                connection.sendall(head.encode() + content)
        answer = tower.send(content)
        left = draining(tower.journal, lambda: connect(any_address)).stop(PATIENCE_S)

    assert answer.status == 200
    assert left.segments == 0
    assert counted(any_store) == (1, 1)


class Sums(dict[str, int]):
    """What is counted and summed of the spans, and of the tables behind them."""

    @classmethod
    def of(cls, spans: int, *, errors: int = 0, keys: int = 0, money: int = 0) -> "Sums":
        """Return the sums of so many different spans, each of a trace of its own."""
        return cls(spans=spans, errors=errors, keys=keys, money=money, traces=spans, watermark=spans)


def sums(client: Client) -> Sums:
    """Return the sums that the store has."""
    queries = {
        "spans": "count() FROM otel_traces",
        "errors": "countIf(IsError) FROM otel_traces",
        "keys": "count() FROM span_keys FINAL",
        "money": "sum(toInt64OrZero(SpanAttributes['amount'])) FROM otel_traces",
        "traces": "uniqExact(TraceId) FROM otel_traces_trace_id_ts",
        "watermark": "sum(spans) FROM source_watermarks",
    }
    return Sums({name: int(str(client.command(f"SELECT {query}"))) for name, query in queries.items()})


def test_a_thousand_batches_replayed_into_a_forgetful_store(
    tmp_path: Path, any_store: Client, any_address: StoreAddress
) -> None:
    """F24, F17: after a restart with an empty memory of tokens, replaying changes no count and no sum, also in rollups."""
    restart(any_store)
    journal = open_journal(tmp_path / "journal", JournalLimits(segment_age_s=3600.0, keep_s=900.0))
    for number in range(1, 1_001):
        made = otlp.span(number, {KEY: f"PO-{number}", "amount": "3"}, status={"code": number % 2 + 1})
        append(journal, otlp.request(made).SerializeToString(), received_ns=otlp.NOON_NS)
        if number % 250 == 0:
            journal.rotate()
    segments = journal.closed_segments()
    first = new_loading(journal, any_address)
    loaded = sum(first(segment) for segment in segments)
    before = sums(any_store)
    restart(any_store)
    forget_tokens(any_store)
    after = new_loading(journal, any_address)
    again = sum(after(segment) for segment in segments)
    journal.close()

    assert loaded == again == 1_000
    assert before == Sums.of(1_000, errors=500, keys=1_000, money=3_000)
    assert sums(any_store) == before
