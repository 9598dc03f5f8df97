"""A lease has one owner at a time."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.lease import LeaseKeeper
from tests.conftest import ManualClock

LASTS = timedelta(seconds=30)
NEEDS = timedelta(seconds=20)


def keeper(client: Client, owner: str, clock: ManualClock) -> LeaseKeeper:
    """Return a keeper of the one lease of these tests."""
    return LeaseKeeper(client, "work", owner, clock, LASTS)


def test_one_holds_and_the_others_stand_by(any_store: Client, clock: ManualClock) -> None:
    """Who has the lease keeps and renews it; another one gets it when it has ended."""
    first, second = keeper(any_store, "first", clock), keeper(any_store, "second", clock)

    assert [first.hold(NEEDS), second.hold(NEEDS), first.hold(NEEDS)] == [True, False, True]
    clock.advance(timedelta(seconds=15))
    assert [first.hold(NEEDS), second.hold(NEEDS)] == [True, False]
    clock.advance(timedelta(seconds=29))
    assert second.hold(NEEDS) is False
    clock.advance(timedelta(seconds=1))
    assert [second.hold(NEEDS), first.hold(NEEDS)] == [True, False]


def test_a_released_lease_is_free_at_once(any_store: Client, clock: ManualClock) -> None:
    """An orderly stop lets the next one begin without waiting; releasing twice is harmless."""
    first, second = keeper(any_store, "first", clock), keeper(any_store, "second", clock)
    first.hold(NEEDS)

    first.release()
    first.release()

    assert second.hold(NEEDS)
    first.release()
    assert [second.hold(NEEDS), first.hold(NEEDS)] == [True, False]


def test_a_change_of_owner_shows(any_store: Client, clock: ManualClock) -> None:
    """The term in which an owner followed another one changes then and only then, a restart included."""
    first, second = keeper(any_store, "first", clock), keeper(any_store, "second", clock)
    first.hold(NEEDS)
    begun = first.since
    clock.advance(timedelta(seconds=25))
    first.hold(NEEDS)
    renewed = first.since
    clock.advance(LASTS)
    second.hold(NEEDS)
    clock.advance(LASTS)
    first.hold(NEEDS)

    assert begun == renewed == 1
    assert first.since > second.since > renewed
    assert keeper(any_store, "new", clock).since == 0


def test_an_end_that_no_lease_can_have_does_not_lock_everyone_out(any_store: Client, clock: ManualClock) -> None:
    """A lease taken while the clock was an hour ahead does not count when it has been put right."""
    clock.advance(timedelta(hours=1))
    ahead = keeper(any_store, "ahead", clock)
    ahead.hold(NEEDS)
    clock.advance(-timedelta(hours=1))

    assert keeper(any_store, "right", clock).hold(NEEDS)
    assert not ahead.hold(NEEDS)


@pytest.mark.parametrize("rounds", [15])
def test_of_many_that_ask_at_once_one_gets_it(any_address: StoreAddress, any_store: Client, rounds: int) -> None:
    """However many ask in the same moment, each term has one owner."""
    workers = 6
    clock = ManualClock()
    barrier = threading.Barrier(workers, action=lambda: clock.advance(LASTS))
    held: Counter[tuple[int, str]] = Counter()

    def compete(owner: str) -> None:
        client = connect(any_address)
        try:
            mine = keeper(client, owner, clock)
            for number in range(rounds):
                barrier.wait(60)
                if mine.hold(NEEDS):
                    held[number, owner] += 1
        finally:
            client.close()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(compete, [f"worker {number}" for number in range(workers)]))

    assert sorted(number for number, _ in held) == list(range(rounds))
