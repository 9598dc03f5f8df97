"""Edges of reading logs: lines that are long, halves, holes, groups, damaged archives, and files that come and go."""

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.log import LONGEST_BYTES, LogReader
from controltower.collector.scrapers.observation import Record
from tests.collector.scrapers.writers import LATER_NS, ManualClock, Reading, log_source

Make = Callable[..., Reading]


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Make]:
    """Make readers of the folder's logs, with options of the source."""
    made: list[Reading] = []

    def make(**options: Any) -> Reading:
        made.append(Reading(log_source(tmp_path, **options), ManualClock()))
        return made[-1]

    yield make
    for each in made:
        each.close()


def contents(records: list[Record]) -> list[bytes]:
    return [record.content for record in records]


def test_a_half_line_waits_for_its_end(tmp_path: Path, read: Make) -> None:
    """A line is read when its end is there, and then whole."""
    log = tmp_path / "app.log"
    log.write_bytes(b"one\ntw")
    reading = read()

    assert contents(reading.batch()) == [b"one"]
    assert contents(reading.batch()) == []
    with log.open("ab") as file:
        file.write(b"o\n")
    assert contents(reading.batch()) == [b"two"]


def test_the_last_line_of_a_rotated_file_needs_no_end(tmp_path: Path, read: Make) -> None:
    """A file that was renamed and does not change any more is whole, and so is its last line."""
    log = tmp_path / "app.log"
    log.write_bytes(b"one\ntwo")
    reading = read()
    assert contents(reading.batch()) == [b"one"]
    log.rename(tmp_path / "app.log.1")

    assert contents(reading.batch()) == []
    reading.clock.ahead_ns += 31 * 10**9
    assert contents(reading.batch()) == [b"two"]


def test_the_last_line_of_a_file_that_is_written_to_waits_longer(tmp_path: Path, read: Make) -> None:
    """A writer may pause in the middle of a line: without a rotation it has an hour."""
    (tmp_path / "app.log").write_bytes(b"one")
    reading = read()
    reading.clock.ahead_ns += 31 * 10**9

    assert contents(reading.batch()) == []
    reading.clock.ahead_ns += LATER_NS
    assert contents(reading.batch()) == [b"one"]


def test_empty_lines_and_ends_of_other_systems(tmp_path: Path, read: Make) -> None:
    """Empty lines are no records, and a carriage return before the end belongs to none."""
    (tmp_path / "app.log").write_bytes(b"one\r\n\r\n\ntwo\r\n")

    assert contents(read().batch()) == [b"one", b"two"]


def test_a_line_that_is_too_long_is_passed_over_in_pieces(tmp_path: Path, read: Make) -> None:
    """It is rejected once, also when the reader ends within it, and the lines around it are read."""
    with (tmp_path / "app.log").open("wb") as file:
        file.write(b"before\n")
        for _ in range(5):
            file.write(b"x" * LONGEST_BYTES)
        file.write(b"\nafter\n")
    reading = read()
    while not reading.caught_up:
        reading.batch()
        reading.restart()

    assert reading.flaws == ["too_long"]
    assert set(reading.places) == {b"before", b"after"}


def test_a_hole_is_no_line(tmp_path: Path, read: Make) -> None:
    """A writer that does not append leaves a hole after a truncation: the line behind it is read."""
    with (tmp_path / "app.log").open("wb") as file:
        file.seek(3 * LONGEST_BYTES + 17)
        file.write(b"after the hole\nnext\n")
    reading = read()
    reading.all()

    assert set(reading.places) == {b"after the hole", b"next"}
    assert reading.flaws == []


def test_a_deleted_file_is_read_to_its_end(tmp_path: Path, read: Make) -> None:
    """What was open when it was deleted is not lost."""
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    reading = read()
    reading.batch()
    with log.open("ab") as file:
        log.unlink()
        file.write(b"two\n")
        file.flush()

        assert contents(reading.batch()) == [b"two"]
    reading.clock.ahead_ns += LATER_NS
    reading.batch()
    assert reading.reader.files.unread() == []


