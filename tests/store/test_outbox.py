"""What the alert worker asks of the store."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from controltower.store.alert_rows import AlertState, Delivery, DeliveryState
from controltower.store.client import Client
from controltower.store.errors import LimitError, StoreUnavailableError
from controltower.store.outbox import (
    EXPIRES_AFTER,
    alerts_by_key,
    changed_exceptions,
    deliveries_by_id,
    due,
    expired,
    fingerprint,
    list_alerts,
    list_deliveries,
    orphans,
    read_state,
    record,
    status,
    to_repeat,
    write_state,
)
from controltower.store.rows import ExceptionRow, Key
from controltower.store.write import insert
from tests.factories import AT, alert, exception

NOW = AT


def delivery(id: str = "msg_1", **values: Any) -> Delivery:
    """Return a notification that waits."""
    made = Delivery(
        id=id,
        channel="webhook",
        dedup_key=f"key of {id}",
        sequence=1,
        event="firing",
        decision="first",
        severity="page",
        severity_rank=2,
        amount=Decimal(10),
        body='{"text": "schön \\u0000"}',
        state=DeliveryState.PENDING,
        attempt=0,
        next_attempt_at=NOW,
        last_error="",
        response_status=None,
        created_at=NOW,
        updated_at=NOW,
        sent_at=None,
        version=1,
    )
    return replace(made, **values)


def ids(client: Client, now: datetime = NOW, limit: int = 100) -> list[str]:
    """Return the ids that are due."""
    return list(due(client, "webhook", now, limit=limit).ids)


def test_rows_come_back_as_they_were_written(any_store: Client) -> None:
    """Alerts and deliveries survive the store exactly: microseconds, decimals, absent values."""
    alerts = [alert(), alert("ct_2", resolved_at=NOW, announced=False, state=AlertState.RESOLVED)]
    deliveries = [delivery(), delivery("msg_2", response_status=503, sent_at=NOW, last_error="late")]

    record(any_store, alerts)
    record(any_store, deliveries)

    assert alerts_by_key(any_store, ["ct_1", "ct_2", "ct_3"]) == {row.dedup_key: row for row in alerts}
    assert deliveries_by_id(any_store, ["msg_2", "none", "msg_1"], NOW) == [deliveries[1], deliveries[0]]
    assert list_alerts(any_store, state=AlertState.RESOLVED) == [alerts[1]]
    assert {row.id for row in list_deliveries(any_store)} == {"msg_1", "msg_2"}


def test_many_keys_are_read_in_parts(store_client: Client) -> None:
    """More keys than one request carries are all found."""
    record(store_client, [alert(f"ct_{number:040x}") for number in range(1_201)])

    found = alerts_by_key(store_client, (f"ct_{number:040x}" for number in range(1_201)))

    assert len(found) == 1_201
    assert alerts_by_key(store_client, []) == {}


def test_the_first_row_again_does_not_bring_a_sent_notification_back(any_store: Client) -> None:
    """Deciding the same again after a crash writes the first row again, and what was sent stays sent."""
    record(any_store, [delivery()])
    record(any_store, [delivery(state=DeliveryState.SENT, version=2)])

    record(any_store, [delivery()])

    assert ids(any_store) == []
    assert deliveries_by_id(any_store, ["msg_1"], NOW)[0].state is DeliveryState.SENT


def test_due_are_ranked_by_severity_then_money_then_age(any_store: Client) -> None:
    """A page goes before a warning, more money before less, older before newer."""
    record(
        any_store,
        [
            delivery("small page", amount=Decimal(1)),
            delivery("large page", amount=Decimal(9)),
            delivery("older page", amount=Decimal(1), created_at=NOW - timedelta(hours=1)),
            delivery("large warning", severity_rank=1, amount=Decimal(999)),
            delivery("later", next_attempt_at=NOW + timedelta(microseconds=1)),
            delivery("sent", state=DeliveryState.SENT),
            delivery("dead", state=DeliveryState.DEAD),
            delivery("other channel", channel="chat"),
        ],
    )

    assert ids(any_store) == ["large page", "older page", "small page", "large warning"]
    assert due(any_store, "webhook", NOW, limit=2).total == 4
    assert due(any_store, "webhook", NOW, limit=0) == type(due(any_store, "webhook", NOW, limit=0))((), 4)
    assert ids(any_store, NOW + timedelta(seconds=1))[-1] == "large warning"


def test_notifications_about_one_thing_keep_their_order(any_store: Client) -> None:
    """A later notification is not due while an earlier one about the same thing waits, however severe."""
    firing = delivery("firing", dedup_key="a", next_attempt_at=NOW + timedelta(hours=1), attempt=3)
    resolved = delivery("resolved", dedup_key="a", sequence=2, amount=Decimal(999))
    record(any_store, [firing, resolved])

    assert ids(any_store) == []
    record(any_store, [replace(firing, state=DeliveryState.DEAD, version=2)])
    assert ids(any_store) == ["resolved"]


def test_a_decision_without_its_notification_is_found(any_store: Client) -> None:
    """Alerts whose notification is missing are orphans; told ones, silent ones and ancient ones are not."""
    record(
        any_store,
        [
            alert("told"),
            alert("missing"),
            alert("silent", notification_id=""),
            alert("ancient", decided_at=NOW - EXPIRES_AFTER - timedelta(seconds=1)),
        ],
    )
    record(any_store, [delivery("msg_told", created_at=NOW.replace(microsecond=123_456))])

    assert [orphan.dedup_key for orphan in orphans(any_store, NOW)] == ["missing"]


def test_only_open_announced_alerts_with_nothing_waiting_are_repeated(any_store: Client) -> None:
    """What is over, was never told, was told recently or still waits to be told is not repeated."""
    old = {"decided_at": NOW - timedelta(hours=5)}
    record(
        any_store,
        [
            alert("open", **old),
            alert("recent", decided_at=NOW - timedelta(hours=3)),
            alert("over", state=AlertState.RESOLVED, **old),
            alert("never told", announced=False, **old),
            alert("waiting", **old),
        ],
    )
    record(any_store, [delivery("msg_waiting", dedup_key="waiting")])

    assert [found.dedup_key for found in to_repeat(any_store, NOW, timedelta(hours=4))] == ["open"]


def test_what_waited_too_long_expires(any_store: Client) -> None:
    """After seven days a notification is no longer due and is found to be given up."""
    record(any_store, [delivery("old", created_at=NOW - EXPIRES_AFTER - timedelta(seconds=1)), delivery("new")])

    assert ids(any_store) == ["new"]
    assert [row.id for row in expired(any_store, NOW)] == ["old"]


def test_changes_are_read_from_a_version_on_in_pages(any_store: Client) -> None:
    """Each exception comes once, in the order of versions, with its newest row, across pages of any size."""
    rows = [
        exception(anchor=Key("purchase_order", scope, f"PO-{number}"), rule=rule, version=number // 4 + 1)
        for number in range(12)
        for scope in ("", "B")
        for rule in ("a", "b")
    ]
    insert(any_store, rows)
    newest = replace(rows[0], resolved_at=NOW, version=9)
    deleted = replace(rows[1], is_deleted=True, version=9)
    insert(any_store, [newest, deleted])

    def pages(size: int, since: int) -> list[ExceptionRow]:
        read: list[ExceptionRow] = []
        while page := changed_exceptions(any_store, since, after=read[-1] if read else None, limit=size):
            read += page
        return read

    assert len(pages(5, 0)) == len(rows)
    assert set(pages(5, 0)) == {*rows[2:], newest, deleted}
    assert pages(5, 0) == pages(7, 0) == pages(1_000, 0)
    assert [row.version for row in pages(5, 3)] == sorted([3] * 16 + [9] * 2)
    assert pages(5, 10) == []


def test_the_fingerprint_changes_with_what_is_written(any_store: Client) -> None:
    """A row of the range changes it, one before the range does not."""
    insert(any_store, [exception(version=5)])
    before = fingerprint(any_store, 5)
    insert(any_store, [exception(version=4, anchor=Key("invoice", "", "x"))])
    unchanged = fingerprint(any_store, 5)
    insert(any_store, [exception(version=6)])

    assert before == unchanged
    assert fingerprint(any_store, 5) != before
    assert fingerprint(any_store, 99) == (0, 0)


def test_named_facts_are_overwritten(any_store: Client) -> None:
    """The last value written is the one that is read."""
    assert read_state(any_store, "position") is None

    for value in ("1", "2", ""):
        write_state(any_store, "position", value)
        state = read_state(any_store, "position")
        assert state is not None
        assert state.value == value


def test_the_status_counts_what_waits_and_what_failed(any_store: Client) -> None:
    """What ``doctor`` and the dashboard show: alerts by state, and the outbox by state with its last error."""
    empty = status(any_store, NOW)
    record(any_store, [alert("a"), alert("b", state=AlertState.HISTORIC), alert("c", state=AlertState.HISTORIC)])
    record(
        any_store,
        [
            delivery("waits", created_at=NOW - timedelta(hours=2)),
            delivery("retries", attempt=1, next_attempt_at=NOW + timedelta(hours=1), last_error="older error"),
            delivery("sent", state=DeliveryState.SENT, sent_at=NOW),
            delivery("dead", state=DeliveryState.DEAD, last_error="newer", updated_at=NOW + timedelta(seconds=1)),
        ],
    )

    found = status(any_store, NOW)

    assert (empty.alerts, empty.pending, empty.oldest_pending_at, empty.last_error) == ({}, 0, None, "")
    assert found.alerts == {"firing": 1, "historic": 2}
    assert (found.pending, found.due, found.retrying, found.sent, found.dead) == (2, 1, 1, 1, 1)
    assert (found.oldest_pending_at, found.last_sent_at) == (NOW - timedelta(hours=2), NOW)
    assert found.last_error == "newer"


def test_reads_have_limits(store_client: Client) -> None:
    """Asking for more than a read may give is an error that names the limit."""
    with pytest.raises(LimitError, match="1,000"):
        list_alerts(store_client, limit=1_001)
    with pytest.raises(LimitError, match="10,000"):
        changed_exceptions(store_client, 0, limit=10_001)


def test_a_store_that_refuses_a_row_is_told_in_words(store_client: Client) -> None:
    """A write that fails raises one sentence, and says that trying again can help."""
    store_client.command("DROP TABLE deliveries SYNC")

    with pytest.raises(StoreUnavailableError, match="written again"):
        record(store_client, [delivery()])
