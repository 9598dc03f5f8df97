"""The journal of systemd: a real one, written by systemd's own program and read by its other one."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.redaction.policy import default_policy
from controltower.collector.scrapers import journal as journal_module
from controltower.collector.scrapers.definition import JournalSource, parse_sources
from controltower.collector.scrapers.delivery import Collector
from controltower.collector.scrapers.errors import JournalError
from controltower.collector.scrapers.journal import JournalReader
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.worker import Worker
from controltower.tracer.tokens import Tokeniser
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.sources import KEY, NOW_NS
from tests.conftest import many_open_files, missing

WRITER = Path("/lib/systemd/systemd-journal-remote")
BEGUN_US = 1_793_700_000_000_000
OK: Answer = (200, {}, b"")


class Journal:
    """A journal in a folder, to which entries are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written = 0
        folder.mkdir()

    def add(self, *messages: str, **fields: str) -> None:
        """Write an entry for each message."""
        named = "".join(f"{name}={value}\n" for name, value in fields.items())
        entries = []
        for message in messages:
            self._written += 1
            head = f"__REALTIME_TIMESTAMP={BEGUN_US + self._written}\n_BOOT_ID={'b' * 32}\n"
            entries.append(f"{head}{named}MESSAGE={message}\n\n")
        command = [str(WRITER), "--split-mode=none", f"--output={self.folder / 'x.journal'}", "-"]
        subprocess.run(command, input="".join(entries).encode(), check=True, capture_output=True, timeout=30)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """An empty one; skips where systemd is not."""
    if not WRITER.exists() or shutil.which("journalctl") is None:
        missing("systemd-journal-remote is not installed")
    return Journal(tmp_path / "journal")


def source_of(journal: Journal, **options: Any) -> JournalSource:
    text = f"""
sources:
  units:
    kind: journal
    directory: {journal.folder}
    rules:
      - {{match: {{MESSAGE: '^sent %{{NOTSPACE:po}}'}}, step: p2p.purchase_order.dispatched, keys: {{purchase_order: po}}}}
"""
    source = parse_sources(text, "sources.yaml").sources["units"]
    assert isinstance(source, JournalSource)
    return source.model_copy(update=options)


def read_all(reader: JournalReader) -> list[Record]:
    """Return what a look yields, and let it end."""
    records: list[Record] = []
    caught_up = False
    while not caught_up:
        more, caught_up = reader.read()
        records += more
    reader.close()
    return records


def reader_of(source: JournalSource, saved: dict[str, Any] | None = None) -> JournalReader:
    reader = JournalReader(source, lambda: NOW_NS)
    if saved:
        reader.restore(saved)
    return reader


def messages(reader: JournalReader, records: Sequence[Record]) -> list[str]:
    return [str(reader.parse(record)["MESSAGE"]) for record in records]


def test_each_entry_once_behind_its_cursor(journal: Journal) -> None:
    """In their order, from the saved place on, also what was written meanwhile; read anew, each is the same record."""
    journal.add("one", "two")
    first = reader_of(source_of(journal))
    records = read_all(first)
    journal.add("three")
    second = reader_of(source_of(journal), first.state())
    later = read_all(second)

    assert messages(first, records) == ["one", "two"]
    assert messages(second, later) == ["three"]
    assert read_all(reader_of(source_of(journal))) == [*records, *later]
    assert read_all(reader_of(source_of(journal), second.state())) == []
    assert first.parse(records[0])["__REALTIME_TIMESTAMP"] == str(BEGUN_US + 1)


def test_only_what_is_asked_for(journal: Journal) -> None:
    """By matches, as journalctl understands them, and by units."""
    journal.add("a", _PID="1", UNIT="load.service")
    journal.add("b", _PID="7", _SYSTEMD_UNIT="load.service", _SYSTEMD_CGROUP="/system.slice/load.service")
    journal.add("c", _PID="9", _SYSTEMD_UNIT="ssh.service")
    by_match = reader_of(source_of(journal, matches=("_PID=1", "+", "_PID=9")))
    by_unit = reader_of(source_of(journal, units=("load.service",)))

    assert messages(by_match, read_all(by_match)) == ["a", "c"]
    assert messages(by_unit, read_all(by_unit)) == ["a", "b"]


