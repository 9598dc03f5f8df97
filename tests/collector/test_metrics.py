"""The collector's own numbers: declared once, documented, right after a restart, and bounded."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from controltower.collector.exposition import exposition, full_name
from controltower.collector.metrics import BUCKETS, DECLARED, METRICS, OVERFLOW, Metrics, Sample
from controltower.collector.settings import Settings
from tests.collector.requests import Tower, request_of, running, span

Scraped = dict[str, dict[frozenset[tuple[str, str]], float]]


def scraped(text: bytes) -> Scraped:
    """Return the values of an exposition by name and labels, read by the parser of Prometheus' own client."""
    found: Scraped = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labels(**named: str) -> frozenset[tuple[str, str]]:
    return frozenset(named.items())


def test_every_name_is_declared_once() -> None:
    """Each metric has a kind, a meaning and what to do; names of histograms and gauges of time and size have a unit."""
    assert tuple(DECLARED) == METRICS
    assert all(each.meaning and each.when_it_rises for each in DECLARED.values())
    assert all(name.endswith("_seconds") for name, each in DECLARED.items() if each.kind == "histogram")


def test_the_exposition_holds_what_happened(tower: Tower) -> None:
    """Requests by signal, transport and outcome, items, bytes and durations can be scraped over the socket."""
    body = request_of(span(1), span(2), span(3, trace_id=b""))
    tower.send(body)
    tower.send(b"garbage")
    found = scraped(tower.get("/metrics").body)

    prefix = "controltower_collector_"
    traces = {"signal": "traces"}
    over_http = {**traces, "transport": "http"}
    assert found[f"{prefix}requests_accepted_total"] == {labels(**over_http): 1}
    assert found[f"{prefix}requests_refused_total"] == {labels(**over_http, reason="malformed"): 1}
    assert found[f"{prefix}items_accepted_total"] == {labels(**traces, sender="tests"): 2}
    assert found[f"{prefix}items_rejected_total"] == {labels(**traces, sender="tests"): 1}
    assert found[f"{prefix}body_bytes_total"] == {labels(**over_http): len(body) + len(b"garbage")}
    assert found[f"{prefix}request_duration_seconds_count"] == {labels(**over_http): 1}
    assert found[f"{prefix}journal_segments"][labels(**traces)] == 1
    assert found[f"{prefix}in_flight_bytes"] == {labels(): 0}


def test_what_was_sent_again_counts_once(tower: Tower) -> None:
    """Items of a request that was stored before are duplicates, not accepted ones."""
    body = request_of(span(1), span(2))
    tower.send(body)
    tower.send(body)
    found = {(sample.metric, sample.labels["signal"]): sample.value for sample in tower.metrics.counters()}

    assert found["items_accepted", "traces"] == found["items_duplicate", "traces"] == 2
    assert (found["requests_accepted", "traces"], found["requests_duplicate", "traces"]) == (2, 1)


def test_gauges_are_right_after_a_restart(tmp_path: Path) -> None:
    """Backlog and age are those of the journal, and the age keeps moving, before anything new arrives."""
    now = [1_760_000_000_000_000_000]
    with running(tmp_path, clock=lambda: now[0]) as tower:
        tower.send(request_of(span(1)))
        before = {sample.metric: sample.value for sample in traces_of(tower)}
    now[0] += 600 * 10**9
    with running(tmp_path, clock=lambda: now[0]) as tower:
        after = {sample.metric: sample.value for sample in traces_of(tower)}
        now[0] += 10**9
        later = {sample.metric: sample.value for sample in traces_of(tower)}

    assert before["journal_bytes"] > 0
    assert after["journal_bytes"] == before["journal_bytes"]
    assert (after["lag_seconds"], later["lag_seconds"]) == (600.0, 601.0)
    assert after["volume_free_bytes"] > 0


def test_a_full_journal_shows(tmp_path: Path) -> None:
    """What is left falls to nothing, and the refusals say why."""
    with running(tmp_path, replace(Settings(port=0), journal_bytes=1_000, segment_bytes=500)) as tower:
        for number in range(1, 20):
            tower.send(request_of(span(number)))
        found = {sample.metric: sample.value for sample in traces_of(tower)}
        refused = tower.metrics.snapshot()["refusals"]

    assert found["journal_left_bytes"] < 500
    assert isinstance(refused, dict)
    assert refused["journal_full"] > 0


def traces_of(tower: Tower) -> list[Sample]:
    return [sample for sample in tower.metrics.gauges() if sample.labels.get("signal") == "traces"]


def test_the_number_of_series_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A million of distinct labels share one series beyond the limit, nothing is lost, and it is logged once a minute."""
    now = [0.0]
    metrics = Metrics(most_series=3, monotonic=lambda: now[0])
    for number in range(100):
        metrics.add("items_accepted", signal="traces", sender=f"sender-{number}")
    now[0] = 61.0
    metrics.add("items_accepted", signal="traces", sender="one-more")
    found = {
        sample.labels["sender"]: sample.value for sample in metrics.counters() if sample.metric == "items_accepted"
    }

    assert found == {"sender-0": 1, "sender-1": 1, "sender-2": 1, OVERFLOW: 98}
    assert metrics.snapshot()["series_overflowed"] == 98
    assert len(caplog.records) == 2


def test_a_label_that_is_not_declared_is_a_mistake() -> None:
    """A misspelt label does not make a series of its own."""
    with pytest.raises(ValueError, match="sinal"):
        Metrics().add("rows_loaded", sinal="traces")


def test_given_labels_count_where_they_are_declared() -> None:
    """What a part is given once need not be said at each count."""
    metrics = Metrics()
    part = metrics.of(signal="logs", transport="grpc")
    part.add("requests_accepted")
    part.add("rows_loaded", 5)
    part.refused("slow")

    assert sorted((sample.metric, tuple(sample.labels.values()), sample.value) for sample in metrics.counters()) == [
        ("requests_accepted", ("logs", "grpc"), 1),
        ("requests_refused", ("logs", "grpc", "slow"), 1),
        ("rows_loaded", ("logs",), 5),
    ]


@given(st.lists(st.floats(0.0, 20.0), max_size=50))
def test_a_histogram_counts_every_value_in_its_bucket(values: list[float]) -> None:
    """Each bucket of the exposition holds what is not above its bound, the last one everything."""
    metrics = Metrics()
    for value in values:
        metrics.observe("load_duration_seconds", value, signal="traces")
    buckets = scraped(exposition(metrics)).get("controltower_collector_load_duration_seconds_bucket", {})

    for bound in BUCKETS if values else ():
        assert buckets[labels(signal="traces", le=repr(bound))] == sum(value <= bound for value in values)
    assert not values or buckets[labels(signal="traces", le="+Inf")] == len(values)


def test_two_collectors_in_one_process_count_apart() -> None:
    """Nothing is kept in the process' own registry."""
    one, other = Metrics(), Metrics()
    one.add("rows_loaded", 7, signal="traces")

    assert b"7.0" in exposition(one)
    assert b"7.0" not in exposition(other)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_in_the_exposition(name: str) -> None:
    """A metric that was not counted yet is told with its meaning all the same."""
    text = exposition(Metrics()).decode()
    declared = next(metric for metric in METRICS if metric == name)

    assert f"# HELP {full_name(declared)} " in text
