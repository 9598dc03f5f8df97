"""Bad receivers, crashes, storms and several workers: each notification arrives, with one id."""

import json
import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controltower.alerts import sender as sender_module
from controltower.alerts.addresses import parse_allowance
from controltower.alerts.outbound import TIMEOUT_S, Answer, Door
from controltower.alerts.sender import enable
from controltower.alerts.settings import AlertSettings
from controltower.alerts.worker import AlertWorker
from controltower.store import outbox
from controltower.store.address import StoreAddress
from controltower.store.alert_rows import Alert, Delivery, DeliveryState
from controltower.store.client import Client, connect
from controltower.store.errors import StoreUnavailableError
from controltower.store.outbox import list_alerts, list_deliveries, status
from controltower.store.rows import Key
from tests.alerts.conftest import Bench
from tests.alerts.receiver import Receiver, Reply, receiving
from tests.conftest import ManualClock
from tests.factories import exception


def ids(receiver: Receiver) -> list[str]:
    """Return the id of every request received."""
    return [request.headers["webhook-id"] for request in receiver.received]


def kinds(receiver: Receiver) -> list[str]:
    """Return the kind of every notification received."""
    return [json.loads(request.body)["type"].rsplit(".", 1)[1] for request in receiver.received]


def orders(bench: Bench, count: int) -> None:
    """Write *count* open exceptions, each of its own order, in one cycle of the engine."""
    opened = bench.clock.now() - timedelta(minutes=1)
    bench.write(
        *(exception(anchor=Key("purchase_order", "", f"PO-{number}"), opened_at=opened) for number in range(count))
    )


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(302, {"location": "http://169.254.169.254/"}),
        Reply(404),
        Reply(reset=True),
        Reply(hang=True),
        Reply(503, body=b"x" * 100_000),
    ],
    ids=["500", "302", "404", "reset", "hang", "large"],
)
def test_whatever_goes_wrong_the_notification_arrives_under_one_id(
    embedded_bench: Bench, receiver: Receiver, reply: Reply
) -> None:
    """Every kind of failure is tried again by the schedule, with the same id and body and a fresh signature."""
    bench = embedded_bench
    bench.open()
    door = Door(bench.settings.allow, timeout_s=3.0 if reply.hang else TIMEOUT_S)
    worker = AlertWorker(bench.client, bench.settings, bench.clock, door=door)
    receiver.answer(reply, reply)

    for wait in (timedelta(0), timedelta(seconds=5), timedelta(minutes=5)):
        bench.clock.advance(wait)
        worker.run_once()
    after = [worker.run_once().outbox.sent for _ in range(2)]

    assert len(set(ids(receiver))) == 1
    assert len(ids(receiver)) == 3
    assert len({request.body for request in receiver.received}) == 1
    assert len({request.headers["webhook-signature"] for request in receiver.received}) == 3
    assert after == [0, 0]
    assert list_deliveries(bench.client)[0].state is DeliveryState.SENT


def test_after_the_last_attempt_a_notification_is_dead_kept_and_counted(
    embedded_bench: Bench, receiver: Receiver
) -> None:
    """Ten attempts over 75 h 35 min 5 s, then nobody tries again and the store says so."""
    bench = embedded_bench
    bench.open()
    worker = bench.worker()
    receiver.answer(*[Reply(400, body=b"no")] * 20)

    for _ in range(200):
        worker.run_once()
        bench.clock.advance(timedelta(minutes=30))

    found = status(bench.client, bench.clock.now())
    assert len(receiver.received) == 10
    assert (found.dead, found.pending, found.last_error) == (1, 0, "The receiver answered 400: no")
    assert list_alerts(bench.client)[0].state == "firing"


