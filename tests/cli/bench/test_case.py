"""A case of the bench against a real collector and a real store, and against one that refuses."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from controltower.cli.bench.case import Bench, Case, Transport, run_case, wait_visible
from controltower.cli.bench.http import http_connect
from controltower.cli.bench.report import as_json, as_text
from controltower.cli.bench.sending import Connect, Limits
from controltower.collector.drain import Drain
from controltower.store.address import StoreAddress
from controltower.store.bench_reads import visible_spans
from controltower.store.client import Client, connect
from controltower.store.loader import Segment, load_segment
from controltower.tracer.journal import SegmentFile
from tests.collector.requests import PATIENCE_S, Tower, running

LIMITS = Limits(spans=64, seconds=30)


def bench_of(tower: Tower, client: Client, token: str | None = None) -> Bench:
    """Return what drives *tower*, whose spans come into the store of *client*."""

    def connecting(_: Transport) -> Connect:
        return partial(http_connect, tower.url, tower.token if token is None else token)

    return Bench(connecting, client, partial(visible_spans, client), (), "test")


def loading(tower: Tower, address: StoreAddress) -> Drain:
    """Start to load what *tower* takes in."""
    clients: list[Client] = []

    def load(segment: SegmentFile) -> int:
        if not clients:
            clients.append(connect(address))
        return load_segment(clients[0], Segment(segment.id, "traces", segment.path))

    drain = Drain(tower.journal, load)
    drain.start()
    return drain


def test_what_was_acknowledged_becomes_visible(
    tmp_path: Path, store_client: Client, store_address: StoreAddress
) -> None:
    """Requests over several connections are acknowledged, found in the store and counted once, whatever their size."""
    with running(tmp_path) as tower:
        drain = loading(tower, store_address)
        driven = bench_of(tower, store_client)

        def count(services: Sequence[str], since: datetime) -> int:
            tower.journal.rotate()
            return driven.count(services, since)

        bench = Bench(driven.connect, store_client, count, (), "test")
        results = [run_case(bench, Case("http", size, 3), LIMITS, number) for number, size in enumerate((1, 16))]
        drain.stop(PATIENCE_S)

    for result in results:
        assert result.sent >= LIMITS.spans
        assert result.visible == result.acknowledged == result.sent
        assert result.refused == {}
        assert result.acknowledge_p50_s is not None
        assert result.visible_per_s > 0
        assert result.disk_bytes_per_span
    assert [case["visible"] for case in as_json(results, tower.url, "store")["cases"]] == [
        result.visible for result in results
    ]
    assert len(as_text(results).splitlines()) == 1 + len(results)


def test_refusals_are_counted_by_status(tmp_path: Path, store_client: Client) -> None:
    """What is refused is counted by its status, and nothing of it is called acknowledged or visible."""
    with running(tmp_path) as tower:
        result = run_case(bench_of(tower, store_client, "wrong"), Case("http", 16, 2), LIMITS, 1)

    assert (result.acknowledged, result.visible) == (0, 0)
    assert result.refused == {"401": result.sent // 16}
    assert result.disk_bytes_per_span is None


def test_what_does_not_come_is_not_waited_for_for_ever() -> None:
    """When the count stands still for two minutes, what is there is the result."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    counts = iter([3, 5])
    seen, seen_at = wait_visible(lambda: next(counts, 5), 8, monotonic=lambda: now, sleep=sleep)

    assert seen == 5
    assert seen_at < 1
    assert now > 100
