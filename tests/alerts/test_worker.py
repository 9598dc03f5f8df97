"""From rows of exceptions to notifications received, over the real store and a real receiver."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from standardwebhooks import Webhook

from controltower.alerts.decide import Reason
from controltower.alerts.evaluate import dedup_key
from controltower.store.alert_rows import AlertState, DeliveryState
from controltower.store.outbox import list_alerts, list_deliveries, status
from controltower.store.rows import Key
from tests.alerts.conftest import SECRET, Bench
from tests.alerts.receiver import Receiver, Reply


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return the kind and the anchor of every request received."""
    bodies = [json.loads(request.body) for request in receiver.received]
    return [(body["type"].rsplit(".", 1)[1], body["data"]["anchor"]["value"]) for body in bodies]


def test_an_open_exception_is_told_once(bench: Bench, receiver: Receiver) -> None:
    """An exception makes one signed notification, however often it is looked at."""
    row = bench.open()
    worker = bench.worker()

    first = worker.run_once()
    again = [worker.run_once() for _ in range(3)]

    assert (first.read, first.decisions, first.outbox.sent) == (1, {Reason.FIRST: 1}, 1)
    assert [(report.decisions, report.outbox.sent) for report in again] == [({}, 0)] * 3
    assert told(receiver) == [("firing", "PO-1042")]
    request = receiver.received[0]
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), tz=bench.clock.now().tzinfo)
    signature = Webhook(SECRET).sign(request.headers["webhook-id"], at, request.body.decode())
    assert request.headers["webhook-signature"] == signature
    assert json.loads(request.body)["data"]["dedup_key"] == dedup_key(row)


def test_resolved_follows_firing_with_the_same_key(bench: Bench, receiver: Receiver) -> None:
    """When the step arrives after all, a resolved notification closes the incident under the same key."""
    row = bench.open()
    worker = bench.worker()
    worker.run_once()

    bench.resolve(row)
    worker.run_once()

    assert told(receiver) == [("firing", "PO-1042"), ("resolved", "PO-1042")]
    assert len({json.loads(request.body)["data"]["dedup_key"] for request in receiver.received}) == 1
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 2
    assert list_alerts(bench.client)[0].state is AlertState.RESOLVED


def test_a_correction_retracts(bench: Bench, receiver: Receiver) -> None:
    """An exception that a correction deleted is taken back visibly."""
    row = bench.open()
    worker = bench.worker()
    worker.run_once()

    bench.retract(row)
    worker.run_once()

    assert told(receiver) == [("firing", "PO-1042"), ("retracted", "PO-1042")]
    assert list_alerts(bench.client)[0].state is AlertState.RETRACTED


def test_an_exception_that_opens_again_is_a_new_episode(bench: Bench, receiver: Receiver) -> None:
    """What was resolved and opens again is told again, under the same key."""
    row = bench.open()
    worker = bench.worker()
    worker.run_once()
    bench.resolve(row)
    worker.run_once()

    bench.write(replace(row, opened_at=bench.clock.now()))
    worker.run_once()

    assert [kind for kind, _ in told(receiver)] == ["firing", "resolved", "firing"]
    assert list_alerts(bench.client)[0].episode == 2


def test_back_dated_exceptions_page_nobody(bench: Bench, receiver: Receiver) -> None:
    """What opened longer ago than the maximum age is recorded as historic; neither it nor its end is sent."""
    row = bench.open(opened_at=bench.clock.now() - timedelta(hours=25))
    worker = bench.worker()

    opened = worker.run_once()
    state = list_alerts(bench.client)[0].state
    bench.resolve(row)
    worker.run_once()

    assert opened.decisions == {Reason.HISTORIC: 1}
    assert state is AlertState.HISTORIC
    assert list_alerts(bench.client)[0].state is AlertState.RESOLVED
    assert told(receiver) == []
    assert list_deliveries(bench.client) == []


def test_what_was_over_before_anyone_looked_is_not_told(bench: Bench, receiver: Receiver) -> None:
    """An exception that is first seen resolved or deleted makes nothing."""
    bench.write(replace(bench.open(), resolved_at=bench.clock.now()))
    bench.write(replace(bench.open(anchor=Key("purchase_order", "", "PO-2")), is_deleted=True))

    report = bench.worker().run_once()

    assert report.decisions == {Reason.NONE: 2}
    assert told(receiver) == []
    assert list_alerts(bench.client) == []


def test_a_rising_severity_is_told(bench: Bench, receiver: Receiver) -> None:
    """A warning that becomes a page is told once more in the same episode; falling back is not."""
    row = bench.open(severity="warning")
    worker = bench.worker()
    worker.run_once()

    for severity in ("page", "warning", "page"):
        bench.write(replace(row, severity=severity))
        worker.run_once()

    bodies = [json.loads(request.body)["data"] for request in receiver.received]
    assert [(body["decision"], body["severity"]) for body in bodies] == [("first", "warning"), ("more", "page")]


