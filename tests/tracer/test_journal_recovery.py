"""Opening a journal that a crash, a full disk or a bad disk left behind."""

import errno
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.tracer.journal import JournalError, JournalFull
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.quarantine import Quarantine
from controltower.tracer.journal.recovery import Recovery
from controltower.tracer.journal.sealing import PLAIN
from tests.tracer.journals import (
    NOW,
    PATIENCE_S,
    PATIENT,
    BrokenDisk,
    Steps,
    append,
    bodies,
    body,
    open_journal,
    store,
    stored,
)

HOUR_NS = 3_600 * 10**9
CONTENTS = [body(f"b{number}", number * 7) for number in range(6)]
REUSED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A folder as a killed process leaves it: one segment with six records, not closed."""
    folder = tmp_path / "crashed"
    journal = open_journal(folder)
    store(journal, *CONTENTS)
    journal.close()
    return folder


def segment_of(folder: Path) -> Path:
    (path,) = folder.glob("*.otlp")
    return path


def recovered(folder: Path) -> list[bytes]:
    found = Recovery(folder, Quarantine(folder), Disk(), PLAIN).run(NOW, HOUR_NS, 100_000)
    return [content for segment in reversed(found.segments) for content in bodies(segment.path)]


def quarantined(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "quarantine").iterdir() if path.suffix != ".json")


def test_an_intact_segment_is_offered_as_it_is(crashed: Path) -> None:
    """Nothing is rewritten when the index covers the segment."""
    before = segment_of(crashed).stat().st_mtime_ns

    assert recovered(crashed) == CONTENTS
    assert segment_of(crashed).stat().st_mtime_ns == before


def test_a_torn_tail_is_cut_kept_and_reported(crashed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The half record is never loaded, never thrown away silently, and the records before it are whole."""
    data = segment_of(crashed).read_bytes()
    segment_of(crashed).write_bytes(data[:-3])
    with caplog.at_level(logging.ERROR):
        found = recovered(crashed)
    (torn,) = quarantined(crashed)

    assert found == CONTENTS[:-1]
    assert torn.suffix == ".torn"
    assert data[:-3].endswith(torn.read_bytes())
    assert json.loads(torn.with_name(torn.name + ".reason.json").read_text())["bytes"] == len(torn.read_bytes())
    assert "torn tail" in caplog.text


@pytest.mark.parametrize("index", [None, b"", b"garbage" * 40])
def test_the_index_is_made_again_from_the_segment(crashed: Path, index: bytes | None) -> None:
    """A missing, short or damaged index costs nothing: bodies are still recognised."""
    path = segment_of(crashed).with_suffix(".index")
    before = path.read_bytes()
    path.unlink() if index is None else path.write_bytes(index)
    journal = open_journal(crashed)
    again = [append(journal, content).result(PATIENCE_S).duplicate for content in CONTENTS]
    journal.close()

    assert path.read_bytes() == before
    assert again == [True] * len(CONTENTS)


