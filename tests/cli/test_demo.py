"""The demo command: from nothing to a resolved history, and its refusals in a sentence."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from controltower.cli.demo.waiting import PATIENCE_S, wait_until_resolved
from controltower.cli.errors import CommandError
from controltower.store.truth_reads import Progress
from tests.cli.conftest import Run
from tests.cli.otlp_recorder import recording

SOME = Progress(loaded=5, newest_us=10, position_us=10)


def controltower(data: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as a process of its own: the embedded engine holds one folder per process."""
    return subprocess.run(
        [sys.executable, "-m", "controltower.cli", *words, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "NO_PROXY": "*"},
        check=False,
    )


@pytest.mark.slow
def test_a_history_is_sent_resolved_and_scored(tmp_path: Path) -> None:
    """Without a running serve the demo starts one for its time; every path it leaves behind is right."""
    data, truth = tmp_path / "data", tmp_path / "truth.jsonl"
    made = controltower(data, "demo", "--seed", "31", "--transactions", "60", "--shuffle", "--truth", str(truth))
    scored = controltower(data, "score", str(truth), "--json")

    assert made.returncode == 0, made.stderr
    assert "loaded and resolved" in made.stdout
    assert "next: controltower trace PO-" in made.stdout
    figures = json.loads(scored.stdout)
    assert figures["worst"] == []
    assert (figures["membership"]["precision"], figures["membership"]["recall"]) == (1.0, 1.0)
    assert not (data / "serve.json").exists()


def test_it_sends_to_a_collector_elsewhere(run: Run, tmp_path: Path) -> None:
    """With an endpoint it sends there and does not wait for a store that it cannot see."""
    with recording() as recorder:
        ran = run("demo", "--transactions", "20", "--end", "2026-11-20T16:00:00Z", "--endpoint", recorder.url)
        spans = len(recorder.spans())

    assert ran.code == 0, ran.err
    assert "not waited for" in ran.out
    assert f"{spans:,} in" in ran.out
    assert not (tmp_path / "data").exists()


def test_same_seed_and_end_same_truth(run: Run, tmp_path: Path) -> None:
    """The truth file is the same byte by byte when seed, size and end are the same."""
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    with recording() as recorder:
        for file in files:
            words = ["--transactions", "20", "--end", "2026-11-20T16:00:00Z", "--endpoint", recorder.url]
            assert run("demo", *words, "--truth", str(file)).code == 0

    assert files[0].read_bytes() == files[1].read_bytes()


def test_nobody_listens(run: Run) -> None:
    """Without a collector at the endpoint nothing is planned; the sentence says what to do."""
    ran = run("demo", "--endpoint", "http://127.0.0.1:9")

    assert ran.code == 1
    assert "No collector takes spans at http://127.0.0.1:9" in ran.err


def test_the_wrong_token(run: Run) -> None:
    """A refused token is named as such."""
    with recording() as recorder:
        recorder.status = 401
        ran = run("demo", "--endpoint", recorder.url, "--token", "wrong")

    assert ran.code == 1
    assert "refuses the token" in ran.err
    assert "wrong" not in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["--transactions", "many"],
        ["--transactions", "50001"],
        ["--live", "0"],
        ["--live", "1000"],
        ["--over", "-1"],
        ["--days", "0"],
        ["--end", "yesterday"],
        ["--seed", "x"],
    ],
)
def test_a_bad_value_is_refused(run: Run, words: list[str]) -> None:
    """A value out of range is a usage error that names it."""
    ran = run("demo", *words)

    assert ran.code == 2
    assert words[1] in ran.err


def test_truth_and_live_exclude_each_other(run: Run) -> None:
    """What really happens live is not known beforehand."""
    ran = run("demo", "--live", "1", "--truth", "t.jsonl")

    assert ran.code == 1
    assert "--truth without --live" in ran.err


def test_waiting_ends_when_all_is_resolved() -> None:
    """Waiting goes on until everything is loaded and the engine has read it."""
    seen = iter([replace(SOME, loaded=3), replace(SOME, newest_us=20), SOME])
    looks: list[int] = []
    wait_until_resolved(
        lambda: next(seen),
        5,
        wait=lambda seconds: False,
        elapsed_s=lambda: 0.0,
        say=lambda done, total: looks.append(done),
    )

    assert looks == [3, 5, 5]


@pytest.mark.parametrize(
    ("stuck", "sentence"),
    [(replace(SOME, loaded=3), "only 3 are loaded"), (replace(SOME, position_us=1), "engine has not resolved")],
)
def test_waiting_ends_when_nothing_moves(stuck: Progress, sentence: str) -> None:
    """A wait without progress ends with a sentence that says where things are stuck."""
    now = [0.0]

    def wait(seconds: float) -> bool:
        now[0] += 10
        return False

    with pytest.raises(CommandError, match=sentence):
        wait_until_resolved(lambda: stuck, 5, wait=wait, elapsed_s=lambda: now[0], say=lambda done, total: None)
    assert now[0] > PATIENCE_S
