"""Opening the collector's journals by its settings."""

import base64
from pathlib import Path

import pytest

from controltower.collector.cipher import AesGcm
from controltower.collector.errors import SettingsError
from controltower.collector.journals import limits_of, open_journals
from controltower.collector.settings import Settings
from controltower.tracer.journal import JournalKeyError, JournalLockedError
from tests.collector.requests import request_of, running, span
from tests.tracer.journals import body, store

KEY = base64.b64encode(bytes(32)).decode()


def test_each_signal_has_a_journal(tmp_path: Path) -> None:
    """They lie beside each other, encrypted with the first key."""
    journals = open_journals(tmp_path, ["traces", "logs"], Settings(journal_key=KEY))
    store(journals["logs"], body("a secret"))
    key_ids = {journal.stats().key_id for journal in journals.values()}
    for journal in journals.values():
        journal.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "traces"]
    assert key_ids == {AesGcm([bytes(32)]).key_ids[0]}
    assert all(b"a secret" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_limits_come_from_the_settings() -> None:
    """Budget and reserve are those that were set."""
    limits = limits_of(Settings(journal_bytes=5, journal_reserve_bytes=7, segment_bytes=3, segment_age_s=2.0))

    assert (limits.budget_bytes, limits.reserve_bytes, limits.segment_bytes, limits.segment_age_s) == (5, 7, 3, 2.0)


@pytest.mark.parametrize("settings", [Settings(journal_key="short"), Settings(journal_key_file="/nowhere/keys")])
def test_a_setting_that_is_refused_touches_nothing(tmp_path: Path, settings: Settings) -> None:
    """F9: a mistake in the configuration does not cost what was there, and makes nothing."""
    with pytest.raises(SettingsError, match="JOURNAL_KEY"):
        open_journals(tmp_path / "journal", ["traces"], settings)

    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_gone_is_told(tmp_path: Path) -> None:
    """The collector does not start, and starts again with the key; the other journals are let go of."""
    journals = open_journals(tmp_path, ["traces"], Settings(journal_key=KEY))
    store(journals["traces"], body("a"))
    journals["traces"].close()
    with pytest.raises(JournalKeyError, match="not given"):
        open_journals(tmp_path, ["logs", "traces"], Settings())

    again = open_journals(tmp_path, ["logs", "traces"], Settings(journal_key=KEY))
    waiting = len(again["traces"].closed_segments())
    for journal in again.values():
        journal.close()
    assert waiting == 1


def test_one_that_is_in_use_lets_go_of_the_others(tmp_path: Path) -> None:
    """F12: a second collector ends with a sentence, and does not keep what it had opened."""
    first = open_journals(tmp_path, ["traces"], Settings())
    with pytest.raises(JournalLockedError, match="in use by process"):
        open_journals(tmp_path, ["logs", "traces"], Settings())
    open_journals(tmp_path, ["logs"], Settings())["logs"].close()
    first["traces"].close()


def test_no_token_is_written(tmp_path: Path) -> None:
    """F72: what a request was sent with is in no file of the data folder, whatever became of the request."""
    with running(tmp_path) as tower:
        tower.send(request_of(span(1)))
        tower.send(b"garbage")
        tower.journal.rotate()
        tower.journal.quarantine(tower.journal.closed_segments()[0], "refused")
        tower.send(request_of(span(2)))
        tower.journal.rotate()
        tower.journal.remove(tower.journal.closed_segments()[0])
        token = tower.token.encode()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        found = [path.name for path in files if token in path.read_bytes() or b"earer" in path.read_bytes()]

    assert {path.suffix for path in files} >= {".refused", ".seen", ".json"}
    assert found == []
