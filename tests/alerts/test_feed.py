"""Reading what changed: each row once, none lost, and nothing read while nothing happens."""

from dataclasses import replace
from datetime import timedelta
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.alerts.feed import OVERLAP_NS, Feed
from controltower.alerts.settings import AlertSettings
from controltower.alerts.worker import AlertWorker
from controltower.store.client import Client
from controltower.store.outbox import list_deliveries
from controltower.store.rows import ExceptionRow, Key
from controltower.store.write import insert
from tests.alerts.receiver import Receiver
from tests.conftest import ManualClock
from tests.factories import exception

SECOND_NS = 1_000_000_000


def now_ns(clock: ManualClock) -> int:
    """Return the clock's time as the engine stamps it."""
    return int(clock.now().timestamp()) * SECOND_NS


def row(number: int, version: int) -> ExceptionRow:
    """Return an open exception of its own order."""
    return exception(anchor=Key("purchase_order", "", f"PO-{number}"), version=version)


def read(feed: Feed, clock: ManualClock) -> list[str]:
    """Read what there is, and return the orders concerned."""
    found: list[str] = []
    while feed.has_news(clock.now()):
        found += [one.anchor.value for one in feed.page()]
        feed.done()
    return found


def test_each_row_is_handed_out_once(any_store: Client, clock: ManualClock) -> None:
    """Rows come in pages, once each; a row that is written again comes again."""
    feed = Feed(any_store, page=3)
    insert(any_store, [row(number, now_ns(clock)) for number in range(10)])

    first = read(feed, clock)
    again = read(feed, clock)
    insert(any_store, [row(4, now_ns(clock) + 1)])

    assert sorted(first) == sorted(f"PO-{number}" for number in range(10))
    assert again == []
    assert read(feed, clock) == ["PO-4"]


def test_a_row_that_appears_late_is_not_lost(any_store: Client, clock: ManualClock) -> None:
    """A long cycle of the engine writes rows with a version older than the newest one read."""
    feed = Feed(any_store)
    started = now_ns(clock)
    insert(any_store, [row(1, started + 20 * SECOND_NS)])
    clock.advance(timedelta(seconds=21))
    before = read(feed, clock)

    insert(any_store, [row(2, started)])
    clock.advance(timedelta(seconds=30))
    late = read(feed, clock)

    assert (before, late) == (["PO-1"], ["PO-2"])


def test_a_page_that_was_not_dealt_with_comes_again(store_client: Client, clock: ManualClock) -> None:
    """A cycle that fails reads the same page again, in this process and in the next."""
    feed = Feed(store_client, page=2)
    insert(store_client, [row(number, now_ns(clock)) for number in range(3)])
    feed.has_news(clock.now())

    cut_off = [one.anchor.value for one in feed.page()]
    assert feed.has_news(clock.now())
    assert [one.anchor.value for one in feed.page()] == cut_off
    assert sorted(read(Feed(store_client), clock)) == ["PO-0", "PO-1", "PO-2"]


def test_a_restart_goes_on_where_it_was(any_store: Client, clock: ManualClock) -> None:
    """After a restart old rows are not read again, except those of the last minute."""
    insert(any_store, [row(1, now_ns(clock) - 2 * OVERLAP_NS), row(2, now_ns(clock))])
    read(Feed(any_store), clock)
    clock.advance(timedelta(hours=5))
    insert(any_store, [row(3, now_ns(clock))])

    assert read(Feed(any_store), clock) == ["PO-2", "PO-3"]


def test_nothing_is_read_while_nothing_happens(store_client: Client, clock: ManualClock) -> None:
    """Hours of silence after a large cycle cost a few looks at most, not one every second."""
    feed = Feed(store_client)
    insert(store_client, [row(number, now_ns(clock)) for number in range(100)])
    looks = 0
    for _ in range(600):
        if feed.has_news(clock.now()):
            looks += 1
            feed.page()
            feed.done()
        clock.advance(timedelta(seconds=1))

    assert 1 <= looks <= 4


def test_an_engine_whose_clock_is_ahead_loses_nothing(store_client: Client, clock: ManualClock) -> None:
    """Versions from the future do not hide those that follow when the clock has been put right, nor after a restart."""
    feed = Feed(store_client)
    found: set[str] = set()
    for number, skew in enumerate((0, 3_600, 0, 0)):
        insert(store_client, [row(number, now_ns(clock) + skew * SECOND_NS)])
        found |= set(read(feed if number < 3 else Feed(store_client), clock))
        clock.advance(timedelta(seconds=90))

    assert found == {"PO-0", "PO-1", "PO-2", "PO-3"}


Move = Literal["open", "resolve", "delete", "again", "look", "restart"]
MOVES = st.lists(st.sampled_from(["open", "resolve", "delete", "again", "look", "restart"]), min_size=1, max_size=12)
NUMBERS = iter(range(1_000_000))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_any_history_in_the_store_is_told_episode_by_episode(
    moves: list[Move],
    store_client: Client,
    settings: AlertSettings,
    receiver: Receiver,
    clock: ManualClock,
) -> None:
    """Whatever the engine writes, and whenever workers look or restart: firing and its end alternate, once each."""
    anchor = Key("purchase_order", "", f"PO-{next(NUMBERS)}")
    worker = AlertWorker(store_client, settings, clock, owner="0")
    current: ExceptionRow | None = None
    told, is_open = 0, False
    for number, move in enumerate([*moves, "look"]):
        clock.advance(timedelta(minutes=2))
        if move == "restart":
            worker = AlertWorker(store_client, settings, clock, owner=f"{number}")
        elif move == "look":
            for _ in range(3):
                worker.run_once()
            seen = current is not None and current.resolved_at is None and not current.is_deleted
            told += seen != is_open
            is_open = seen
        elif move == "open" or current is not None:
            base = current or exception(anchor=anchor)
            changes = {
                "open": {"opened_at": clock.now(), "resolved_at": None, "is_deleted": False},
                "resolve": {"resolved_at": clock.now()},
                "delete": {"is_deleted": True},
            }.get(move, {})
            current = replace(base, version=now_ns(clock), **changes)  # type: ignore[arg-type]  # fields of the row
            insert(store_client, [current])

    events = [
        delivery.event for delivery in reversed(list_deliveries(store_client)) if f'"{anchor.value}"' in delivery.body
    ]
    assert len(events) == told
    assert events[::2] == ["firing"] * len(events[::2])
    assert set(events[1::2]) <= {"resolved", "retracted"}
