"""What is saved of a source: whole or not at all, whatever is cut off, and damaged files are told."""

import errno
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.scrapers.errors import PositionError, Rejection
from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.positions import Batch, Positions
from controltower.collector.scrapers.rejects import Rejects
from controltower.tracer.journal.disk import Disk

CALLS = ("create", "write", "sync", "sync_folder", "rename", "unlink", "close", "append_to", "truncate")


class Cut(Exception):
    """The process ended here."""


class CutDisk(Disk):
    """The real disk until the n-th call that changes something; then the process is gone."""

    def __init__(self, after: int, error: BaseException) -> None:
        self._left = after
        self._error = error

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in CALLS:
            return found

        def counted(*arguments: Any) -> Any:
            if self._left <= 0:
                raise self._error
            self._left -= 1
            return found(*arguments)

        return counted


def test_first_start(tmp_path: Path) -> None:
    """Nothing is saved at first."""
    assert Positions(tmp_path / "source").open() == (None, None)


def test_nothing_else_can_read_it(tmp_path: Path) -> None:
    """Folder and files are their owner's."""
    positions = Positions(tmp_path / "source")
    positions.open()
    positions.prepare({"n": 1}, b"body")
    positions.acknowledge({"n": 1})
    positions.prepare({"n": 2}, b"body")

    assert (tmp_path / "source").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "source").iterdir()} == {0o600}


@pytest.mark.parametrize("after", range(60))
def test_cut_off_at_each_call(tmp_path: Path, after: int) -> None:
    """At every call of the system: a batch that may have been sent is there until its position is saved, byte by byte."""
    folder = tmp_path / "source"
    Positions(folder).open()
    sent = saved = 0
    positions = Positions(folder, CutDisk(after, Cut()))
    try:
        for number in (1, 2, 3):
            positions.prepare({"n": number}, b"body %d" % number)
            sent = number
            positions.acknowledge({"n": number})
            saved = number
    except Cut:
        pass
    state, batch = Positions(folder).open()
    found = state["n"] if state else 0

    assert saved <= found <= sent
    if found < sent:
        assert batch == Batch({"n": sent}, b"body %d" % sent)
    elif batch is not None:  # prepared, and cut off before it could be sent
        assert batch == Batch({"n": sent + 1}, b"body %d" % (sent + 1))


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    """A position that cannot be written is an error, and the one before stays."""
    folder = tmp_path / "source"
    positions = Positions(folder)
    positions.open()
    positions.acknowledge({"n": 1})
    full = Positions(folder, CutDisk(2, OSError(errno.ENOSPC, "no room")))
    full.open()

    with pytest.raises(PositionError, match="cannot be written"):
        full.prepare({"n": 2}, b"body")
    assert Positions(folder).open() == ({"n": 1}, None)


@pytest.mark.parametrize("name", ["position", "batch"])
@pytest.mark.parametrize("at", [0, 30, 60, -1])
def test_damage_is_found(tmp_path: Path, name: str, at: int) -> None:
    """A file in which a byte is wrong is refused, with what to do."""
    positions = Positions(tmp_path)
    positions.open()
    positions.acknowledge({"n": 1})
    positions.prepare({"n": 2}, b"body")
    data = bytearray((tmp_path / name).read_bytes())
    data[at] ^= 1
    (tmp_path / name).write_bytes(data)

    with pytest.raises(PositionError, match="damaged"):
        Positions(tmp_path).open()


def rejected(tmp_path: Path, *, keep_text: bool = False) -> Rejects:
    rejects = Rejects(tmp_path, keep_text=keep_text)
    rejects.add(Record("x-0:17", b"patient Smith"), Rejection("bad_time", "time"), "2026-01-02T03:04:05Z")
    return rejects


def test_a_reject_has_its_place_and_its_reason(tmp_path: Path) -> None:
    """The text is kept only where the source says so."""
    rejected(tmp_path).save()
    text = (tmp_path / "rejects.jsonl").read_text(encoding="utf-8")

    assert '"reason": "bad_time", "detail": "time", "place": "x-0:17"' in text
    assert "Smith" not in text
    kept = rejected(tmp_path / "kept", keep_text=True)
    (tmp_path / "kept").mkdir()
    kept.save()
    assert "Smith" in kept.path.read_text(encoding="utf-8")
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_what_was_not_saved_is_cut_off(tmp_path: Path) -> None:
    """A record that is read again is not in the file twice."""
    length = rejected(tmp_path).save()
    again = Rejects(tmp_path, keep_text=False)
    for _ in range(2):
        again.restore(length)
        again.add(Record("x-0:30", b""), Rejection("too_long"), "2026-01-02T03:04:05Z")
        again.save()

    assert len((tmp_path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_file_that_failed_half_way_has_no_half_line(tmp_path: Path) -> None:
    """What a full disk left is cut off before the next attempt."""
    rejects = rejected(tmp_path)
    rejects.save()
    with rejects.path.open("ab") as file:
        file.write(b'{"at": "half')
    rejects.add(Record("x-0:30", b""), Rejection("too_long"), "2026-01-02T03:04:05Z")
    rejects.save()

    assert "half" not in rejects.path.read_text(encoding="utf-8")
    assert len(rejects.path.read_text(encoding="utf-8").splitlines()) == 2
