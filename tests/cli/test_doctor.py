"""``controltower doctor``: every finding with what to do about it."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controltower.cli import checks
from controltower.cli.checks import Status
from controltower.cli.data import DataFolder
from controltower.cli.settings import Settings
from controltower.store.address import StoreAddress
from controltower.store.client import connect
from controltower.store.collector_rows import CollectorSample
from controltower.store.write import insert
from tests.cli.conftest import Run, text_of
from tests.databases import migrated
from tests.scraped import say


def test_a_fresh_machine_has_no_failure(run: Run) -> None:
    """Before the first start nothing fails, and nothing is made."""
    ran = run("doctor", "--json")

    assert ran.code == 0
    assert ran.json["ok"]
    assert {check["name"] for check in ran.json["checks"]} == {
        "python",
        "packages",
        "data folder",
        "disk space",
        "fsync",
        "store",
        "journal",
        "collector",
        "intake",
        "names",
        "sources",
        "ports",
        "clock",
        "webhook",
    }


def test_every_warning_says_what_to_do(run: Run) -> None:
    """What is not well comes with an advice."""
    found = run("doctor", "--json").json["checks"]

    assert all(check["todo"] for check in found if check["status"] != "ok")


def test_a_store_that_does_not_answer_fails(run: Run) -> None:
    """A failure is told in a sentence and ends with 1."""
    ran = run("doctor", "--store", "clickhouse://127.0.0.1:1/x")

    assert ran.code == 1
    assert "fail  store" in ran.out
    assert "does not answer" in ran.out


def test_a_store_without_its_tables_is_told(store_address: StoreAddress, run_on: Callable[[StoreAddress], Run]) -> None:
    """A store that was never set up is a warning with the command that sets it up."""
    connect(store_address).close()

    assert "run `controltower migrate`" in run_on(store_address)("doctor").out


def test_a_folder_open_to_others_is_told(tmp_path: Path) -> None:
    """A data folder that other users can read is a warning."""
    tmp_path.chmod(0o755)
    found = checks.data_folder(DataFolder(tmp_path))

    assert found.status is Status.WARN
    assert found.todo == f"chmod 700 {tmp_path}"


def test_what_was_set_aside_is_told(tmp_path: Path) -> None:
    """Backlog and quarantine of the journal are counted, the reasons not as files of their own."""
    folder = DataFolder(tmp_path)
    quarantine = folder.journals / "traces" / "quarantine"
    quarantine.mkdir(parents=True)
    (folder.journals / "traces" / "1.otlp").write_bytes(bytes(1024 * 1024))
    (quarantine / "1.refused").write_bytes(b"x")
    (quarantine / "1.reason.json").write_bytes(b"{}")
    found = checks.journal(folder)

    assert found.status is Status.WARN
    assert found.detail == "1.0 MiB waiting, 1 set aside"


def test_a_clock_of_the_past_fails(tmp_path: Path) -> None:
    """A machine that believes in a year before this program is told to set its clock."""
    found = checks.clock(Settings(tmp_path), None, now=lambda: datetime(1999, 1, 1, tzinfo=UTC))

    assert found.status is Status.FAIL


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({}, Status.WARN),
        ({"CONTROLTOWER_WEBHOOK_URL": "https://hooks.example.org/x"}, Status.FAIL),
        (
            {
                "CONTROLTOWER_WEBHOOK_URL": "https://hooks.example.org/x",
                "CONTROLTOWER_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr",
            },
            Status.OK,
        ),
    ],
)
def test_the_webhook_is_checked(environment: dict[str, str], status: Status) -> None:
    """Without a webhook nobody is told; with a wrong one `serve` would not start."""
    assert checks.webhook(environment).status is status


def test_the_cost_of_an_fsync_is_measured(tmp_path: Path) -> None:
    """The measurement names its unit and leaves nothing behind."""
    found = checks.fsync_cost(DataFolder(tmp_path))

    assert " ms (slowest of 20: " in found.detail
    assert os.listdir(tmp_path) == []


def test_what_collectors_refused_and_set_aside_is_told(store_address: StoreAddress, tmp_path: Path) -> None:
    """The numbers that they report are found in the store, with what to do."""
    now = datetime.now(UTC)
    with migrated(store_address) as client:
        settings = Settings(tmp_path, text_of(store_address))
        quiet = checks.intake(settings, None)
        insert(client, [CollectorSample(now, "tower:4318", "requests_refused", "traces", "rate", 7.0)])
        refused = checks.intake(settings, None)
        insert(client, [CollectorSample(now, "tower:4318", "quarantine_rows", "traces", "", 5.0)])
        waiting = checks.intake(settings, None)

    assert quiet.status is Status.OK
    assert (refused.status, waiting.status) == (Status.WARN, Status.WARN)
    assert "7 × rate" in refused.detail
    assert "5 rows" in waiting.detail
    assert waiting.todo == "`controltower quarantine list` says why"


def test_a_source_that_is_not_well_is_told(store_address: StoreAddress, tmp_path: Path) -> None:
    """One that is silent is a warning with the command that says more; one that was stopped is at rest."""
    now = datetime.now(UTC)
    with migrated(store_address) as client:
        settings = Settings(tmp_path, text_of(store_address))
        say(client, "erp", now, {"running": 0})
        say(client, "edi", now)
        well = checks.scraped(settings, None)
        say(client, "jobs", now - timedelta(minutes=5))
        silent = checks.scraped(settings, None)

    assert (well.status, well.detail) == (Status.OK, "1 scraped, 1 stopped")
    assert (silent.status, silent.detail) == (Status.WARN, "jobs is silent")
    assert silent.todo == "`controltower scrape status` says why"
