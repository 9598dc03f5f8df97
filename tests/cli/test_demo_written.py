"""The simulated systems as logs that a scraper reads: judged as what the SDK sends."""

import json
from pathlib import Path
from typing import Any

import pytest

from controltower.tracer.testing import REDACTION_KEY
from tests.cli.conftest import Run
from tests.processes import tower, until


@pytest.mark.slow
def test_a_history_is_written_scraped_and_scored(tmp_path: Path) -> None:
    """What nobody sent is read from the logs of all systems; every path, deadline and match is as it really was."""
    logs, truth = tmp_path / "logs", tmp_path / "truth.jsonl"
    words = ["--scenario", "specialty", "--seed", "31", "--transactions", "25", "--write", str(logs)]
    environment = {"CONTROLTOWER_REDACTION_KEY": REDACTION_KEY}
    with tower(tmp_path / "data", environment=environment) as running:
        made = running.run("demo", *words, "--truth", str(truth))
        running.serve()
        running.run("scrape", str(logs / "sources.yaml"), "--once")
        figures = until(lambda: whole(running.run("score", str(truth), "--json")), "all is resolved")

    assert f"next: controltower scrape {logs / 'sources.yaml'} --once" in made
    assert (figures["state"], figures["deadlines"], figures["matches"]) == (1.0, 1.0, 1.0)
    assert figures["worst"] == []


def whole(scored: str) -> dict[str, Any]:
    """Return the figures of a score once nothing differs, nothing before."""
    figures: dict[str, Any] = json.loads(scored)
    return {} if figures["worst"] else figures


def test_what_is_written_is_not_sent(run: Run, tmp_path: Path) -> None:
    """Options of sending contradict --write, and are named."""
    ran = run("demo", "--write", str(tmp_path / "logs"), "--shuffle")

    assert ran.code == 1
    assert "leave out --shuffle" in ran.err
    assert not (tmp_path / "logs").exists()
