"""Rows that wait in quarantine can be listed, shown, stored all the same, and dropped; each is stored once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import Error as EngineError

from controltower.store import quarantine
from controltower.store.client import Client
from controltower.store.quarantine import QuarantineCount, QuarantineFilter, QuarantineGroup
from tests.store.otlp import DAY_NS, NOON_NS, Loading, request, span

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATE_NS = NOON_NS + 2 * DAY_NS


@pytest.fixture
def waiting(any_store: Client, tmp_path: Path) -> Loading:
    """A store of this test with two segments, each with a good span, two without a start and a late one."""
    loading = Loading(any_store, tmp_path, count(1))
    for first in (1, 11):
        loading.load(
            request(
                span(first),
                span(first + 1, {"controltower.key.purchase_order": "PO-1"}, start_time_unix_nano=0),
                span(first + 2, start_time_unix_nano=0),
                span(first + 3, start_time_unix_nano=LATE_NS, end_time_unix_nano=LATE_NS),
            )
        )
    return loading


def test_what_waits_is_counted_and_listed(waiting: Loading) -> None:
    """Counts are by reason, groups by segment and reason; a filter narrows them."""
    client = waiting.client

    assert quarantine.count_quarantined(client) == (
        QuarantineCount("traces", "start_missing", 4, NOON, NOON),
        QuarantineCount("traces", "start_too_late", 2, NOON, NOON),
    )
    groups = quarantine.list_quarantined(client)
    assert [(group.segment, group.reason, group.rows) for group in groups] == [
        ("segment-1", "start_missing", 2),
        ("segment-1", "start_too_late", 1),
        ("segment-2", "start_missing", 2),
        ("segment-2", "start_too_late", 1),
    ]
    narrow = QuarantineFilter("traces", "start_too_late", "segment-2")
    assert quarantine.list_quarantined(client, narrow) == (
        QuarantineGroup("traces", "start_too_late", "segment-2", "acme", 1, NOON, NOON),
    )
    assert quarantine.list_quarantined(client, limit=1, offset=3) == quarantine.list_quarantined(client, narrow)


def test_rows_are_shown_as_they_were_sent(waiting: Loading) -> None:
    """A row names its service, span and the times that cannot be."""
    (row,) = quarantine.show_quarantined(waiting.client, QuarantineFilter(segment="segment-1", reason="start_too_late"))

    assert (row.service, row.name, row.span_id) == ("erp", "span 4", f"{4:016x}")
    assert (row.sent_unix_nano, row.sent_end_unix_nano, row.received_at) == (LATE_NS, LATE_NS, NOON)


def test_a_retry_stores_rows_at_their_receipt(waiting: Loading) -> None:
    """What was waiting is stored with the reason as its mark, found by its key, and waits no longer."""
    stored = quarantine.retry_quarantined(waiting.client, QuarantineFilter(reason="start_missing"))

    assert stored == 4
    assert waiting.rows("segment-2", "SpanName", "TimeQuality", "Timestamp", "SentEndUnixNano > 0") == [
        ("span 11", "", NOON, False),
        ("span 12", "start_missing", NOON, True),
        ("span 13", "start_missing", NOON, True),
    ]
    assert waiting.count("span_keys") == 2
    assert [each.reason for each in quarantine.count_quarantined(waiting.client)] == ["start_too_late"]


def test_a_retry_that_was_cut_off_stores_nothing_twice(waiting: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    """When rows were stored and not yet taken out of quarantine, trying again only takes them out."""
    with _cut_off(waiting.client, monkeypatch), pytest.raises(EngineError):
        quarantine.retry_quarantined(waiting.client)
    before = waiting.count("otel_traces")

    quarantine.retry_quarantined(waiting.client)

    assert before == 4
    assert waiting.count("otel_traces") == 8
    assert waiting.count("span_keys") == 2
    assert quarantine.count_quarantined(waiting.client) == ()


def test_what_is_dropped_is_gone(waiting: Loading) -> None:
    """Dropping deletes what the filter names and nothing else."""
    assert quarantine.drop_quarantined(waiting.client, QuarantineFilter(segment="segment-1")) == 3

    assert waiting.count("otel_traces_quarantine") == 3
    assert waiting.count("otel_traces") == 2
    assert quarantine.drop_quarantined(waiting.client) == 3
    assert quarantine.drop_quarantined(waiting.client) == 0


@contextmanager
def _cut_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For the length of the block, the engine takes no deletion."""
    command = client.command

    def refusing(cmd: str, *arguments: Any, **more: Any) -> Any:
        return command("not a statement" if cmd.startswith("ALTER") else cmd, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(client, "command", refusing)
        yield
