"""The bench command: from nothing to figures, and its refusals in a sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.slow
def test_figures_of_a_collector_of_its_own(tmp_path: Path) -> None:
    """Without a running serve one is started in a folder of its own; every acknowledged span becomes visible."""
    words = ["bench", "ingest", "--json", "--sizes", "1,512", "--connections", "4", "--spans", "2000", "--seconds", "2"]
    ran = subprocess.run(
        [sys.executable, "-m", "controltower.cli", *words, "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "NO_PROXY": "*", "TMPDIR": str(tmp_path)},
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    cases = json.loads(ran.stdout)["cases"]
    assert {case["spans_per_request"] for case in cases} == {1, 512}
    for case in cases:
        assert case["visible"] == case["acknowledged"] == case["sent"]
        assert case["collector_cpu_s"] > 0
        assert case["collector_peak_bytes"] > 0
    assert not (tmp_path / "data").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_figures_of_the_engine(tmp_path: Path) -> None:
    """All steps are resolved, the later halves of transactions join their earlier ones, and nothing is left behind."""
    ran = subprocess.run(
        [sys.executable, "-m", "controltower.cli", "bench", "resolve", "--json", "--steps", "600", "--cycles", "2",
         "--lookups", "5"],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [found["from_scratch"]["steps"], *(cycle["steps"] for cycle in found["cycles"])] == [600, 200, 200]
    assert found["stored_steps"] == 1000
    assert 50 < found["transactions"] < 200
    assert found["trace"]["lookups"] == 5
    assert found["trace"]["p99_s"] >= found["trace"]["p50_s"] > 0
    assert found["from_scratch"]["cpu_s"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sizes", "0"], "above 0"),
        (["--sizes", "1,1000000"], "100,000 is the most"),
        (["--transports", "smoke"], "not a list of http and grpc"),
        (["--seconds", "10000"], "more than 3600"),
    ],
)
def test_what_is_not_possible_is_named(run: Run, words: list[str], said: str) -> None:
    """A bad number or transport is refused before anything starts."""
    ran = run("bench", "ingest", *words)

    assert ran.code == 2
    assert said in ran.err


@pytest.mark.slow
def test_figures_of_a_scraper(tmp_path: Path) -> None:
    """Every line of every format becomes an acknowledged span, and nothing is left behind."""
    ran = subprocess.run(
        [sys.executable, "-m", "controltower.cli", "bench", "scrape", "--json", "--lines", "3000",
         "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "NO_PROXY": "*", "TMPDIR": str(tmp_path)},
        check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    cases = json.loads(ran.stdout)["cases"]
    assert [case["format"] for case in cases] == ["text", "json", "access_combined", "x12"]
    for case in cases:
        assert case["lines"] == 3000
        assert case["scraper_cpu_s"] > 0
        assert case["collector_cpu_s"] > 0
    assert list(tmp_path.iterdir()) == []