def test_a_receiver_that_asks_to_wait_is_left_alone(embedded_bench: Bench, receiver: Receiver) -> None:
    """Retry-After holds for the notification and for the others: nothing is sent before."""
    bench = embedded_bench
    orders(bench, 3)
    worker = bench.worker()
    receiver.answer(Reply(429, {"retry-after": "90"}))

    first = worker.run_once()
    bench.clock.advance(timedelta(seconds=89))
    early = worker.run_once()
    bench.clock.advance(timedelta(seconds=1))
    after = worker.run_once()

    assert (first.outbox.failed, first.outbox.queued) == (1, 2)
    assert (early.outbox.sent, early.outbox.queued) == (0, 2)
    assert after.outbox.sent == 3
    assert Counter(Counter(ids(receiver)).values()) == {1: 2, 2: 1}


def test_a_receiver_in_trouble_costs_one_attempt_per_pause(embedded_bench: Bench, receiver: Receiver) -> None:
    """While a receiver is down the queue does not burn its attempts, and everything arrives when it is back."""
    bench = embedded_bench
    orders(bench, 5)
    worker = bench.worker()
    receiver.answer(*[Reply(502)] * 4)

    attempts = []
    for _ in range(8):
        worker.run_once()
        attempts.append(len(receiver.received))
        bench.clock.advance(timedelta(seconds=1))
    for _ in range(20):
        bench.clock.advance(timedelta(minutes=1))
        worker.run_once()

    assert attempts[:4] == [1, 2, 2, 3]
    assert len(set(ids(receiver))) == 5
    assert status(bench.client, bench.clock.now()).sent == 5


def test_gone_switches_the_receiver_off_until_it_is_enabled(embedded_bench: Bench, receiver: Receiver) -> None:
    """After 410 nothing is sent to this URL, also after a restart; another URL and a person's word end that."""
    bench = embedded_bench
    orders(bench, 3)
    worker = bench.worker()
    receiver.answer(Reply(410))

    gone = worker.run_once()
    bench.clock.advance(timedelta(minutes=10))
    later = [worker.run_once(), bench.worker("restarted").run_once()]
    received = len(receiver.received)
    enable(bench.client, endpoint(worker))
    bench.clock.advance(timedelta(minutes=1))
    enabled = worker.run_once()

    assert gone.outbox.disabled
    assert (gone.outbox.dead, gone.outbox.queued) == (1, 2)
    assert [(report.outbox.sent, report.outbox.disabled) for report in later] == [(0, True)] * 2
    assert received == 1
    assert enabled.outbox.sent == 2


def endpoint(worker: AlertWorker) -> str:
    """Return the name of the worker's receiver."""
    found = worker.endpoint
    assert found is not None
    return found


def test_another_url_is_not_switched_off_by_the_old_ones_410(embedded_bench: Bench, receiver: Receiver) -> None:
    """What waits goes to the receiver that is set now."""
    bench = embedded_bench
    orders(bench, 2)
    receiver.answer(Reply(410))
    first = bench.worker()
    first.run_once()
    first.close()

    with receiving(path="/new") as other:
        report = bench.worker("second", webhook_url=other.url).run_once()

        assert report.outbox.sent == 1
        assert len(other.received) == 1


class CrashError(Exception):
    """Stands for the end of the process."""


class CrashingDoor(Door):
    """A door through which the request goes, and the process ends before it hears of the answer."""

    def post(self, *arguments: Any) -> Answer:
        """Send, and crash."""
        super().post(*arguments)
        raise CrashError


def test_a_crash_between_sent_and_recorded_sends_again_with_the_same_id(bench: Bench, receiver: Receiver) -> None:
    """At most one duplicate, with the same id and body; never none."""
    bench.open()
    crashing = AlertWorker(
        bench.client, bench.settings, bench.clock, door=CrashingDoor(bench.settings.allow), owner="first"
    )
    with pytest.raises(CrashError):
        crashing.run_once()

    standby = bench.worker("second").run_once()
    bench.clock.advance(timedelta(seconds=30))
    bench.worker("second").run_once()
    bench.worker("second").run_once()

    assert standby.standby
    assert len(receiver.received) == 2
    assert len(set(ids(receiver))) == 1
    assert receiver.received[0].body == receiver.received[1].body


