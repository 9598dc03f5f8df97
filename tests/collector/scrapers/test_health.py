"""What a source says of itself is in the store: one row of the last that is known, whatever became of its scraper."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.scrapers.health import metrics_request
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.worker import Worker
from controltower.store.client import Client
from controltower.store.read import SourceState, Standing, queues, sources
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.test_worker import worker_of
from tests.scraped import source_state
from tests.store.otlp import Loading, record

OK: Answer = (200, {}, b"")
AT = datetime.now(UTC).replace(microsecond=0)  # what was said is kept for 30 days
SECOND_NS = 10**9


@pytest.fixture
def loading(store_client: Client, tmp_path: Path) -> Loading:
    """A store of the test, and a folder for segments."""
    return Loading(store_client, tmp_path, count(1))


def nanoseconds(at: datetime) -> int:
    return int(at.timestamp()) * SECOND_NS


def tell(loading: Loading, worker: Worker, at: datetime = AT, *, running: bool = True) -> SourceState:
    """Load what the source says at a time, and return what is known of it then."""
    body = metrics_request([worker], nanoseconds(AT - timedelta(hours=1)), nanoseconds(at), host="h-1", running=running)
    loading.put("metrics", record(body, nanoseconds(at)))
    (state,) = sources(loading.client)
    return state


def test_what_was_rejected_is_known_by_reason_and_file(loading: Loading, tmp_path: Path) -> None:
    """Counts, the latest times, the last reject with its reason, and where all of them are."""
    (tmp_path / "app.log").write_text("order A-1 10.00\norder A-2 ten\nnoise\n")
    with answering(lambda *_: OK) as server:
        worker = worker_of(tmp_path, server.url)
        worker.run_once()
    state = tell(loading, worker)

    assert (state.source, state.host, state.kind, state.began_at) == ("app", "h-1", "log", AT - timedelta(hours=1))
    assert (state.records, state.steps, state.unmatched, state.rejected, state.refused) == (3, 1, 1, 1, 0)
    assert state.reject_reason == "bad_amount"
    assert Path(state.reject_file).read_text().count("bad_amount") == 1
    assert None not in (state.worked_at, state.read_at, state.rejected_at)
    assert state.problems == 0


def test_a_failure_is_told_with_its_reason(loading: Loading, tmp_path: Path) -> None:
    """In words; those of a source of patients' data may quote it, and only its kind leaves the machine."""
    with answering(lambda *_: OK) as server:
        worker, private = worker_of(tmp_path, server.url), worker_of(tmp_path, server.url, name="phi")
    for each in (worker, private):
        each.health = replace(each.health, failing="ValueError: patient Smith cannot be read")

    assert tell(loading, worker).why(AT) == "ValueError: patient Smith cannot be read"
    assert tell(loading, private, AT + timedelta(seconds=9)).why(AT) == "ValueError"


def test_the_last_that_was_said_stays(loading: Loading, tmp_path: Path) -> None:
    """One that says nothing any more is silent, one that was stopped says so; a segment loaded again changes nothing."""
    worker = worker_of(tmp_path, "http://127.0.0.1:9")
    first = tell(loading, worker)
    later = tell(loading, worker, AT + timedelta(seconds=10))
    again = tell(loading, worker)
    stopped = tell(loading, worker, AT + timedelta(seconds=20), running=False)

    assert [each.reported_at for each in (first, later, again)] == [AT, *[AT + timedelta(seconds=10)] * 2]
    assert later.standing(AT + timedelta(seconds=69)) is not Standing.SILENT
    assert later.standing(AT + timedelta(seconds=70)) is Standing.SILENT
    assert later.lag(AT + timedelta(seconds=70)) == timedelta(hours=1, seconds=70)
    assert stopped.standing(AT + timedelta(days=3)) is Standing.STOPPED


def test_senders_that_are_no_scrapers_are_no_sources(loading: Loading, store_client: Client) -> None:
    """Metrics of the same names by other services are metrics only."""
    store_client.command(
        "INSERT INTO otel_metrics_gauge (ServiceName, MetricName, Attributes, TimeUnix, Value) "
        "VALUES ('other', 'controltower.scrape.running', map('source', 'x'), now64(9), 1)"
    )

    assert sources(loading.client) == ()


def test_how_full_queues_are(loading: Loading, tmp_path: Path) -> None:
    """By queue and group, the deepest first; what a broker does not tell is nothing, and what was told long ago is left out."""
    worker = worker_of(tmp_path, "http://127.0.0.1:9")
    levels = (
        Level("depth", 3, "a"),
        Level("depth", 7, "b"),
        Level("lag", 5, "b", "edi"),
        Level("consumers", 0, "b", "edi"),
    )
    worker.health = replace(worker.health, levels=levels)
    tell(loading, worker)
    found = queues(loading.client, AT + timedelta(minutes=1))

    assert [(each.queue, each.readers, each.depth, each.lag, each.consumers) for each in found] == [
        ("b", "", 7, None, None),
        ("b", "edi", None, 5, 0),
        ("a", "", 3, None, None),
    ]
    assert queues(loading.client, AT + timedelta(hours=2)) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Standing.WORKS),
        ({"failing": True, "problems": 1}, Standing.FAILING),
        ({"problems": 1, "lag_s": 900}, Standing.PROBLEMS),
        ({"lag_s": 300}, Standing.BEHIND),
        ({"running": False, "failing": True}, Standing.STOPPED),
    ],
)
def test_the_worst_counts(changes: dict[str, Any], expected: Standing) -> None:
    """Of all that is wrong with a source the worst is its state."""
    assert replace(source_state(AT), **changes).standing(AT) is expected
