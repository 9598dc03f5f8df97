"""The short soak of scrapers: ``python -m tests.scrape_soak`` is the long one."""

from pathlib import Path

import pytest

from tests.conftest import IN_CI, missing
from tests.scrape_soak.__main__ import shown
from tests.scrape_soak.postgresql import programs
from tests.scrape_soak.run import soak
from tests.soak.world import FAKETIME
from tests.tracer.hooked import needs

needs("pika", "psycopg", "sqlalchemy", "asyncssh", "lxml")

SEED = 7
ROUNDS = 7  # one of each fault
TRANSACTIONS = 40


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_step_is_lost_and_none_is_there_twice(tmp_path: Path) -> None:
    """Killed, rotated in a line, cut off, failed over, half written, with another clock: every path is as it really was."""
    if programs() is None:
        missing("PostgreSQL's programs are not there: no database can fail over")
    if not FAKETIME.exists() and IN_CI:
        missing("libfaketime is not installed: the clock cannot jump")
    report = soak(tmp_path, ROUNDS, TRANSACTIONS, SEED)

    assert report.flawless, shown(report) + report.said
    assert report.figures["membership"]["recall"] == 1.0
    assert (report.figures["state"], report.figures["deadlines"], report.figures["matches"]) == (1.0, 1.0, 1.0)
    assert len(report.faults) >= 5
