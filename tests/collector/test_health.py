"""Liveness and readiness over a real socket."""

import errno
from dataclasses import replace
from pathlib import Path

from controltower.collector.settings import Settings
from tests.collector.requests import Tower, request_of, running, span
from tests.tracer.journals import BrokenDisk

SETTINGS = Settings(port=0)


def test_alive(tower: Tower) -> None:
    """The process answers, whatever its journal and store do; no token is needed."""
    answer = tower.get("/healthz")

    assert (answer.status, answer.json) == (200, {"alive": True})


def test_ready_with_the_numbers(tower: Tower) -> None:
    """Readiness shows the backlog and the counters."""
    tower.send(request_of(span(1), span(2), span(3, trace_id=b"")))
    tower.send(b"garbage")
    answer = tower.get("/readyz")

    assert answer.status == 200
    assert answer.json["ready"] is True
    assert answer.json["journals"]["traces"]["segments"] == 1
    assert answer.json["metrics"]["items_accepted"] == 2
    assert answer.json["metrics"]["items_rejected"] == 1
    assert answer.json["metrics"]["refusals"] == {"malformed": 1}


def test_not_ready_when_the_store_is_away(tmp_path: Path) -> None:
    """It says what the store said; requests are still taken."""
    with running(tmp_path, store_problem=lambda: "Connection refused.") as tower:
        answer = tower.get("/readyz")

        assert answer.status == 503
        assert answer.json["problems"] == ["Connection refused."]
        assert tower.send(request_of(span(1))).status == 200


def test_not_ready_when_loading_is_behind(tmp_path: Path) -> None:
    """The age of the oldest body that is not loaded counts."""
    now = [1_760_000_000_000_000_000]
    with running(tmp_path, replace(SETTINGS, ready_lag_s=60.0), clock=lambda: now[0]) as tower:
        tower.send(request_of(span(1)))
        before = tower.get("/readyz")
        now[0] += 61 * 10**9
        after = tower.get("/readyz")

    assert before.status == 200
    assert after.status == 503
    assert after.json["lag_s"] == 61.0
    assert after.json["problems"] == ["The oldest request of traces that is not loaded is 61 s old."]


def test_not_ready_when_the_disk_fails(tmp_path: Path) -> None:
    """The last write's error shows until one succeeds."""
    disk = BrokenDisk()
    with running(tmp_path, disk=disk) as tower:
        disk.fails["sync"] = errno.EIO
        tower.send(request_of(span(1)))
        failing = tower.get("/readyz")
        disk.fails.clear()
        tower.send(request_of(span(2)))

        assert failing.status == 503
        assert "cannot be written" in failing.json["problems"][0]
        assert tower.get("/readyz").status == 200


def test_not_ready_when_the_journal_is_full(tmp_path: Path) -> None:
    """A journal that cannot take another segment is a reason to look, before it refuses."""
    with running(tmp_path, replace(SETTINGS, journal_bytes=1_000, segment_bytes=500)) as tower:
        for number in range(1, 20):
            tower.send(request_of(span(number)))
        answer = tower.get("/readyz")

    assert answer.status == 503
    assert len(answer.json["problems"]) == 1
    assert answer.json["problems"][0].startswith("The journal of traces has ")
    assert answer.json["problems"][0].endswith(" bytes left; requests are refused.")


def test_not_ready_when_the_journal_is_nearly_full(tmp_path: Path) -> None:
    """F43: nine tenths of its room used are a problem, half of it is a number to look at."""
    with running(tmp_path, replace(SETTINGS, journal_bytes=10_000, segment_bytes=100, segment_age_s=3600.0)) as tower:
        half, full = None, None
        for number in range(1, 200):
            tower.send(request_of(span(number)))
            answer = tower.get("/readyz")
            fullness = answer.json["journals"]["traces"]["fullness"]
            half = answer if half is None and fullness >= 0.5 else half
            full = answer if full is None and fullness >= 0.9 else full

    assert half is not None
    assert half.status == 200
    assert full is not None
    assert full.status == 503
    assert "of its room" in full.json["problems"][0]