@given(data=st.data())
@REUSED_FOLDER
def test_a_cut_anywhere_keeps_the_whole_records(crashed: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever the length of the file: the records that are whole are offered, twice in a row the same."""
    copy = fresh_copy(crashed, tmp_path)
    whole = segment_of(copy).read_bytes()
    segment_of(copy).write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    first = recovered(copy)

    assert first == CONTENTS[: len(first)]
    assert recovered(copy) == first


@given(data=st.data())
@REUSED_FOLDER
def test_a_flipped_byte_anywhere_costs_one_record(crashed: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Without its index, too, a damaged segment gives all records but the damaged one, which is in quarantine."""
    copy = fresh_copy(crashed, tmp_path)
    whole = bytearray(segment_of(copy).read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    segment_of(copy).write_bytes(whole)
    segment_of(copy).with_suffix(".index").unlink()
    found = recovered(copy)

    assert len(found) == len(CONTENTS) - 1
    assert [content for content in CONTENTS if content in found] == found
    assert len(quarantined(copy)) == 1


def fresh_copy(crashed: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(crashed, copy)
    return copy


def test_damage_behind_an_intact_index_is_found_before_loading(crashed: Path) -> None:
    """Bits that rot while the store is away are noticed when the segment is verified, and never loaded."""
    journal = open_journal(crashed)
    data = bytearray(segment_of(crashed).read_bytes())
    data[40] ^= 0xFF
    segment_of(crashed).write_bytes(data)
    (segment,) = journal.closed_segments()
    verified = journal.verify(segment)

    assert verified is not None
    assert verified.records == len(CONTENTS) - 1
    assert journal.closed_segments() == [verified]
    assert journal.stats().quarantined_files == 1
    journal.close()


def test_a_segment_with_nothing_intact_is_moved_away_whole(crashed: Path) -> None:
    """It is in quarantine with its reason, and the journal opens."""
    segment_of(crashed).write_bytes(b"\xff" * 500)
    journal = open_journal(crashed)

    assert journal.closed_segments() == []
    assert [path.stat().st_size for path in quarantined(crashed)] == [500]
    journal.close()


def test_a_segment_that_somebody_removed_is_forgotten(crashed: Path) -> None:
    """The loader is not stopped for ever by a file that is gone."""
    journal = open_journal(crashed)
    (segment,) = journal.closed_segments()
    segment.path.unlink()

    assert journal.verify(segment) is None
    assert journal.closed_segments() == []
    journal.close()


def test_an_interrupted_mending_is_done_again(crashed: Path) -> None:
    """A draft that a crash left behind is removed; quarantine and segment are as after an undisturbed start."""
    data = segment_of(crashed).read_bytes()
    segment_of(crashed).write_bytes(data[:-3])
    (crashed / "quarantine" / "x.torn.tmp").write_bytes(b"half")
    segment_of(crashed).with_suffix(".otlp.tmp").write_bytes(b"half")

    assert recovered(crashed) == CONTENTS[:-1]
    assert list(crashed.rglob("*.tmp")) == []


class FullDisk(Disk):
    """A disk without room for a new file while ``full``."""

    full = True

    def create(self, path: Path) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create(path)


def test_a_disk_too_full_to_mend_holds_up_nothing_else(crashed: Path) -> None:
    """The damaged segment is neither loaded half nor touched; others are loaded first, and it is mended when there is room."""
    data = segment_of(crashed).read_bytes()
    segment_of(crashed).write_bytes(data[:-3])
    intact = crashed / f"{NOW + 1:020d}-0123456789abcdef.otlp"
    intact.write_bytes(data)
    steps, disk = Steps(), FullDisk()
    journal = open_journal(crashed, monotonic=steps, disk=disk)
    first, second = journal.closed_segments()
    held = journal.verify(first)
    waiting = journal.closed_segments()
    stats = journal.stats()
    untouched = first.path.read_bytes()
    assert journal.verify(second) == second
    journal.remove(second)
    disk.full = False
    steps.now_s += 60.0
    again = journal.wait_closed(0)
    mended = journal.verify(again) if again else None
    journal.close()

    assert held is None
    assert [segment.id for segment in waiting] == [second.id]
    assert (stats.segments, stats.held_segments, stats.bytes) == (2, 1, 2 * len(data) - 3)
    assert untouched == data[:-3]
    assert mended is not None
    assert bodies(mended.path) == CONTENTS[:-1]


def test_segments_of_earlier_runs_come_first(crashed: Path) -> None:
    """Loading goes on where the last process stopped, in order."""
    journal = open_journal(crashed)
    store(journal, body("new"))
    journal.rotate()

    assert stored(journal) == [*CONTENTS, body("new")]
    journal.close()


def test_a_backlog_of_days_is_not_read_at_the_start(tmp_path: Path) -> None:
    """Segments that the window has left behind are offered by name; a restart is quick, however many there are."""
    for day in range(3):
        journal = open_journal(tmp_path, now=NOW + 24 * HOUR_NS * day)
        store(journal, body(f"day {day}"))
        journal.close()
    for index in tmp_path.glob("*.index"):
        index.unlink()
    later = open_journal(tmp_path, now=NOW + 72 * HOUR_NS)
    segments = later.closed_segments()

    assert [segment.records for segment in segments] == [0, 0, 1]  # the newest may be torn: it is always looked into
    assert [(segment.oldest_received_ns - NOW) // HOUR_NS for segment in segments] == [0, 24, 0]
    assert stored(later) == [body("day 0"), body("day 1"), body("day 2")]
    for segment in segments:
        assert later.verify(segment) == segment
        later.remove(segment)
    later.close()


def test_a_backlog_beyond_the_budget_can_be_opened_and_drained(tmp_path: Path) -> None:
    """A budget that was lowered refuses new bodies and holds up nothing else."""
    journal = open_journal(tmp_path)
    store(journal, body("a", 1_000))
    journal.close()
    small = open_journal(tmp_path, replace(PATIENT, budget_bytes=500))
    with pytest.raises(JournalFull):
        append(small, body("b")).result(PATIENCE_S)
    small.remove(small.closed_segments()[0])
    store(small, body("b"))
    small.close()


def test_what_was_refused_and_stored_later_is_not_loaded_twice(tmp_path: Path) -> None:
    """A record that could not be cut off before the process died does not come back beside the one that replaced it."""
    disk = BrokenDisk()
    journal = open_journal(tmp_path, disk=disk)
    store(journal, body("a"))
    disk.fails = {"sync": errno.EIO, "truncate": errno.EIO}
    with pytest.raises(JournalError):
        append(journal, body("b")).result(PATIENCE_S)
    del disk.fails["sync"]
    store(journal, body("b"), body("c"))
    journal.close()
    again = open_journal(tmp_path)

    assert stored(again) == [body("a"), body("b"), body("c")]
    again.close()