@pytest.mark.parametrize("kind", [Alert, Delivery])
@pytest.mark.parametrize("written", [False, True])
def test_a_crash_at_any_write_loses_and_doubles_nothing(
    embedded_bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, kind: type, written: bool
) -> None:
    """Before or after the decision is written, before or after its notification: one firing and one resolved arrive."""
    bench = embedded_bench
    row = bench.open()
    armed = threading.Event()
    armed.set()

    def crash(client: Client, rows: Any) -> None:
        hit = bool(rows) and isinstance(rows[0], kind) and armed.is_set()
        if not hit or written:
            outbox.record(client, rows)
        if hit:
            armed.clear()
            raise CrashError

    monkeypatch.setattr("controltower.alerts.worker.record", crash)
    monkeypatch.setattr(sender_module, "record", crash)
    with pytest.raises(CrashError):
        bench.worker("first").run_once()
    bench.resolve(row) if armed.is_set() else None
    bench.clock.advance(timedelta(seconds=30))

    second = bench.worker("second")
    second.run_once()
    bench.resolve(row)
    for _ in range(3):
        second.run_once()

    assert kinds(receiver) == ["firing", "resolved"]


def test_an_exception_that_ends_while_the_worker_is_down_is_told_to_the_end(
    embedded_bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision whose notification was not written is repaired before the next one about the same thing is taken."""
    bench = embedded_bench
    row = bench.open()

    def crash(client: Client, rows: Any) -> None:
        outbox.record(client, rows)
        if rows and isinstance(rows[0], Alert):
            raise CrashError

    with monkeypatch.context() as patched:
        patched.setattr("controltower.alerts.worker.record", crash)
        with pytest.raises(CrashError):
            bench.worker("first").run_once()
    bench.resolve(row)
    bench.clock.advance(timedelta(seconds=30))

    second = bench.worker("second")
    report = second.run_once()
    second.run_once()

    assert report.repaired == 1
    assert kinds(receiver) == ["firing", "resolved"]


def test_a_failing_cycle_of_the_same_worker_is_put_right_by_the_next(
    embedded_bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails between the two writes costs a cycle, not a notification."""
    bench = embedded_bench
    bench.open()
    worker = bench.worker()

    def fail(client: Client, rows: Any) -> None:
        if rows and isinstance(rows[0], Delivery):
            raise StoreUnavailableError("gone for a moment")
        outbox.record(client, rows)

    with monkeypatch.context() as patched:
        patched.setattr("controltower.alerts.worker.record", fail)
        with pytest.raises(StoreUnavailableError):
            worker.run_once()
    report = worker.run_once()

    assert report.repaired == 1
    assert kinds(receiver) == ["firing"]


def test_two_workers_send_each_notification_once(
    any_store: Client, any_address: StoreAddress, settings: AlertSettings, receiver: Receiver, clock: ManualClock
) -> None:
    """Workers that run beside each other on one store do not send anything twice."""
    bench = Bench(any_store, settings, clock)
    orders(bench, 20)
    barrier = threading.Barrier(3)

    def work(owner: str) -> int:
        client = connect(any_address)
        try:
            worker = AlertWorker(client, settings, clock, owner=owner)
            sent = 0
            for _ in range(5):
                barrier.wait(60)
                sent += worker.run_once().outbox.sent
            return sent
        finally:
            client.close()

    with ThreadPoolExecutor(3) as pool:
        sent = list(pool.map(work, ["a", "b", "c"]))

    assert sum(sent) == 20
    assert len(ids(receiver)) == len(set(ids(receiver))) == 20


def test_a_storm_of_ten_thousand_is_queued_and_counted(embedded_bench: Bench, receiver: Receiver) -> None:
    """Everything is decided at once and stands in the outbox; so many a minute go out, the rest is visible."""
    bench = embedded_bench
    orders(bench, 10_050)
    worker = bench.worker()

    first = worker.run_once()
    again = worker.run_once()
    found = status(bench.client, bench.clock.now())

    assert first.read == sum(first.decisions.values()) == 10_050
    assert (first.outbox.sent, first.outbox.queued) == (50, 10_000)
    assert (again.read, again.outbox.sent, again.outbox.queued) == (0, 0, 10_000)
    assert (found.alerts, found.pending, found.due, found.sent) == ({"firing": 10_050}, 10_000, 10_000, 50)


def test_what_nobody_took_for_seven_days_is_given_up(embedded_bench: Bench, receiver: Receiver) -> None:
    """A queue that cannot be sent ends: the notification is dead, with the last error."""
    bench = embedded_bench
    orders(bench, 2)
    worker = bench.worker(per_minute=1)
    receiver.answer(Reply(500, {"retry-after": "864000"}))

    worker.run_once()
    bench.clock.advance(timedelta(days=7, seconds=1))
    bench.open(anchor=Key("purchase_order", "", "fresh"))
    worker.run_once()

    found = {json.loads(row.body)["data"]["anchor"]["value"]: row for row in list_deliveries(bench.client)}
    assert found["fresh"].state is DeliveryState.SENT
    assert {found["PO-0"].state, found["PO-1"].state} == {DeliveryState.DEAD}
    errors = sorted(found[order].last_error for order in ("PO-0", "PO-1"))
    assert errors == ["Not delivered within 7 days.", "Not delivered within 7 days; The receiver answered 500: {}"]


def test_a_clock_that_jumps_loses_nothing(embedded_bench: Bench, receiver: Receiver) -> None:
    """An hour forth and back: no notification is lost and none is sent twice."""
    bench = embedded_bench
    orders(bench, 2)
    worker = bench.worker(per_minute=1)

    for jump in (timedelta(0), timedelta(hours=1), -timedelta(hours=1), timedelta(hours=1)):
        bench.clock.advance(jump)
        worker.run_once()

    assert len(ids(receiver)) == len(set(ids(receiver))) == 2


def test_secrets_of_the_receiver_stand_in_no_table_and_no_log(
    store_client: Client, settings: AlertSettings, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The path and the query of the URL are in no row and no log line, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    token = "T0KEN-of-the-hook"
    with receiving(path=f"/{token}?key={token}") as receiver:
        bench = Bench(store_client, replace(settings, webhook_url=receiver.url), clock)
        orders(bench, 3)
        receiver.answer(Reply(404, body=f"no /{token}".encode()), Reply(reset=True), Reply(410))
        worker = bench.worker()
        for _ in range(3):
            worker.run_once()
            clock.advance(timedelta(seconds=2))

    tables = ("alerts", "deliveries", "alert_state", "leases")
    stored = "".join(str(store_client.query(f"SELECT * FROM {table}").result_rows) for table in tables)
    assert len(receiver.received) == 3
    assert token not in stored + caplog.text + repr(worker.endpoint)


def test_a_name_that_leads_inside_is_tried_again_and_never_reached(embedded_bench: Bench, receiver: Receiver) -> None:
    """A receiver's name that resolves to an inner address is a failed attempt, recorded without a connection."""
    bench = embedded_bench
    bench.open()
    url = f"https://hooks.example.test:{receiver.port}/"
    settings = replace(bench.settings, webhook_url=url)
    door = Door(parse_allowance([]), resolve=lambda host, port: ["127.0.0.1"])

    report = AlertWorker(bench.client, settings, bench.clock, door=door).run_once()

    assert report.outbox.failed == 1
    assert receiver.received == []
    assert list_deliveries(bench.client)[0].last_error


def test_the_loop_survives_a_failing_store_and_stops_when_told(
    store_client: Client, settings: AlertSettings, receiver: Receiver, clock: ManualClock
) -> None:
    """A failing cycle is counted and done again; the loop ends at once when it is told to, and gives the lease back."""
    bench = Bench(store_client, settings, clock)
    bench.open()
    worker = bench.worker()
    stop = threading.Event()
    cycles: list[int] = []
    original = worker.run_once

    def cycle() -> Any:
        cycles.append(1)
        if len(cycles) == 1:
            raise StoreUnavailableError("gone for a moment")
        report = original()
        stop.set()
        return report

    worker.run_once = cycle  # type: ignore[method-assign]  # the loop is what is tested
    worker.run(stop)

    assert worker.failures == 1
    assert kinds(receiver) == ["firing"]
    assert not bench.worker("second").run_once().standby