def test_what_is_there_at_the_start_can_be_passed_over(journal: Journal) -> None:
    """With `begin: end` the first entry is one that came later, also where the journal was empty."""
    at_end = source_of(journal, begin="end", matches=("_PID=1",))
    reader = reader_of(at_end)
    assert read_all(reader) == []
    journal.add("old", _PID="1")
    empty_then = reader_of(at_end, reader.state())
    full_then = reader_of(at_end)
    assert read_all(full_then) == []
    journal.add("new", _PID="1")
    later = reader_of(at_end, full_then.state())

    assert messages(empty_then, read_all(empty_then)) == ["old", "new"]
    assert messages(later, read_all(later)) == ["new"]


def test_a_long_entry_stops_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is rejected, at the same place whenever it is read, is never held, and what is behind it is read."""
    monkeypatch.setattr(journal_module, "LONGEST_BYTES", 100_000)
    journal.add("one", "x" * 300_000, "three")
    reader = reader_of(source_of(journal))
    one, long, three = read_all(reader)

    assert (long.flaw, long.content) == ("too_long: an entry", b"")
    assert messages(reader, [one, three]) == ["one", "three"]
    assert read_all(reader_of(source_of(journal)))[1] == long
    assert len({one.place, long.place, three.place}) == 3


def test_a_long_journal_is_read_in_batches(journal: Journal) -> None:
    """Of about a mebibyte each; the rest waits in the program's pipe, and a reader that stops there goes on there."""
    journal.add(*(f"{number} {'x' * 2_000}" for number in range(1_500)))
    reader = reader_of(source_of(journal))
    first, caught_up = reader.read()
    reader.close()
    rest = read_all(reader_of(source_of(journal), reader.state()))

    assert not caught_up
    assert sum(len(record.content) for record in first) < 2 * journal_module.MOST_BYTES
    assert [int(text.split()[0]) for text in messages(reader, [*first, *rest])] == list(range(1_500))


def test_more_files_are_open_than_select_knows(journal: Journal) -> None:
    """A scraper of many logs reads the journal, too."""
    journal.add("one")
    with many_open_files():
        reader = reader_of(source_of(journal))
        records = read_all(reader)

    assert messages(reader, records) == ["one"]


def test_what_cannot_be_read_is_said(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there, a cursor that is none, a machine without systemd."""
    elsewhere = source_of(journal, directory=str(journal.folder / "none"))
    with pytest.raises(JournalError, match="Failed to open"):
        read_all(reader_of(elsewhere))
    with pytest.raises(JournalError, match="cursor"):
        read_all(reader_of(source_of(journal), {"cursor": "s=0;i=1", "begun": True}))
    monkeypatch.setenv("PATH", str(journal.folder))
    with pytest.raises(JournalError, match="a part of systemd"):
        read_all(reader_of(source_of(journal)))


def worker_of(source: JournalSource, folder: Path, url: str) -> Worker:
    policies = Policies(default_policy(), Tokeniser((KEY,)))
    return Worker("units", source, folder, Collector(url), policies, None, lambda: NOW_NS)


def test_a_step_of_each_entry_once(journal: Journal, tmp_path: Path) -> None:
    """The position is a cursor, which is saved when the collector acknowledged."""
    with answering(lambda *_: OK) as server:
        journal.add("sent PO-1", "noise", "sent PO-2")
        worker_of(source_of(journal), tmp_path / "position", server.url).run_once()
        journal.add("sent PO-3")
        second = worker_of(source_of(journal), tmp_path / "position", server.url)
        second.run_once()

    sent = b"".join(server.bodies)
    assert [sent.count(key) for key in (b"PO-1", b"PO-2", b"PO-3")] == [1, 1, 1]
    assert (second.health.records, second.health.steps) == (1, 1)
