"""A store with many parts is loaded more slowly, and with more at once."""

import threading
import time
from pathlib import Path

import pytest

from controltower.collector.drain import Drain
from controltower.collector.loading import Loading
from controltower.collector.metrics import Metrics
from controltower.collector.pace import (
    LARGE_BYTES,
    LONGEST_PAUSE_S,
    LONGEST_REST_S,
    LOOK_EVERY_S,
    SHORTEST_PAUSE_S,
    Pace,
)
from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.parts import Parts, parts_of
from controltower.tracer.journal import Journal, JournalLimits
from tests.collector.requests import request_of, span
from tests.tracer.journals import PATIENCE_S, PATIENT, Steps, append, body, open_journal, store

REQUESTS = 300


def pace_at(most: int, delayed_at: int = 1_000) -> Pace:
    """Return the pace of a store with so many parts."""
    return Pace(lambda: Parts(most, delayed_at), Steps())


@pytest.mark.parametrize(
    ("most", "loaded_bytes", "pause_s"),
    [
        (0, 100, 0.0),
        (99, 100, 0.0),
        (100, 100, SHORTEST_PAUSE_S),
        (500, 100, LONGEST_PAUSE_S / 2),
        (999, LARGE_BYTES, 0.0),
        (1_000, LARGE_BYTES, LONGEST_PAUSE_S),
        (3_000, 100, LONGEST_PAUSE_S),
    ],
)
def test_the_pause_grows_with_the_parts(most: int, loaded_bytes: int, pause_s: float) -> None:
    """F49: from a tenth of the engine's limit on small loads wait, at the limit large ones, too; never longer than the cap."""
    assert pace_at(most).pause_s(loaded_bytes) == pause_s


def test_an_engine_of_other_limits_is_waited_for_at_its_own() -> None:
    """F49: the bound follows what the engine says it bears."""
    assert pace_at(100, 3_000).pause_s(1) == 0
    assert pace_at(30, 300).pause_s(1) == SHORTEST_PAUSE_S


def test_the_store_is_asked_once_in_a_while() -> None:
    """However many segments are loaded, the look costs one query in a second."""
    clock, asked = Steps(), []

    def look() -> Parts:
        asked.append(clock.now_s)
        return Parts(200, 1_000)

    pace = Pace(look, clock)
    for _ in range(30):
        pace.pause_s(1)
        clock.now_s += LOOK_EVERY_S / 10

    assert len(asked) == 3
    assert pace.most() == 200


def test_a_crowded_store_is_told() -> None:
    """F49: an operator reads the numbers and what to do; a calm store is not mentioned."""
    crowded, calm = pace_at(400), pace_at(20)
    before = crowded.warning()
    crowded.pause_s(1)
    calm.pause_s(1)

    assert before is None
    assert calm.warning() is None
    assert str(crowded.warning()).startswith(
        "A partition of the store has 400 parts; the engine slows inserts down at 1000."
    )


def test_what_arrives_in_a_pause_is_loaded_at_once(tmp_path: Path) -> None:
    """F49: while loading waits, the open segment grows; the pause is counted."""
    clock, metrics, loads = Steps(), Metrics(), list[int]()
    journal = open_journal(tmp_path, JournalLimits(segment_age_s=0.3), monotonic=clock)
    waits, paused = 0, threading.Event()

    def wait(_: threading.Event, seconds: float) -> bool:
        nonlocal waits
        waits += 1
        if waits == 1:
            store(journal, *[body(f"b{number}") for number in range(50)])
            clock.now_s += seconds
            paused.set()
        return False

    def load(segment: object) -> int:
        loads.append(1)
        return 1

    drain = Drain(journal, load, pace=pace_at(200), wait=wait, metrics=metrics)
    store(journal, body("first"))
    journal.rotate()
    drain.start()
    assert paused.wait(PATIENCE_S)
    left = drain.stop(PATIENCE_S)
    journal.close()

    assert left.segments == 0
    assert len(loads) <= 3
    assert metrics.snapshot()["load_pauses"] == waits > 0


@pytest.mark.parametrize(
    ("loaded_bytes", "took_s", "rest_s"),
    [
        (100, 0.15, 0.3),
        (100, 30.0, LONGEST_REST_S),
        (LARGE_BYTES, 0.15, 0.0),
    ],
)
def test_a_small_load_is_followed_by_a_rest(loaded_bytes: int, took_s: float, rest_s: float) -> None:
    """The engine has twice as long to rest as a small load took it, up to a cap; after a large one the next is begun at once."""
    assert pace_at(0).rest_s(loaded_bytes, took_s) == rest_s


