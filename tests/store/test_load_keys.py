"""Business keys of every span, whichever way it came in, and the times of its trace."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.store.client import Client
from tests.store.otlp import DAY_NS, NOON_NS, SECOND_NS, Loading, Value, array, attributes, request, span

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# What the Collector's exporter names in its INSERT, in its order.
EXPORTER = [
    "Timestamp",
    "TraceId",
    "SpanId",
    "ParentSpanId",
    "TraceState",
    "SpanName",
    "SpanKind",
    "ServiceName",
    "ResourceAttributes",
    "ScopeName",
    "ScopeVersion",
    "SpanAttributes",
    "Duration",
    "StatusCode",
    "StatusMessage",
    "Events.Timestamp",
    "Events.Name",
    "Events.Attributes",
    "Links.TraceId",
    "Links.SpanId",
    "Links.TraceState",
    "Links.Attributes",
]


@pytest.fixture
def fresh(any_store: Client, tmp_path: Path) -> Loading:
    """An empty store of this test."""
    return Loading(any_store, tmp_path, count(1))


def keys(client: Client) -> list[tuple[str, str, str]]:
    """Return type, scope and value of all keys, sorted."""
    return sorted(tuple(row) for row in client.query("SELECT Type, Scope, Value FROM span_keys").result_rows)


def line(have: dict[str, Value]) -> Span.Event:
    """Return a document line."""
    return Span.Event(time_unix_nano=NOON_NS, name="controltower.line", attributes=attributes(have.items()))


def test_keys_are_found_with_their_span(fresh: Loading) -> None:
    """A key leads to its span: trace, span, service, name, time, tenant."""
    fresh.load(request(span(7, {"controltower.key.purchase_order": "PO-1042", "controltower.amount": "1.00"})))

    assert fresh.client.query("SELECT * FROM span_keys").result_rows == [
        ("purchase_order", "", "PO-1042", f"{7:032x}", f"{7:016x}", "erp", "span 7", NOON, "acme", NOON)
    ]


def test_arrays_give_each_value_and_scopes_their_type(fresh: Loading) -> None:
    """An array is several keys; a scope is that of its type."""
    fresh.load(
        request(
            span(
                1,
                {
                    "controltower.key.invoice": array("A", "B", 3, "", None),
                    "controltower.scope.invoice": "V-7",
                    "controltower.key.purchase_order": "PO-1",
                    "controltower.scope.vendor": "unused",
                    "controltower.key.empty": "",
                    "controltower.key.none": array(),
                    "controltower.keys": "no key",
                },
            )
        )
    )

    assert keys(fresh.client) == [
        ("invoice", "V-7", "3"),
        ("invoice", "V-7", "A"),
        ("invoice", "V-7", "B"),
        ("purchase_order", "", "PO-1"),
    ]


def test_text_that_only_looks_like_an_array_is_one_key(fresh: Loading) -> None:
    """A value that begins with a bracket and is no JSON stays whole."""
    fresh.load(request(span(1, {"controltower.key.file": "[draft] order.csv", "controltower.key.odd": '["A"'})))

    assert keys(fresh.client) == [("file", "", "[draft] order.csv"), ("odd", "", '["A"')]


def test_lines_carry_keys_with_their_own_scope_or_the_spans(fresh: Loading) -> None:
    """Keys on line events are found too; a scope on the line goes before the span's, and nothing is listed twice."""
    fresh.load(
        request(
            span(
                1,
                {
                    "controltower.key.invoice": "I-1",
                    "controltower.scope.purchase_order": "C-1",
                    "controltower.key.purchase_order": "PO-1",
                },
                events=[
                    line({"line": "1", "controltower.key.purchase_order": "PO-1"}),
                    line({"line": "2", "controltower.key.purchase_order": "PO-2"}),
                    line(
                        {
                            "controltower.key.purchase_order": array("PO-2", "PO-3"),
                            "controltower.scope.purchase_order": "C-9",
                        }
                    ),
                    Span.Event(name="exception"),
                ],
            )
        )
    )

    assert keys(fresh.client) == [
        ("invoice", "", "I-1"),
        ("purchase_order", "C-1", "PO-1"),
        ("purchase_order", "C-1", "PO-2"),
        ("purchase_order", "C-9", "PO-2"),
        ("purchase_order", "C-9", "PO-3"),
    ]


def test_many_keys_of_many_spans(fresh: Loading) -> None:
    """Every span gives all its keys."""
    fresh.load(
        request(
            *(
                span(
                    n,
                    {
                        "controltower.key.payment": "PAY-1",
                        "controltower.key.invoice": array(*(f"I-{n}-{i}" for i in range(20))),
                    },
                )
                for n in range(50)
            )
        )
    )

    found = Counter(type_ for type_, _, _ in keys(fresh.client))

    assert found == {"payment": 50, "invoice": 1000}


