"""What was logged around a transaction is found by its traces and by its keys, bounded in number and time."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from controltower.store.client import Client
from controltower.store.read import Member, TransactionView, logs_of
from controltower.store.reads.logs import BODY_LIMIT
from controltower.store.rows import Key
from tests.factories import AT, membership, purchase_order, step, transaction
from tests.store.logs import log, logs
from tests.store.otlp import DAY_NS, SECOND_NS, Loading, Value, array, record

ORDER = purchase_order("PO-1042")
INVOICE = Key("invoice", "V-7", "INV-9")
STEP = step(at=AT, keys=(ORDER,))
AT_NS = int(AT.timestamp()) * SECOND_NS
VIEW = TransactionView(
    transaction(anchor=ORDER, keys=(ORDER, INVOICE)), (Member(STEP, membership(STEP, ORDER)),), (), (), (), (), ()
)
OF_TRACE: dict[str, Any] = {"trace_id": bytes.fromhex(STEP.trace_id), "span_id": b"\x07" * 8}


@pytest.fixture
def logged(any_store: Client, tmp_path: Path) -> Loading:
    """An empty store of this test."""
    return Loading(any_store, tmp_path, count(1))


def at(seconds: int, body: str, have: dict[str, Value] | None = None, **more: Any) -> LogRecord:
    """Return a record so many seconds after the step."""
    return log(body, have, time_unix_nano=AT_NS + seconds * SECOND_NS, **more)


def put(into: Loading, *records: LogRecord) -> None:
    """Load records that were received with the step."""
    into.put("logs", record(logs(*records).SerializeToString(), AT_NS + 2 * DAY_NS))


def test_records_are_found_by_trace_and_by_key(logged: Loading) -> None:
    """Traces of its steps and each of its keys lead to records, once each and in order of time; nothing else does."""
    order, invoice = "controltower.key.purchase_order", "controltower.key.invoice"
    vendor = "controltower.scope.invoice"
    put(
        logged,
        at(5, "of its trace", **OF_TRACE),
        at(4, "with its key", {order: "PO-1042"}),
        at(3, "with two orders", {order: array("PO-1", "PO-1042")}),
        at(2, "of both", {order: "po-1042"}, **OF_TRACE),
        at(1, "its invoice", {invoice: "INV-9", vendor: "V-7"}),
        at(1, "another vendor's invoice", {invoice: "INV-9", vendor: "V-8"}),
        at(1, "another order", {order: "PO-7"}),
        at(1, "another type", {"controltower.key.receipt": "PO-1042"}),
        at(1, "of another trace", trace_id=b"\x09" * 16),
    )

    found = logs_of(logged.client, VIEW)

    assert [(each.body, each.by_key) for each in found.records] == [
        ("its invoice", True),
        ("of both", True),
        ("with two orders", True),
        ("with its key", True),
        ("of its trace", False),
    ]
    assert not found.truncated


def test_number_length_and_time_are_bounded(logged: Loading) -> None:
    """The first records are returned, and that there are more; long bodies are cut; far away is not looked."""
    day = 86_400
    put(
        logged,
        *(at(n, f"{n}", severity_number=17, event_name="e", **OF_TRACE) for n in range(5)),
        at(9, "x" * 10_000, **OF_TRACE),
        at(day + 60, "late", **OF_TRACE),
        at(-day - 60, "early", {"controltower.key.purchase_order": "PO-1042"}),
    )

    few = logs_of(logged.client, VIEW, limit=3)
    every = logs_of(logged.client, VIEW)

    assert [each.body for each in few.records] == ["0", "1", "2"]
    assert few.truncated
    assert [len(each.body) for each in every.records] == [1] * 5 + [BODY_LIMIT]
    assert every.records[0].severity_number == 17
    assert not every.truncated


def test_nothing_logged_is_no_error(logged: Loading) -> None:
    """A transaction around which nothing was logged has no records."""
    assert logs_of(logged.client, VIEW).records == ()
