"""The short soak: faults at random under load, judged when they are over. ``python -m tests.soak`` is the long one."""

from pathlib import Path

import pytest

from tests.conftest import IN_CI, missing
from tests.soak.__main__ import shown
from tests.soak.run import soak
from tests.soak.world import FAKETIME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 7
MOST_S = 85.0


def test_what_was_acknowledged_is_there_once_over_the_embedded_engine(tmp_path: Path) -> None:
    """kill -9, a full disk and damaged bytes: nothing acknowledged is missing or doubled, all damage is in quarantine."""
    report = soak(tmp_path, MOST_S / 2, SEED, server=False)

    assert report.verdict.flawless, shown(report) + report.log
    assert report.verdict.acknowledged > 1_000
    assert report.verdict.replayed > 0
    assert report.faults["kill"] >= 1


@pytest.mark.server
def test_what_was_acknowledged_is_there_once_over_a_server(tmp_path: Path) -> None:
    """The same, with an engine that hangs, dies or comes back late, and a clock that jumps; memory stays flat."""
    if not FAKETIME.exists() and IN_CI:
        missing("libfaketime is not installed: the clock cannot jump")
    report = soak(tmp_path, MOST_S, SEED, server=True)

    assert report.verdict.flawless, shown(report) + report.log
    assert report.verdict.acknowledged > 1_000
    assert report.verdict.replayed > 0
    assert report.memory.flat, shown(report)
    assert len(report.faults) >= 3
