"""From the journal to a loading function: order, trouble, refusals and stopping."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controltower.collector.drain import LONGEST_PAUSE_S, Drain
from controltower.collector.metrics import Metrics
from controltower.store.errors import LoadError, StoreUnavailableError
from controltower.tracer.journal import Journal, SegmentFile
from tests.tracer.journals import NOW, PATIENCE_S, append, bodies, body, name_of, open_journal, store


class Store:
    """A place to load into, that can be told to fail."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.attempts = 0
        self.trouble: list[Exception] = []
        self.refuses: set[str] = set()
        self.changed = threading.Condition()

    def load(self, segment: SegmentFile) -> int:
        names = [name_of(content) for content in bodies(segment.path)]
        with self.changed:
            self.attempts += 1
            self.changed.notify_all()
            if self.trouble:
                raise self.trouble.pop(0)
            if self.refuses & set(names):
                raise LoadError("Code 33: cannot read all data", permanent=True)
            self.loaded += names
        return len(names)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S)


class Pauses:
    """Waiting that takes no time and is remembered."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, stop: threading.Event, seconds: float) -> bool:
        self.seconds.append(seconds)
        return stop.is_set()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = open_journal(tmp_path / "journal")
    yield opened
    opened.close()


@contextmanager
def draining(
    journal: Journal, store_: Store, pauses: Pauses | None = None, metrics: Metrics | None = None
) -> Iterator[Drain]:
    drain = Drain(journal, store_.load, wait=pauses or Pauses(), metrics=metrics, clock=lambda: NOW + 2 * 10**9)
    drain.start()
    yield drain
    drain.stop(PATIENCE_S)


def test_segments_are_loaded_in_order_and_removed(journal: Journal) -> None:
    """What is loaded is gone from the journal, the oldest first."""
    target, metrics = Store(), Metrics()
    for name in ("a", "b", "c"):
        store(journal, body(name))
        journal.rotate()
    with draining(journal, target, metrics=metrics):
        pass

    assert target.loaded == ["a", "b", "c"]
    assert journal.stats().segments == 0
    assert list(journal.folder.glob("*.otlp")) == []
    assert metrics.snapshot()["segments_loaded"] == metrics.snapshot()["rows_loaded"] == 3


def test_stopping_loads_what_is_left(journal: Journal) -> None:
    """The open segment is closed and loaded, too; a second stop does nothing."""
    target = Store()
    with draining(journal, target) as drain:
        store(journal, body("a"))
        assert drain.stop(PATIENCE_S).segments == 0

    assert target.loaded == ["a"]


def test_trouble_is_tried_again_for_ever_with_growing_pauses(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost while the store is away; pauses have a cap, and the log is not flooded."""
    target, pauses, metrics = Store(), Pauses(), Metrics()
    target.trouble = [StoreUnavailableError("Connection refused.")] * 20 + [RuntimeError("surprise"), OSError(5, "EIO")]
    store(journal, body("a"))
    with draining(journal, target, pauses, metrics):
        journal.rotate()
        target.wait_for(lambda: target.loaded == ["a"])

    assert pauses.seconds == sorted(pauses.seconds)
    assert pauses.seconds[0] == 0.1
    assert max(pauses.seconds) == LONGEST_PAUSE_S
    assert metrics.snapshot()["load_failures"] == 22
    assert len([record for record in caplog.records if record.name.endswith("drain")]) == 1


def test_the_state_tells_lag_and_problem(journal: Journal) -> None:
    """While it fails, the reason and the age of the oldest body can be read; both end with success."""
    target = Store()
    target.trouble = [StoreUnavailableError("Connection refused.")] * 3
    seen: list[tuple[float, str | None, int]] = []

    def pause(stop: threading.Event, seconds: float) -> bool:
        state = drain.state()
        seen.append((state.lag_s, state.problem, state.failures))
        return False

    drain = Drain(journal, target.load, wait=pause, clock=lambda: NOW + 2 * 10**9)
    store(journal, body("a"))
    drain.start()
    state = drain.stop(PATIENCE_S)

    assert seen == [(2.0, "Connection refused.", number) for number in (1, 2, 3)]
    assert (state.lag_s, state.problem, drain.problem()) == (0.0, None, None)


def test_a_refused_body_is_found_and_the_rest_is_loaded(journal: Journal) -> None:
    """F45: of a segment that the store refuses, exactly the bad bodies end in quarantine, with the store's words."""
    target, metrics = Store(), Metrics()
    target.refuses = {"b3", "b7"}
    store(journal, *[body(f"b{number}") for number in range(10)])
    with draining(journal, target, metrics=metrics):
        pass

    assert sorted(target.loaded) == [f"b{number}" for number in range(10) if number not in {3, 7}]
    assert metrics.snapshot()["segments_refused"] == 2
    kept = sorted((journal.folder / "quarantine").glob("*.refused"))
    assert [name_of(content) for path in kept for content in bodies(path)] == ["b3", "b7"]
    assert "cannot read all data" in kept[0].with_name(kept[0].name + ".reason.json").read_text()


def test_a_refused_body_sent_again_is_acknowledged(journal: Journal) -> None:
    """It is kept already: sending it again does not fill the quarantine."""
    target = Store()
    target.refuses = {"bad"}
    with draining(journal, target):
        store(journal, body("bad"), body("good"))

    assert append(journal, body("bad")).result(PATIENCE_S).duplicate


def test_damaged_bytes_are_not_loaded(journal: Journal) -> None:
    """A segment is read against its checksums before the store sees it."""
    target = Store()
    store(journal, body("a"), body("b"), body("c"))
    journal.rotate()
    (segment,) = journal.closed_segments()
    data = bytearray(segment.path.read_bytes())
    data[segment.bytes // 2] ^= 0xFF
    segment.path.write_bytes(data)
    with draining(journal, target):
        pass

    assert target.loaded == ["a", "c"]
    assert journal.stats().quarantined_files == 1


def test_stopping_has_a_deadline_and_says_what_is_left(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """A store that is away does not hold up the end; the data waits for the next start."""
    target = Store()
    target.trouble = [StoreUnavailableError("Connection refused.")] * 10**6
    drain = Drain(journal, target.load)
    store(journal, body("a"))
    drain.start()
    journal.rotate()
    target.wait_for(lambda: target.attempts > 0)
    state = drain.stop(0.05)

    assert state.segments == 1
    assert "stay in the journal for the next start" in caplog.text
    assert [name_of(content) for content in bodies(journal.closed_segments()[0].path)] == ["a"]


def test_two_workers_load_at_the_same_time(journal: Journal) -> None:
    """Each worker has a segment of its own, so two loads can wait for each other; every segment is loaded once."""
    meeting = threading.Barrier(2, timeout=PATIENCE_S)
    loaded: list[str] = []

    def load(segment: SegmentFile) -> int:
        meeting.wait()
        loaded.extend(name_of(content) for content in bodies(segment.path))
        return 1

    for name in ("a", "b", "c", "d"):
        store(journal, body(name))
        journal.rotate()
    drain = Drain(journal, load, workers=2)
    drain.start()
    state = drain.stop(PATIENCE_S)

    assert sorted(loaded) == ["a", "b", "c", "d"]
    assert (state.segments, state.failures) == (0, 0)
