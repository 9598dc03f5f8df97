"""Looking through a journal's quarantine, and working on it while the journal is open."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from controltower.tracer.journal import Journal
from controltower.tracer.journal.errors import QuarantineError
from controltower.tracer.journal.quarantine import Quarantine
from tests.tracer.journals import NOW, PATIENT, Steps, body, open_journal, store, stored


def refuse(journal: Journal, reason: str = "cannot read all data") -> str:
    """Move the oldest segment of *journal* to quarantine and return its name there."""
    journal.rotate()
    return journal.quarantine(journal.closed_segments()[0], reason).name


def test_the_listing_says_what_is_there_and_why(tmp_path: Path) -> None:
    """Each file is listed once, with its kind, size, reason and time, while the journal is open."""
    journal = open_journal(tmp_path)
    store(journal, body("a"))
    name = refuse(journal)
    (item,) = Quarantine(tmp_path).listing()
    journal.close()

    assert (item.name, item.kind, item.reason, item.since_ns) == (name, "refused", "cannot read all data", NOW)
    assert item.bytes == len(Quarantine(tmp_path).read(name)) > 0
    assert item.can_be_retried
    assert not item.retrying


def test_an_open_journal_takes_back_what_is_asked_for(tmp_path: Path) -> None:
    """A retry is noticed by the process that has the journal open: the segment is offered under its own name again."""
    steps = Steps()
    journal = open_journal(tmp_path, monotonic=steps)
    store(journal, body("a"))
    name = refuse(journal)
    quarantine = Quarantine(tmp_path)
    quarantine.retry(name)
    quarantine.retry(name)  # asking twice is asking once
    before = [item.retrying for item in quarantine.listing()]
    steps.now_s += 10.0
    segment = journal.wait_closed(0)
    found = stored(journal)
    stats = journal.stats()
    journal.close()

    assert before == [True]
    assert segment is not None
    assert f"{segment.id}.refused" == name
    assert found == [body("a")]
    assert (stats.quarantined_files, stats.quarantined_bytes) == (0, 0)


def test_a_closed_journal_takes_back_what_was_asked_for_when_it_opens(tmp_path: Path) -> None:
    """Nobody needs to run for a retry to be asked."""
    journal = open_journal(tmp_path)
    store(journal, body("a"))
    name = refuse(journal)
    journal.close()
    Quarantine(tmp_path).retry(name)
    again = open_journal(tmp_path)
    found = stored(again)
    again.close()

    assert found == [body("a")]
    assert Quarantine(tmp_path).listing() == []
    assert list((tmp_path / "quarantine").iterdir()) == []


def test_what_is_refused_again_comes_back_with_its_new_reason(tmp_path: Path) -> None:
    """A retry that fails is in the listing like any other refusal."""
    steps = Steps()
    journal = open_journal(tmp_path, monotonic=steps)
    store(journal, body("a"))
    Quarantine(tmp_path).retry(refuse(journal))
    steps.now_s += 10.0
    assert journal.wait_closed(0) is not None
    refuse(journal, "still not")
    journal.close()

    assert [item.reason for item in Quarantine(tmp_path).listing()] == ["still not"]


def test_what_is_dropped_frees_the_budget(tmp_path: Path) -> None:
    """Quarantine counts in the budget; an open journal notices what was dropped."""
    steps = Steps()
    limits = replace(PATIENT, budget_bytes=1_000)
    journal = open_journal(tmp_path, limits, monotonic=steps)
    store(journal, body("a", 500))
    dropped = Quarantine(tmp_path).drop(refuse(journal))
    steps.now_s += 10.0
    journal.wait_closed(0)
    stats = journal.stats()
    journal.close()

    assert dropped.bytes > 500
    assert stats.quarantined_bytes == 0
    assert list((tmp_path / "quarantine").iterdir()) == []


@pytest.mark.parametrize("name", ["nothing.refused", "../lock", "/etc/passwd", "", "a\0b"])
def test_names_that_are_not_listed_are_refused(tmp_path: Path, name: str) -> None:
    """A name is looked up in the listing and never used as a path."""
    open_journal(tmp_path).close()
    quarantine = Quarantine(tmp_path)

    for ask in (quarantine.read, quarantine.retry, quarantine.drop):
        with pytest.raises(QuarantineError, match="There is no"):
            ask(name)


def test_damaged_bytes_can_be_read_and_dropped_but_not_retried(tmp_path: Path) -> None:
    """They hold no intact record; the refusal says what can be done."""
    journal = open_journal(tmp_path)
    store(journal, body("a"))
    journal.close()
    (segment,) = tmp_path.glob("*.otlp")
    segment.write_bytes(b"\xff" * 100)
    open_journal(tmp_path).close()
    quarantine = Quarantine(tmp_path)
    (item,) = quarantine.listing()

    assert (item.kind, quarantine.read(item.name)) == ("damaged", b"\xff" * 100)
    with pytest.raises(QuarantineError, match="no intact records"):
        quarantine.retry(item.name)


@pytest.mark.parametrize(
    "note", [None, b"", b"{", b"[1]", b'{"reason": 1, "quarantined_unix_nano": "x"}', b"\xff", b"9" * 9_000]
)
def test_a_lost_or_damaged_note_hides_nothing(tmp_path: Path, note: bytes | None) -> None:
    """The file is listed all the same, and the listing says that its reason is not known."""
    journal = open_journal(tmp_path)
    store(journal, body("a"))
    name = refuse(journal)
    journal.close()
    path = tmp_path / "quarantine" / f"{name}.reason.json"
    path.unlink() if note is None else path.write_bytes(note)

    (item,) = Quarantine(tmp_path).listing()
    assert (item.name, item.since_ns) == (name, 0)
    assert "not recorded" in item.reason


def test_a_time_that_cannot_be_is_not_known(tmp_path: Path) -> None:
    """Digits that damage changed do not break those who show times."""
    journal = open_journal(tmp_path)
    store(journal, body("a"))
    name = refuse(journal)
    journal.close()
    note = {"reason": "r", "quarantined_unix_nano": 10**30, "more": [1], "signal": "traces"}
    (tmp_path / "quarantine" / f"{name}.reason.json").write_text(json.dumps(note))

    (item,) = Quarantine(tmp_path).listing()
    assert (item.reason, item.since_ns, dict(item.details)) == ("r", 0, {"signal": "traces"})


def test_a_quarantine_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Listing does not need a journal that was ever opened."""
    assert Quarantine(tmp_path / "none").listing() == []
