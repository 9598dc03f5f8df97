"""Loops of a running process: retried for ever, never silent."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.cli.loops import FIRST_BACKOFF_S, LONGEST_BACKOFF_S, Loop, Work, backoff_s

WAIT_S = 20.0


class Part:
    """Work that fails as often as it is told, and counts."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.opened = 0
        self.closed = 0
        self.worked = threading.Event()

    @contextmanager
    def opening(self) -> Iterator[Work]:
        """Open, and count it."""
        self.opened += 1
        try:
            yield self.work
        finally:
            self.closed += 1

    def work(self) -> bool:
        """Fail or succeed."""
        if self.failures:
            self.failures -= 1
            raise OSError("no answer")
        self.worked.set()
        return False


def test_a_failure_opens_again_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """A failing round is logged and counted, what was open is closed, and the loop goes on."""
    part = Part(failures=1)
    loop = Loop("engine", part.opening, interval_s=60)
    with caplog.at_level(logging.INFO):
        loop.start()
        assert part.worked.wait(WAIT_S)
        loop.ask_to_stop()
        assert loop.join(WAIT_S)

    assert (part.opened, part.closed) == (2, 2)
    assert loop.status.failures == 1
    assert loop.status.ok
    assert "engine failed, 1 times in a row: OSError: no answer" in caplog.text
    assert "engine works again after 1 failures" in caplog.text


def test_a_failing_loop_says_so() -> None:
    """While a loop fails, its status says why."""
    failed = threading.Event()

    def refuse() -> bool:
        failed.set()
        raise ConnectionError("refused")

    @contextmanager
    def opening() -> Iterator[Work]:
        yield refuse

    loop = Loop("drain", opening, interval_s=60)
    loop.start()
    assert failed.wait(WAIT_S)
    loop.ask_to_stop()
    assert loop.join(WAIT_S)

    assert not loop.status.ok
    assert loop.status.last_error == "ConnectionError: refused"


def test_more_work_starts_at_once() -> None:
    """A round that leaves work behind is followed by the next without a pause."""
    rounds = iter([True, True, False])
    done = threading.Event()

    def work() -> bool:
        more = next(rounds)
        if not more:
            done.set()
        return more

    @contextmanager
    def opening() -> Iterator[Work]:
        yield work

    loop = Loop("engine", opening, interval_s=3600)
    loop.start()

    assert done.wait(WAIT_S)
    loop.ask_to_stop()
    assert loop.join(WAIT_S)


def test_a_loop_that_was_never_started_is_stopped() -> None:
    """Stopping before the start is harmless."""
    loop = Loop("engine", Part(0).opening, interval_s=1)
    loop.ask_to_stop()

    assert loop.join(0)


@given(st.integers(min_value=1, max_value=10_000))
def test_pauses_grow_up_to_a_limit(failing: int) -> None:
    """Pauses double from the first one and never exceed the longest."""
    assert FIRST_BACKOFF_S <= backoff_s(failing) <= LONGEST_BACKOFF_S
    assert backoff_s(failing) <= backoff_s(failing + 1)


def test_a_woken_loop_does_not_wait_for_its_interval() -> None:
    """Waking starts the next round at once, also when it comes while a round runs."""
    rounds = threading.Semaphore(0)

    @contextmanager
    def opening() -> Iterator[Work]:
        def work() -> bool:
            rounds.release()
            return False

        yield work

    loop = Loop("part", opening, interval_s=3600)
    loop.start()
    try:
        for _ in range(3):
            assert rounds.acquire(timeout=WAIT_S)
            loop.wake()
    finally:
        loop.ask_to_stop()

    assert loop.join(WAIT_S)
