"""Rates: over time no more passes than is allowed, and everything that is allowed does."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.auth import Sender, Tokens
from controltower.collector.rates import MOST_SENDERS, Bucket, Quota, Rates
from controltower.collector.settings import Settings
from controltower.collector.token_file import create_token
from tests.collector.requests import request_of, running, span

STEPS = st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 500)), max_size=60)


@given(st.floats(0.5, 1_000.0), st.floats(0.1, 20.0), STEPS)
def test_no_more_passes_than_the_rate(per_s: float, burst_s: float, steps: list[tuple[float, int]]) -> None:
    """Within any time, what passes is at most burst and rate, and one request that was let in with something left."""
    bucket, now, passed = Bucket(per_s, burst_s, 0.0), 0.0, 0
    for pause_s, amount in steps:
        now += pause_s
        if not bucket.wait_s(now):
            bucket.charge(amount, now)
            passed += amount

    assert passed <= per_s * burst_s + per_s * now + 500 + 1e-6


@given(st.floats(0.5, 1_000.0), st.floats(0.1, 20.0), STEPS)
def test_who_waits_as_told_is_let_in(per_s: float, burst_s: float, steps: list[tuple[float, int]]) -> None:
    """After the time that was named, the next request passes, however large the debt was."""
    bucket, now = Bucket(per_s, burst_s, 0.0), 0.0
    for pause_s, amount in steps:
        now += pause_s
        now += bucket.wait_s(now) + 1e-6

        assert bucket.wait_s(now) == 0.0
        bucket.charge(amount, now)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Time that was counted once is not counted again."""
    bucket = Bucket(10.0, 1.0, 100.0)
    bucket.charge(20, 100.0)
    bucket.wait_s(50.0)

    assert bucket.wait_s(100.0) == pytest.approx(1.1)


def test_after_forty_days_a_sender_has_what_it_had_at_first() -> None:
    """A collector that runs for long refuses nobody for it: an idle sender has its whole burst, and no more (F55)."""
    rates, sender, later = Rates(Quota(items_per_s=10.0, burst_s=1.0)), Sender("erp", ""), 40 * 86_400.0
    rates.charge(sender, 30, 30, 0.0)
    at_first = rates.wait_s(sender, 0.0)

    fresh = rates.wait_s(sender, later)
    rates.charge(sender, 30, 30, later)

    assert fresh == 0.0
    assert rates.wait_s(sender, later) == pytest.approx(at_first)


def test_each_sender_has_its_own(tmp_path: Path) -> None:
    """What one sends too much costs no other anything; its own limits come before those of the settings."""
    rates = Rates(Quota(items_per_s=10.0, burst_s=1.0))
    loud, quiet, free = Sender("loud", ""), Sender("quiet", ""), Sender("free", "", items_per_s=0.0)
    narrow = Sender("narrow", "", items_per_s=1.0, bytes_per_s=5.0)
    for sender in (loud, free, narrow):
        rates.charge(sender, 30, 30, 0.0)

    assert rates.wait_s(loud, 0.0) == pytest.approx(2.1)
    assert rates.wait_s(quiet, 0.0) == rates.wait_s(free, 0.0) == 0.0
    assert rates.wait_s(narrow, 0.0) == pytest.approx(30.0)


def test_memory_is_bounded() -> None:
    """However many names there were, no more are remembered than there can be tokens."""
    rates = Rates(Quota(items_per_s=1.0))
    for number in range(MOST_SENDERS + 100):
        rates.wait_s(Sender(f"sender-{number}", ""), 0.0)

    assert len(rates._accounts) == MOST_SENDERS


def test_over_its_rate_a_sender_is_told_to_come_back(tmp_path: Path) -> None:
    """429 with a delay, before the body is read; another sender is served, and the refusal is counted."""
    settings = replace(Settings(port=0), source_items_per_s=0.001, source_burst_s=1_000.0)
    with running(tmp_path, settings) as tower:
        other = create_token(tmp_path / "tokens.json", "other")
        first = tower.send(request_of(span(1), span(2)))
        second = tower.send(request_of(span(3)))
        theirs = tower.send(request_of(span(4)), authorization=f"Bearer {other}")
        Tokens(tmp_path / "tokens.json")

    assert (first.status, second.status, theirs.status) == (200, 429, 200)
    assert second.headers["retry-after"] == "2"
    assert second.refusal.code == 8
    assert "more than it may" in second.refusal.message
    assert tower.metrics.snapshot()["refusals"] == {"rate": 1}


def test_bytes_count_as_they_come(tmp_path: Path) -> None:
    """A sender with a limit of its own for bytes is held to it."""
    with running(tmp_path) as tower:
        token = create_token(tmp_path / "tokens.json", "slow", bytes_per_s=0.1)
        answers = [tower.send(request_of(span(n)), authorization=f"Bearer {token}").status for n in (1, 2)]

    assert answers == [200, 429]
