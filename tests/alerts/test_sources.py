"""Sources of scrapers that are not well: on-call is told once, in time, and when they are well again."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.alerts.evaluate import Condition, evaluate
from controltower.store.flows.scraped import TOLD_AFTER, ScrapedSources, changes
from controltower.store.rows import ExceptionRow, Key
from controltower.store.source_rows import NOT_WELL, Standing
from tests.alerts.conftest import Bench
from tests.alerts.receiver import Receiver
from tests.scraped import say

EDI = Key("source", "edi-1", "edi")
START = datetime(2026, 11, 3, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Call:
    """A store in which sources speak, and who is on call."""

    def __init__(self, bench: Bench, receiver: Receiver) -> None:
        self.bench = bench
        self.receiver = receiver
        bench.clock.set(datetime.now(UTC).replace(microsecond=0))  # what is said is forgotten after a month
        self.restart()

    def restart(self) -> None:
        """Let the engine and the worker begin anew."""
        client, clock = self.bench.client, self.bench.clock
        self.sources = ScrapedSources(client, clock.now, count(0.0, 60.0).__next__)
        self.worker = self.bench.worker()

    def passes(self, minutes: int, failing: int | None = None, running: int = 1) -> None:
        """Let time pass in which the source says how it is, or nothing."""
        for _ in range(minutes):
            self.bench.clock.advance(MINUTE)
            if failing is not None:
                now = self.bench.clock.now()
                worked: dict[str, int | datetime] = {"failing": failing, "running": running, "last_success": now}
                say(self.bench.client, "edi", now, worked, words={"failing": {"reason": "/in/SMITH.edi"}})
            self.sources.look()
            self.worker.run_once()

    def told(self) -> list[tuple[str, str, str]]:
        """Return event, reason and severity of each notification."""
        bodies = [json.loads(request.body) for request in self.receiver.received]
        return [(body["type"].rpartition(".")[2], body["data"]["reason"], body["data"]["severity"]) for body in bodies]


@pytest.fixture
def call(bench: Bench, receiver: Receiver) -> Call:
    """One who is on call, over each kind of store."""
    return Call(bench, receiver)


def test_a_silent_source_is_told_once_and_when_it_is_heard_again(call: Call) -> None:
    """Not at once, once, and again when it speaks; the notification says which source, and leads to its page."""
    call.passes(2, failing=0)
    call.passes(5)
    assert call.told() == []

    call.passes(10)
    assert call.told() == [("firing", "silent", "page")]
    call.restart()
    call.passes(10)
    call.passes(3, failing=0)
    assert call.told() == [("firing", "silent", "page"), ("resolved", "silent", "page")]
    data = json.loads(call.receiver.received[0].body)["data"]
    assert data["anchor"] == {"type": "source", "scope": "edi-1", "value": "edi"}
    assert data["url"] == "http://tower.example:8501/sources"
    assert data["summary"].startswith("Source edi on edi-1 is silent")


def test_a_failing_source_is_told_without_why(call: Call) -> None:
    """The reason may hold names of files; one that is stopped by somebody is told of no more."""
    call.passes(8, failing=1)
    assert call.told() == [("firing", "failing", "page")]
    assert b"SMITH" not in call.receiver.received[0].body

    call.passes(1, failing=0, running=0)
    call.passes(20)
    assert call.told() == [("firing", "failing", "page"), ("resolved", "failing", "page")]


def test_a_source_that_was_away_for_a_moment_is_not_told(call: Call) -> None:
    """A restart of the scraper, or of what it reads, is no reason to wake anybody."""
    for _ in range(3):
        call.passes(4)
        call.passes(1, failing=0)

    assert call.told() == []


standings = st.lists(st.sampled_from(Standing), min_size=1, max_size=40)


@given(standings)
def test_any_course_of_a_source(course: list[Standing]) -> None:
    """It is told of exactly while it is not well without a break for the time it takes; each row follows from the one before."""
    known: dict[Key, ExceptionRow] = {}
    since: dict[Key, datetime] = {}
    bad_for = 0
    for minute, standing in enumerate(course):
        now = START + minute * MINUTE
        bad_for = bad_for + 1 if standing in NOT_WELL else 0
        since = {EDI: since.get(EDI, now)} if bad_for else {}
        written = changes({EDI: standing}, since, known, now)
        for row in written:
            assert EDI not in known or row.version > known[EDI].version
        known |= {row.anchor: row for row in written}

        is_told = EDI in known and evaluate(known[EDI]) is Condition.FIRING
        assert is_told == (bad_for > TOLD_AFTER // MINUTE)
        assert not is_told or known[EDI].reason == standing.value
        assert changes({EDI: standing}, since, known, now) == []