def test_a_rotation_to_a_name_that_no_pattern_finds(tmp_path: Path, read: Make) -> None:
    """A renamed file is found by its number in its folder, also by a reader that was started anew."""
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    reading = read(files=[str(log)])
    reading.batch()
    with log.open("ab") as file:
        file.write(b"two\n")
    log.rename(tmp_path / "old-app")
    log.write_bytes(b"three\n")
    reading.restart()
    reading.all()

    assert set(reading.places) == {b"one", b"two", b"three"}


def test_a_link_that_is_pointed_elsewhere(tmp_path: Path, read: Make) -> None:
    """A link to the newest file is followed, and the file it left is read to its end."""
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "app.log"
    first.write_bytes(b"one\n")
    link.symlink_to(first)
    reading = read()
    reading.batch()
    with first.open("ab") as file:
        file.write(b"two\n")
    second.write_bytes(b"three\n")
    link.unlink()
    link.symlink_to(second)
    reading.all()

    assert set(reading.places) == {b"one", b"two", b"three"}


def test_two_names_of_one_file(tmp_path: Path, read: Make) -> None:
    """A file with several names is read once."""
    (tmp_path / "app.log").write_bytes(b"one\n")
    os.link(tmp_path / "app.log", tmp_path / "app.log.link")
    (tmp_path / "app.log.soft").symlink_to(tmp_path / "app.log")
    reading = read()
    reading.all()

    assert reading.places == {b"one": {next(iter(reading.places[b"one"]))}}


def test_written_anew_with_the_same_beginning_and_length(tmp_path: Path, read: Make) -> None:
    """A file that was truncated and has its old length again is read from its beginning."""
    log = tmp_path / "app.log"
    log.write_bytes(b"# banner\none\n")
    reading = read()
    reading.all()
    log.write_bytes(b"# banner\ntwo\n")
    reading.all()

    assert set(reading.places) == {b"# banner", b"one", b"two"}
    assert len(reading.places[b"# banner"]) == 2


def test_begin_at_the_end(tmp_path: Path, read: Make) -> None:
    """What was there at the first start is passed over, and what comes then is not."""
    log = tmp_path / "app.log"
    log.write_bytes(b"old " * 1000 + b"\nold\n")
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(b"older\n"))
    reading = read(begin="end")
    reading.all()
    with log.open("ab") as file:
        file.write(b"new\n")
    (tmp_path / "app.log.new").write_bytes(b"another\n")
    reading.restart()
    reading.all()

    assert set(reading.places) == {b"new", b"another"}


