"""From a real request to rows: collector, journal, drain and the real loader, on the embedded engine and a server."""

import threading
import time
from pathlib import Path

import pytest

from controltower.collector.cipher import AesGcm
from controltower.collector.drain import Drain
from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.loader import Segment, load_segment
from controltower.tracer.journal import Journal, SegmentFile
from tests.collector.requests import PATIENCE_S, request_of, running, span
from tests.tracer.journals import append


class Loader:
    """The real loader, with a client of its own and, when told so, the trouble of a store that dies after storing."""

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._client: Client | None = None
        self.dies_after_storing = 0
        self.loaded = threading.Semaphore(0)

    def __call__(self, segment: SegmentFile) -> int:
        self._client = self._client or connect(self._address)
        rows = load_segment(self._client, Segment(segment.id, "traces", segment.path, segment.open))
        if self.dies_after_storing:
            self.dies_after_storing -= 1
            raise ConnectionError("The connection was lost before the answer.")
        self.loaded.release()
        return rows

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def rows_of(client: Client) -> list[tuple[str, str]]:
    return [
        tuple(row) for row in client.query("SELECT SpanName, TenantId FROM otel_traces ORDER BY SpanName").result_rows
    ]


def drain_into(journal: Journal, loader: Loader) -> Drain:
    drain = Drain(journal, loader, wait=lambda stop, _: stop.is_set())
    drain.start()
    return drain


def test_what_was_acknowledged_is_in_the_store_once(
    tmp_path: Path, any_store: Client, any_address: StoreAddress
) -> None:
    """Every span is a row with its tenant, also those sent twice and those loaded twice."""
    loader = Loader(any_address)
    loader.dies_after_storing = 2
    with running(tmp_path) as tower:
        drain = drain_into(tower.journal, loader)
        for number in range(10, 30):
            assert tower.send(request_of(span(number), span(number + 50))).status == 200
            assert tower.send_gzip(request_of(span(number), span(number + 50))).status == 200
            tower.journal.rotate()
        left = drain.stop(PATIENCE_S)
    loader.close()

    expected = [*range(10, 30), *range(60, 80)]
    assert left.segments == 0
    assert rows_of(any_store) == [(f"span {number}", "acme") for number in expected]


def test_an_encrypted_journal_is_loaded(tmp_path: Path, any_store: Client, any_address: StoreAddress) -> None:
    """The store is given what was sent; on the disk of the journal it is not to be read."""
    loader = Loader(any_address)
    journal = Journal(tmp_path, cipher=AesGcm([bytes(32)]))
    for number in range(10, 15):
        content = request_of(span(number))
        append(journal, content, received_ns=time.time_ns()).result(PATIENCE_S)
    journal.rotate()
    on_disk = b"".join(path.read_bytes() for path in tmp_path.glob("*.otlp"))
    left = drain_into(journal, loader).stop(PATIENCE_S)
    journal.close()
    loader.close()

    assert on_disk
    assert b"span 1" not in on_disk
    assert left.segments == 0
    assert rows_of(any_store) == [(f"span {number}", "acme") for number in range(10, 15)]


def test_the_receive_time_is_that_of_the_request(tmp_path: Path, any_store: Client, any_address: StoreAddress) -> None:
    """Lateness is measured against the moment of arrival, however late the load is."""
    loader = Loader(any_address)
    an_hour_ago_ms = time.time_ns() // 1_000_000 - 3_600_000  # retention drops what is too old
    with running(tmp_path, clock=lambda: an_hour_ago_ms * 1_000_000) as tower:
        tower.send(request_of(span(1)))
        drain_into(tower.journal, loader).stop(PATIENCE_S)
    loader.close()

    found = any_store.query("SELECT toUnixTimestamp64Milli(IngestedAt) FROM otel_traces").result_rows
    assert [tuple(row) for row in found] == [(an_hour_ago_ms,)]


def test_a_body_the_engine_refuses_does_not_stop_the_others(
    tmp_path: Path, any_store: Client, any_address: StoreAddress
) -> None:
    """F45: bytes that are no OTLP, as a bug of ours would let through, end in quarantine; the rest is loaded."""
    loader = Loader(any_address)
    with running(tmp_path) as tower:
        tower.send(request_of(span(1)))
        bad = b"\x0a\x05\x12\xff\xff\xff\x7f"
        tower.journal.append(bad, tenant="", received_ns=time.time_ns(), digest=bytes(32)).result(PATIENCE_S)
        tower.send(request_of(span(2)))
        left = drain_into(tower.journal, loader).stop(PATIENCE_S)
        stats = tower.journal.stats()
    loader.close()

    assert left.segments == 0
    assert stats.quarantined_files == 1
    assert rows_of(any_store) == [("span 1", "acme"), ("span 2", "acme")]


def test_invalid_text_is_loaded(tmp_path: Path, any_store: Client, any_address: StoreAddress) -> None:
    """One byte that is no UTF-8 loses neither its span nor its request."""
    loader = Loader(any_address)
    with running(tmp_path) as tower:
        tower.send(request_of(span(1), span(2)).replace(b"span 2", b"sp\xffn 2"))
        drain_into(tower.journal, loader).stop(PATIENCE_S)
    loader.close()

    assert any_store.query("SELECT count() FROM otel_traces").result_rows[0][0] == 2


@pytest.mark.parametrize("count", [20_000])
def test_many_spans_in_one_segment(tmp_path: Path, any_store: Client, any_address: StoreAddress, count: int) -> None:
    """A segment as large as they get is loaded whole."""
    loader = Loader(any_address)
    with running(tmp_path) as tower:
        for start in range(1, count, 2_000):
            assert tower.send(request_of(*map(span, range(start, start + 2_000)))).status == 200
        drain_into(tower.journal, loader).stop(PATIENCE_S)
    loader.close()

    found = any_store.query("SELECT count(), uniqExact(SpanId) FROM otel_traces").result_rows
    assert [tuple(row) for row in found] == [(count, count)]
