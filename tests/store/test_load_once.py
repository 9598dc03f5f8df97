"""A segment is stored once, in every table, however often it is loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.errors import LoadError
from controltower.store.loader import load_segment
from tests.store.otlp import DAY_NS, NOON_NS, Loading, record, request, span

TABLES = ("otel_traces", "span_keys", "otel_traces_trace_id_ts")
QUARANTINE = "otel_traces_quarantine"
BATCH = 40


@pytest.fixture
def fresh(any_store: Client, tmp_path: Path) -> Loading:
    """An empty store of this test."""
    return Loading(any_store, tmp_path, count(1))


def batch(first: int, days: int = 1) -> bytes:
    """Return a segment of two messages, whose spans have a key each and lie on so many days; one has no start."""
    spans = [
        span(
            n,
            {"controltower.key.purchase_order": f"PO-{n}"},
            start_time_unix_nano=NOON_NS - n % days * DAY_NS,
            end_time_unix_nano=NOON_NS - n % days * DAY_NS + 1,
        )
        for n in range(first, first + BATCH)
    ]
    undated = span(first, start_time_unix_nano=0)
    parts = (spans[:10], [*spans[10:], undated])
    return b"".join(record(request(*part).SerializeToString()) for part in parts)


def watermark(client: Client) -> int:
    """Return the spans that the watermark has counted of the only source."""
    return int(client.query("SELECT sum(spans) FROM source_watermarks WHERE system = 'erp'").result_rows[0][0])


def test_loading_again_stores_nothing_again(fresh: Loading) -> None:
    """The token loads once: in the spans, in the tables behind them, and in what is counted."""
    segment = fresh.segment(batch(1))

    loaded = [load_segment(fresh.client, segment) for _ in range(4)]

    assert loaded == [BATCH + 1, 0, 0, 0]
    assert {table: fresh.count(table) for table in TABLES} == dict.fromkeys(TABLES, BATCH)
    assert fresh.count(QUARANTINE) == 1
    assert watermark(fresh.client) == BATCH


def test_the_token_counts_and_not_the_content(fresh: Loading) -> None:
    """The same bytes under two tokens are two segments; a sender that repeats itself is told apart before."""
    content = batch(1)

    loaded = [load_segment(fresh.client, fresh.segment(content, token)) for token in ("one", "two", "one")]

    assert loaded == [BATCH + 1, BATCH + 1, 0]
    assert fresh.count("otel_traces") == 2 * BATCH
    assert watermark(fresh.client) == 2 * BATCH


def test_segments_of_many_days_load_once(fresh: Loading) -> None:
    """Each partition that a segment touches knows the token."""
    segment = fresh.segment(batch(1, days=30))

    loaded = [load_segment(fresh.client, segment) for _ in range(3)]

    assert loaded == [BATCH + 1, 0, 0]
    assert {table: fresh.count(table) for table in TABLES} == dict.fromkeys(TABLES, BATCH)
    assert fresh.count(QUARANTINE) == 1


def test_another_client_loads_nothing_again(fresh: Loading, any_address: StoreAddress) -> None:
    """The store knows the token, not the client: a restarted collector may try what it tried before."""
    segment = fresh.segment(batch(1))
    load_segment(fresh.client, segment)
    again = connect(any_address)

    assert load_segment(again, segment) == 0
    assert fresh.count("otel_traces") == BATCH
    again.close()


def test_many_segments_between_two_attempts_change_nothing(fresh: Loading) -> None:
    """A token is remembered over the segments that come after it."""
    first = fresh.segment(batch(1))
    load_segment(fresh.client, first)
    for number in range(1, 12):
        load_segment(fresh.client, fresh.segment(batch(1 + number * BATCH)))

    assert load_segment(fresh.client, first) == 0
    assert fresh.count("otel_traces") == 12 * BATCH
    assert watermark(fresh.client) == 12 * BATCH


@pytest.mark.parametrize(
    "missing", ["otel_traces", "span_keys", "otel_traces_trace_id_ts", "source_watermarks", QUARANTINE]
)
def test_a_load_that_failed_in_the_middle_is_completed(fresh: Loading, missing: str) -> None:
    """What one attempt did not reach the next one completes, and what it reached is not stored twice."""
    segment = fresh.segment(batch(1))
    with _away(fresh.client, missing), pytest.raises(LoadError) as refused:
        load_segment(fresh.client, segment)
    assert not refused.value.permanent

    load_segment(fresh.client, segment)

    assert {table: fresh.count(table) for table in TABLES} == dict.fromkeys(TABLES, BATCH)
    assert fresh.count(QUARANTINE) == 1
    assert watermark(fresh.client) == BATCH


@contextmanager
def _away(client: Client, table: str) -> Iterator[None]:
    """Take a table away for the length of the block."""
    client.command(f"RENAME TABLE {table} TO away")
    try:
        yield
    finally:
        client.command(f"RENAME TABLE away TO {table}")