def test_records_of_several_lines(tmp_path: Path, read: Make) -> None:
    """Lines that begin nothing belong to the record before; the last one waits until nothing follows."""
    log = tmp_path / "app.log"
    log.write_bytes(b"2026 failed\n  at a\n  at b\n2026 sent\n2026 half\n  at c\n")
    reading = read(start="^2026")

    assert contents(reading.batch()) == [b"2026 failed\n  at a\n  at b", b"2026 sent"]
    with log.open("ab") as file:
        file.write(b"  at d\n")
    assert contents(reading.batch()) == []
    reading.clock.ahead_ns += 6 * 10**9
    assert contents(reading.batch()) == [b"2026 half\n  at c\n  at d"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_record_without_an_end_is_bounded(tmp_path: Path, read: Make, restarted: bool) -> None:
    """A start that is never found again does not fill memory."""
    lines = [b"2026 begins", *(b"more %d" % number for number in range(300_000))]
    (tmp_path / "app.log").write_bytes(b"\n".join(lines) + b"\n")
    reading = read(start="^2026")
    reading.clock.ahead_ns += 6 * 10**9
    while not reading.caught_up:
        reading.batch()
        if restarted:
            reading.restart()

    assert max(map(len, reading.places)) <= LONGEST_BYTES
    assert b"\n".join(reading.places).split(b"\n") == lines


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_an_archive_that_is_not_whole_waits(tmp_path: Path, read: Make, suffix: str) -> None:
    """A compressed file that is being written is read when it is whole, and once."""
    data = b"".join(b"line %d\n" % number for number in range(5_000))
    packed = gzip.compress(data) if suffix == ".gz" else zstd.compress(data)
    archive = tmp_path / f"app.log.1{suffix}"
    archive.write_bytes(packed[: len(packed) // 2])
    reading = read()
    reading.all()
    archive.write_bytes(packed)
    reading.all()

    assert b"\n".join(reading.places) + b"\n" == data
    assert {len(places) for places in reading.places.values()} == {1}
    assert reading.flaws == []


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_archive_is_rejected_once(tmp_path: Path, read: Make, suffix: str) -> None:
    """What stays damaged is told, and what stands before the damage is read."""
    data = b"".join(b"line %d\n" % number for number in range(5_000))
    packed = gzip.compress(data) if suffix == ".gz" else zstd.compress(data)
    (tmp_path / f"app.log.1{suffix}").write_bytes(packed[:-40])
    (tmp_path / "app.log").write_bytes(b"another\n")
    reading = read()
    reading.clock.ahead_ns += LATER_NS
    for _ in range(3):
        reading.all()
        reading.restart()

    assert b"another" in reading.places
    assert [flaw.partition(":")[0] for flaw in reading.flaws] == ["damaged"]


def test_a_bomb_is_read_in_pieces(tmp_path: Path, read: Make) -> None:
    """A compressed file that is a thousand times its size costs no more than a batch."""
    (tmp_path / "app.log.gz").write_bytes(gzip.compress(b"\0" * 64 * 1024 * 1024 + b"\nend\n"))
    reading = read()
    reading.all()

    assert set(reading.places) == {b"end"}


def test_what_cannot_be_opened_is_told(tmp_path: Path, read: Make) -> None:
    """A folder or a pipe of such a name is passed over; nothing waits for it."""
    (tmp_path / "app.log").mkdir()
    os.mkfifo(tmp_path / "app.log.pipe")
    (tmp_path / "app.log.1").write_bytes(b"one\n")
    reading = read()

    assert contents(reading.batch()) == [b"one"]


def test_what_is_excluded(tmp_path: Path, read: Make) -> None:
    """A name that an excluding pattern finds is not read."""
    (tmp_path / "app.log").write_bytes(b"one\n")
    (tmp_path / "app.log.tmp").write_bytes(b"two\n")
    reading = read(exclude=["*.tmp"])
    reading.all()

    assert set(reading.places) == {b"one"}


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A record that is not of the source's encoding is rejected by that name, and one of it is read."""
    clock = ManualClock()
    record = Record("p", b"M\xfcller")

    reader = LogReader(log_source(tmp_path), clock)
    with pytest.raises(Rejection, match="bad_encoding"):
        reader.parse(record)
    assert LogReader(log_source(tmp_path, encoding="latin-1"), clock).parse(record)["line"] == "Müller"


def test_two_files_with_the_same_lines(tmp_path: Path, read: Make) -> None:
    """Equal lines at equal places of two files are two things that happened."""
    (tmp_path / "app.log.1").write_bytes(b"started\nsame\nfirst\n")
    (tmp_path / "app.log").write_bytes(b"started\nsame\nsecond\n")
    reading = read()
    reading.all()

    assert len(reading.places[b"same"]) == 2


def test_the_same_places_without_what_was_saved(tmp_path: Path, read: Make) -> None:
    """Reading all anew, after the position was lost, finds the places that were found before."""
    (tmp_path / "app.log.1").write_bytes(b"started\none\n")
    (tmp_path / "app.log").write_bytes(b"started\ntwo\n")
    os.utime(tmp_path / "app.log.1", (1, 1))
    first, second = read(), read()
    first.all()
    second.all()

    assert first.places == second.places
