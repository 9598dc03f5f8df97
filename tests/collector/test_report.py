"""What the collector says about itself in the store: sums are what happened, and the last word is how things stand."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from controltower.collector.gauges import of_journals
from controltower.collector.metrics import Metrics, Sample
from controltower.collector.report import Reporter
from controltower.store.client import Client
from controltower.store.errors import LimitError
from controltower.store.read import CollectorState, RefusalCount, collectors, refusals
from controltower.tracer.journal import Journal
from tests.conftest import ManualClock
from tests.store.otlp import Loading, request, span

# The store keeps them for 14 days, so the times are of today.
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def test_counters_add_up_over_restarts(any_store: Client, clock: ManualClock) -> None:
    """What two runs of a collector refused is their sum, however often each of them said so."""
    for _ in range(2):
        metrics = Metrics()
        reporter = Reporter(metrics, "tower:4318", clock.now)
        for _ in range(3):
            metrics.add("requests_refused", 5, signal="traces", transport="http", reason="rate")
            metrics.add("requests_refused", 1, signal="logs", transport="grpc", reason="rate")
            reporter.report(any_store)
            clock.advance(timedelta(seconds=10))

    told = refusals(any_store, NOW, clock.now())
    assert told == (
        RefusalCount("rate", "traces", 30, clock.now() - timedelta(seconds=10)),
        RefusalCount("rate", "logs", 6, clock.now() - timedelta(seconds=10)),
    )
    assert refusals(any_store, clock.now(), clock.now() + timedelta(hours=1)) == ()


def test_what_could_not_be_told_is_told_later(any_store: Client, clock: ManualClock) -> None:
    """A store that is away costs no count."""
    metrics = Metrics()
    reporter = Reporter(metrics, "tower:4318", clock.now)
    metrics.add("requests_refused", 5, signal="traces", reason="slow")
    any_store.command("RENAME TABLE collector_samples TO away")
    with pytest.raises(Exception, match="collector_samples"):
        reporter.report(any_store)
    any_store.command("RENAME TABLE away TO collector_samples")
    metrics.add("requests_refused", 2, signal="traces", reason="slow")
    reporter.report(any_store)

    assert [one.requests for one in refusals(any_store, NOW, NOW + timedelta(minutes=1))] == [7]


def test_the_last_word_counts(any_store: Client, clock: ManualClock) -> None:
    """Of each collector and signal the last report within an hour is how it stands; who was silent for longer is gone."""
    lag = [300.0]
    metrics = Metrics()
    metrics.watch(lambda: [Sample("lag_seconds", {"signal": "traces"}, lag[0])])
    metrics.watch(lambda: [Sample("journal_left_bytes", {"signal": "traces"}, 2.0**40)])
    metrics.watch(lambda: [Sample("in_flight_bytes", {}, 17)])
    reporter = Reporter(metrics, "tower:4318", clock.now)
    reporter.report(any_store)
    clock.advance(timedelta(seconds=10))
    lag[0] = 2.5
    reporter.report(any_store)
    (traces,) = [state for state in collectors(any_store, clock.now()) if state.signal == "traces"]

    assert traces == CollectorState("tower:4318", "traces", clock.now(), 2.5, 0, 0, 2**40, 0, 0, 0, failing=False)
    assert collectors(any_store, clock.now() + timedelta(hours=2)) == ()


def test_the_store_s_quarantine_is_counted(any_store: Client, clock: ManualClock, tmp_path: Path) -> None:
    """Rows that wait in the store are told with the journal's own numbers, and are in /metrics from then on."""
    Loading(any_store, tmp_path, count(1)).load(request(span(1), span(2, start_time_unix_nano=0)))
    metrics = Metrics()
    with closing(Journal(tmp_path / "journal")) as journal:
        metrics.watch(of_journals({"traces": journal}))
        Reporter(metrics, "tower:4318", clock.now).report(any_store)
        gauges = metrics.gauges()
    (traces,) = [state for state in collectors(any_store, clock.now()) if state.signal == "traces"]

    assert traces.quarantined_rows == 1
    assert traces.free_bytes > 0
    assert Sample("quarantine_rows", {"signal": "traces"}, 1) in gauges


def test_a_range_beyond_what_is_kept_is_refused(any_store: Client) -> None:
    """The error names the limit."""
    with pytest.raises(LimitError, match="15 days"):
        refusals(any_store, NOW - timedelta(days=30), NOW)