def exported(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row as the Collector's exporter inserts it."""
    row: dict[str, Any] = dict.fromkeys(EXPORTER, "")
    row |= {
        "Timestamp": NOON + timedelta(seconds=number),
        "TraceId": f"{number:032x}",
        "SpanId": f"{number:016x}",
        "SpanName": "POST /orders",
        "SpanKind": "Server",
        "ServiceName": "foreign",
        "ResourceAttributes": {"service.name": "foreign"},
        "SpanAttributes": {},
        "Duration": 2 * SECOND_NS,
        "StatusCode": "STATUS_CODE_ERROR",
    }
    row |= {name: [] for name in EXPORTER if name.startswith(("Events.", "Links."))}
    return row | changes


def test_a_stock_collector_writes_into_the_same_tables(fresh: Loading) -> None:
    """An INSERT of the exporter's 22 columns by name is enough for keys, trace times and all our own columns."""
    rows = [
        exported(
            1,
            SpanAttributes={"controltower.key.invoice": '["A","B"]', "controltower.scope.invoice": "V-7"},
            **{
                "Events.Timestamp": [NOON],
                "Events.Name": ["controltower.line"],
                "Events.Attributes": [{"controltower.key.purchase_order": "PO-1"}],
            },
        ),
        exported(2),
    ]
    fresh.client.insert("otel_traces", [list(row.values()) for row in rows], column_names=EXPORTER)

    assert keys(fresh.client) == [("invoice", "V-7", "A"), ("invoice", "V-7", "B"), ("purchase_order", "", "PO-1")]
    assert fresh.count("otel_traces_trace_id_ts") == 2
    ours = "TenantId, SegmentId, TimeQuality, SentStartUnixNano, IsError, IsRoot, EndTime, LoadedAt > now() - 60, IngestedAt > now() - 60"
    assert fresh.client.query(f"SELECT {ours} FROM otel_traces ORDER BY Timestamp LIMIT 1").result_rows == [
        ("", "", "", 0, True, True, NOON + timedelta(seconds=3), True, True)
    ]


def test_the_exporters_columns_come_first_and_ours_after(fresh: Loading) -> None:
    """The exporter's columns stand in its order, with types its INSERT fits; every one of ours has a default."""
    described = fresh.client.query("DESCRIBE TABLE otel_traces").result_rows

    assert [row[0] for row in described[: len(EXPORTER)]] == EXPORTER
    assert all(row[2] for row in described[len(EXPORTER) :])


def test_a_trace_has_its_first_start_and_its_last_end(fresh: Loading) -> None:
    """The times of a trace span all its spans, also over several segments and days."""
    trace = (1).to_bytes(16, "big")
    fresh.load(request(span(1, trace_id=trace), span(2, trace_id=trace, end_time_unix_nano=NOON_NS + 90 * SECOND_NS)))
    fresh.load(request(span(3, trace_id=trace, start_time_unix_nano=NOON_NS - 40 * DAY_NS), span(4, trace_id=b"")))

    times = fresh.client.query(
        "SELECT TraceId, min(Start), max(End) FROM otel_traces_trace_id_ts GROUP BY TraceId"
    ).result_rows

    assert times == [(trace.hex(), NOON - timedelta(days=40), NOON + timedelta(seconds=90))]


@pytest.mark.parametrize("table", ["otel_traces", "otel_traces_trace_id_ts", "span_keys"])
def test_old_history_is_not_dropped_when_it_comes_in(fresh: Loading, table: str) -> None:
    """Retention counts from the receipt: spans of two years ago stay when they are imported today."""
    received_ns = int(fresh.client.query("SELECT toUnixTimestamp(now())").result_rows[0][0]) * SECOND_NS
    old = span(1, {"controltower.key.purchase_order": "PO-1"}, start_time_unix_nano=received_ns - 730 * DAY_NS)
    fresh.load(request(old), received_ns=received_ns)

    fresh.client.command(f"OPTIMIZE TABLE {table} FINAL")

    assert fresh.count(table) == 1


def test_what_is_past_its_time_is_dropped(fresh: Loading) -> None:
    """A day that was received 400 days ago is gone."""
    fresh.load(request(span(1, start_time_unix_nano=NOON_NS - 3000 * DAY_NS)), received_ns=NOON_NS - 2999 * DAY_NS)

    fresh.client.command("OPTIMIZE TABLE otel_traces FINAL")

    assert fresh.count("otel_traces") == 0