def test_an_open_alert_is_repeated_when_asked_for(embedded_bench: Bench, receiver: Receiver) -> None:
    """With a repeat interval an open alert is told again, and one that is over is not."""
    bench = embedded_bench
    row = bench.open()
    worker = bench.worker(repeat_every=timedelta(hours=4))
    worker.run_once()

    bench.clock.advance(timedelta(hours=3))
    worker.run_once()
    bench.clock.advance(timedelta(hours=1))
    worker.run_once()
    bench.resolve(row)
    bench.clock.advance(timedelta(hours=5))
    worker.run_once()

    decisions = [json.loads(request.body)["data"]["decision"] for request in receiver.received]
    assert decisions == ["first", "repeat", "resolved"]


def test_without_a_receiver_alerts_are_recorded(bench: Bench, receiver: Receiver) -> None:
    """Without a webhook the decisions stand in the store, and a receiver set later hears nothing of their end."""
    row = bench.open()

    report = bench.worker(webhook_url="").run_once()
    bench.clock.advance(timedelta(minutes=1))
    bench.resolve(row)
    bench.worker("second").run_once()
    bench.clock.advance(timedelta(minutes=1))
    bench.worker("second").run_once()

    assert report.decisions == {Reason.FIRST: 1}
    assert status(bench.client, bench.clock.now()).pending == 0
    assert list_alerts(bench.client)[0].state is AlertState.RESOLVED
    assert told(receiver) == []


def test_a_storm_is_ranked_and_bounded(bench: Bench, receiver: Receiver) -> None:
    """So many notifications go out per minute, the most severe and then the most expensive first; the rest waits."""
    severities = ("notice", "warning", "page")
    rows = [
        replace(
            bench_row(bench, number),
            severity=severities[number % 3],
            amount=Decimal(number),
        )
        for number in range(12)
    ]
    bench.write(*rows)
    worker = bench.worker(per_minute=5)

    first = worker.run_once()
    held = worker.run_once()
    waiting = status(bench.client, bench.clock.now())
    bench.clock.advance(timedelta(minutes=1))
    second = worker.run_once()

    assert (first.outbox.sent, first.outbox.queued) == (5, 7)
    assert (held.outbox.sent, held.outbox.queued) == (0, 7)
    assert (waiting.due, waiting.sent) == (7, 5)
    assert (second.outbox.sent, second.outbox.queued) == (5, 2)
    assert [value for _, value in told(receiver)] == [f"PO-{number}" for number in (11, 8, 5, 2, 10, 7, 4, 1, 9, 6)]


def test_resolved_waits_for_firing(bench: Bench, receiver: Receiver) -> None:
    """A resolved notification never overtakes the firing one that could not be delivered yet."""
    row = bench.open()
    worker = bench.worker()
    receiver.answer(Reply(400))
    worker.run_once()
    bench.resolve(row)
    bench.clock.advance(timedelta(seconds=3))
    worker.run_once()
    received_before_its_time = len(receiver.received)

    bench.clock.advance(timedelta(seconds=3))
    worker.run_once()
    worker.run_once()

    assert received_before_its_time == 1
    assert [kind for kind, _ in told(receiver)] == ["firing", "firing", "resolved"]
    ids = [request.headers["webhook-id"] for request in receiver.received]
    assert ids[0] == ids[1] != ids[2]


def bench_row(bench: Bench, number: int) -> Any:
    """Return an open exception of its own purchase order."""
    from tests.factories import exception

    return exception(
        anchor=Key("purchase_order", "", f"PO-{number}"), opened_at=bench.clock.now() - timedelta(minutes=1)
    )


def test_the_outbox_says_what_became_of_each_notification(bench: Bench, receiver: Receiver) -> None:
    """Each attempt is recorded: how many, the answer, the error, and when the next one is due."""
    bench.open()
    worker = bench.worker()
    receiver.answer(Reply(500, body=b"out of order"))

    worker.run_once()
    failed = list_deliveries(bench.client)[0]
    bench.clock.advance(timedelta(seconds=5))
    worker.run_once()
    sent = list_deliveries(bench.client)[0]

    assert (failed.state, failed.attempt, failed.response_status) == (DeliveryState.PENDING, 1, 500)
    assert failed.last_error == "The receiver answered 500: out of order"
    assert failed.next_attempt_at == failed.updated_at + timedelta(seconds=5)
    assert (sent.state, sent.attempt, sent.response_status, sent.last_error) == (DeliveryState.SENT, 2, 200, "")