@pytest.mark.parametrize(
    ("next_bytes", "waiting", "rests"),
    [(10, 0, [0.5]), (10, 1, []), (LARGE_BYTES, 0, [])],
    ids=["small", "more", "large"],
)
def test_a_small_segment_waits_for_the_rest_to_end(
    tmp_path: Path, next_bytes: int, waiting: int, rests: list[float]
) -> None:
    """What comes one by one is gathered meanwhile, and counts as no pause; a large segment, or a backlog, is loaded at once."""
    clock, metrics, waited = Steps(), Metrics(), list[float]()
    journal = open_journal(tmp_path, PATIENT)

    def load(_: object) -> int:
        clock.now_s += 10.0
        return 1

    def wait(_: threading.Event, seconds: float) -> bool:
        waited.append(seconds)
        return False

    drain = Drain(journal, load, pace=pace_at(0), wait=wait, metrics=metrics, monotonic=clock)
    store(journal, body("first"))
    journal.rotate()
    drain._move_on(journal.closed_segments()[0])
    store(journal, body("next" * next_bytes))
    journal.rotate()
    for number in range(waiting):
        store(journal, body(f"b{number}"))
        journal.rotate()
    taken = drain._take()
    journal.close()

    assert taken is not None
    assert waited == rests
    assert metrics.snapshot()["load_pauses"] == 0


def test_no_pause_holds_up_the_end(tmp_path: Path) -> None:
    """A stop that is asked for ends a pause: what is left is loaded without waiting."""
    journal = open_journal(tmp_path, PATIENT)
    paused = threading.Event()

    def wait(event: threading.Event, _: float) -> bool:
        paused.set()
        return event.wait(PATIENCE_S)

    drain = Drain(journal, lambda _: 1, pace=pace_at(1_000), wait=wait)
    store(journal, body("a"))
    journal.rotate()
    drain.start()
    assert paused.wait(PATIENCE_S)
    store(journal, body("b"))
    left = drain.stop(PATIENCE_S)
    journal.close()

    assert left.segments == 0


def test_a_look_that_fails_holds_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Parts that cannot be seen are said and counted as trouble; loading goes on."""
    journal, metrics = open_journal(tmp_path, PATIENT), Metrics()

    def look() -> Parts:
        raise ConnectionError("The connection was lost.")

    store(journal, body("a"))
    journal.rotate()
    drain = Drain(journal, lambda _: 1, pace=Pace(look), metrics=metrics)
    drain._keep_pace(journal.closed_segments()[0])
    drain.start()
    left = drain.stop(PATIENCE_S)
    journal.close()

    assert left.segments == 0
    assert metrics.snapshot()["load_failures"] in (1, 2)
    assert "how crowded the store is cannot be seen" in caplog.text


def test_parts_are_those_of_the_fullest_partition(any_store: Client) -> None:
    """What the engine says of its active parts, and its own limit."""
    any_store.command("SYSTEM STOP MERGES otel_traces")
    try:
        for number in range(12):
            any_store.command(
                "INSERT INTO otel_traces (Timestamp, SpanName) VALUES ('2026-01-01 12:00:00', {name:String})",
                parameters={"name": f"span {number}"},
            )
        found = parts_of(any_store)
    finally:
        any_store.command("SYSTEM START MERGES otel_traces")

    assert found.most >= 12
    assert found.delayed_at >= 100


def test_many_tiny_requests_are_few_inserts(tmp_path: Path, any_store: Client, any_address: StoreAddress) -> None:
    """F49: hundreds of requests of one span make few segments, and few parts in the fullest partition."""
    metrics = Metrics()
    journal = Journal(tmp_path / "journal")
    loading = Loading(lambda: connect(any_address), journal, "traces")
    drain = Drain(journal, loading, pace=Pace(loading.parts), metrics=metrics)
    drain.start()
    written = [
        append(journal, request_of(span(number)), received_ns=time.time_ns()) for number in range(1, REQUESTS + 1)
    ]
    for future in written:
        future.result(PATIENCE_S)
    left = drain.stop(PATIENCE_S)
    journal.close()

    inserts = metrics.snapshot()["segments_loaded"]
    assert left.segments == 0
    assert int(str(any_store.command("SELECT uniqExact(SpanId) FROM otel_traces"))) == REQUESTS
    assert isinstance(inserts, int)
    assert inserts <= REQUESTS // 10
    assert parts_of(any_store).most <= REQUESTS // 10
