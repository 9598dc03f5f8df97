"""Faults of disks, folders and clocks, by their numbers in the list of faults that the product must survive."""

import contextlib
import errno
import logging
import os
import re
import shutil
import stat
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controltower.collector.cipher import AesGcm
from controltower.tracer.journal import (
    Journal,
    JournalError,
    JournalFormatError,
    JournalFull,
    JournalLimits,
    JournalTooLarge,
    Quarantine,
    Receipt,
    digest_of,
)
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.records import MAX_MESSAGE_BYTES
from controltower.tracer.journal.room import ASK_EVERY_S
from controltower.tracer.journal.writer import MOST_UNCUT
from tests.tracer.journals import (
    NOW,
    PATIENCE_S,
    PATIENT,
    BrokenDisk,
    Steps,
    append,
    bodies,
    bodies_in,
    body,
    name_of,
    open_journal,
    store,
    stored,
)

HOUR_NS = 3_600 * 10**9
CIPHER = AesGcm([bytes(32)])


def drained(journal: Journal) -> list[str]:
    """Load everything that is closed, and return the names of the bodies."""
    names: list[str] = []
    while (segment := journal.wait_closed(0)) is not None:
        verified = journal.verify(segment)
        if verified is not None:
            with verified.open() as file:
                names += [name_of(content) for content in bodies_in(file.read())]
            journal.remove(verified)
    return names


# F5: the volume is full.


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 256 kB of its own."""
    folder = tmp_path / "volume"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a volume can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def stored_until_full(journal: Journal) -> list[str]:
    """Store bodies until one is refused, and return the names of those that were acknowledged."""
    names: list[str] = []
    while True:
        outcome = append(journal, body(f"b{len(names)}", 3_000)).exception(PATIENCE_S)
        if isinstance(outcome, JournalFull):
            return names
        assert outcome is None
        names.append(f"b{len(names)}")


def fill(path: Path) -> None:
    """Take all the room that is left on the volume of *path*."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))


class Unasked(Disk):
    """A disk that does not say how much is free, so that only writing tells."""

    def free(self, folder: Path) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.parametrize("cipher", [None, CIPHER], ids=["plain", "sealed"])
@pytest.mark.parametrize("asked", [True, False], ids=["told before", "told by writing"])
def test_a_full_volume_refuses_drains_and_recovers(small_volume: Path, asked: bool, cipher: AesGcm | None) -> None:
    """F5: nothing acknowledged is lost, draining goes on while it is full, also over a restart, and ends it."""
    limits = replace(PATIENT, segment_bytes=20_000)
    disk = Disk() if asked else Unasked()
    journal = open_journal(small_volume / "journal", limits, disk=disk, cipher=cipher)
    names = stored_until_full(journal)
    fill(small_volume / "other")
    journal.close()
    again = open_journal(small_volume / "journal", limits, disk=disk, cipher=cipher)
    with pytest.raises(JournalFull):
        append(again, body("more", 3_000)).result(PATIENCE_S)
    found = drained(again)
    store(again, body("after", 3_000))
    again.rotate()
    found += drained(again)
    again.close()

    assert len(names) > 20
    assert found == [*names, "after"]


class Volume(Disk):
    """A disk with a number of free bytes that a test sets, and that counts how often it is asked."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self.asked = 0

    def free(self, folder: Path) -> int:
        self.asked += 1
        return self.free_bytes


def test_a_reserve_stays_free(tmp_path: Path) -> None:
    """F5: what others need of the volume is left; when there is more again, it goes on by itself."""
    steps, volume = Steps(), Volume(10_000)
    journal = open_journal(tmp_path, replace(PATIENT, reserve_bytes=8_000), disk=volume, monotonic=steps)
    store(journal, body("a", 1_000))
    with pytest.raises(JournalFull, match="8000 are kept free"):
        append(journal, body("b", 1_000)).result(PATIENCE_S)  # what was written since it asked counts
    full = journal.stats()
    volume.free_bytes = 20_000
    steps.now_s += ASK_EVERY_S
    store(journal, body("b", 1_000))
    journal.rotate()
    after = journal.stats()
    found = drained(journal)
    journal.close()

    assert full.left_bytes < 1_000 < full.used_bytes
    assert (full.free_bytes, full.fullness > 0.5) == (10_000 - full.used_bytes, True)
    assert after.left_bytes > 10_000
    assert found == ["a", "b"]


def test_the_volume_is_asked_once_a_second(tmp_path: Path) -> None:
    """F5: requests do not each cost a system call for it."""
    steps, volume = Steps(), Volume(10**9)
    journal = open_journal(tmp_path, disk=volume, monotonic=steps)
    before = volume.asked
    for second in range(3):
        steps.now_s = float(second + 1)
        store(journal, *[body(f"{second} {number}") for number in range(50)])
    journal.close()

    assert volume.asked - before <= 4


def test_half_full_and_nearly_full_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F43: the log says when half of the room is used, and when nine tenths are; after it fell, it says so again."""
    journal = open_journal(tmp_path, replace(PATIENT, budget_bytes=10_000))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for number in range(9):
                store(journal, body(f"b{number}", 1_000))
            journal.rotate()
            names = drained(journal)
            journal._seen._stored.clear()  # the second time they are new
    journal.close()

    levels = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert len(names) == 9
    assert [level for level, _ in levels] == ["WARNING", "ERROR"] * 2
    assert all("% of its room" in message for _, message in levels)


def test_refusing_a_segment_needs_no_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F5: moving to quarantine goes on while the disk is full; the reason is in the log when it cannot be in a file."""

    class Full(Disk):
        full = False

        def create(self, path: Path) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().create(path)

    disk = Full()
    journal = open_journal(tmp_path, disk=disk)
    store(journal, body("a"), body("b"))
    journal.rotate()
    (segment,) = journal.closed_segments()
    disk.full = True
    with pytest.raises(JournalFull, match="tried again later"):
        journal.split(segment)
    held = journal.closed_segments()
    with caplog.at_level(logging.ERROR):
        name = journal.quarantine(segment, "cannot read all data").name
    stats = journal.stats()
    journal.close()

    assert held == []
    assert (stats.segments, stats.held_segments, stats.quarantined_files) == (0, 0, 1)
    assert "cannot read all data" in caplog.text
    assert [item.name for item in Quarantine(tmp_path).listing()] == [name]


def test_a_body_is_known_again_though_the_disk_was_full_when_it_was_loaded(tmp_path: Path) -> None:
    """F5: neither index nor digests had room beside the segment; removing it makes some, and a process after it knows them."""

    class Full(Disk):
        full = False

        def write(self, descriptor: int, data: bytes) -> None:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if self.full and name.endswith((".index", ".seen")) and list(tmp_path.glob("*.otlp")):
                raise OSError(errno.ENOSPC, "No space left on device")
            super().write(descriptor, data)

    disk = Full()
    journal = open_journal(tmp_path, PATIENT, disk=disk)
    store(journal, body("a"))
    disk.full = True
    store(journal, body("b"))
    journal.rotate()
    first = drained(journal)
    journal.close()
    again = open_journal(tmp_path, PATIENT)
    taken = [append(again, body(name)).result(PATIENCE_S) for name in "abc"]
    again.rotate()
    second = drained(again)
    again.close()

    assert first == ["a", "b"]
    assert len(taken) == 3
    assert second == ["c"]


# F6, F7: a disk that fails, and one that is slow.


def test_the_refusal_says_why(tmp_path: Path) -> None:
    """F6: whoever sent it, and whoever looks at the numbers, reads what the disk said."""
    disk = BrokenDisk()
    journal = open_journal(tmp_path, disk=disk)
    disk.fails["sync"] = errno.EIO
    with pytest.raises(JournalError, match="cannot be written: EIO"):
        append(journal, body("a")).result(PATIENCE_S)
    stats = journal.stats()
    journal.close()

    assert stats.last_error is not None
    assert "EIO" in stats.last_error


def test_no_descriptor_is_synced_after_its_sync_failed(tmp_path: Path) -> None:
    """F6: the kernel may have dropped the pages and then reports success."""

    class Watched(BrokenDisk):
        def __init__(self) -> None:
            super().__init__()
            self.failed: set[int] = set()
            self.again: list[int] = []

        def create(self, path: Path) -> int:
            descriptor = super().create(path)
            self.failed.discard(descriptor)  # a new file under the same number
            return descriptor

        def sync(self, descriptor: int) -> None:
            if descriptor in self.failed:
                self.again.append(descriptor)
            if "sync" in self.fails:
                self.failed.add(descriptor)
            super().sync(descriptor)

    disk = Watched()
    journal = open_journal(tmp_path, disk=disk)
    for attempt in range(5):
        store(journal, body(f"good {attempt}"))
        disk.fails["sync"] = errno.EIO
        with pytest.raises(JournalError):
            append(journal, body(f"bad {attempt}")).result(PATIENCE_S)
        disk.fails.clear()
    journal.close()
    found = [name_of(content) for content in stored(journal)]

    assert disk.again == []
    assert found == [f"good {attempt}" for attempt in range(5)]


def test_a_disk_that_fails_for_ever_costs_a_bounded_number_of_files(tmp_path: Path) -> None:
    """F6: neither written nor cut nor removed: it is not tried with one new file after the other."""

    class Dead(BrokenDisk):
        def unlink(self, path: Path) -> None:
            self._may_fail("unlink")
            super().unlink(path)

    disk = Dead()
    journal = open_journal(tmp_path, disk=disk)
    disk.fails = {"sync": errno.EIO, "unlink": errno.EIO}
    for number in range(2 * MOST_UNCUT):
        with pytest.raises(JournalError):
            append(journal, body(f"b{number}")).result(PATIENCE_S)
    files = len(list(tmp_path.glob("*.otlp")))
    disk.fails.clear()
    store(journal, body("b0"))
    journal.close()

    assert files == MOST_UNCUT
    assert stored(journal) == [body("b0")]


def test_small_bodies_cannot_pile_up_behind_a_slow_disk(tmp_path: Path) -> None:
    """F7: each that waits costs memory beside its bytes, and that counts in the bound."""

    class Slow(Disk):
        def __init__(self) -> None:
            self.reached, self.go_on = threading.Event(), threading.Event()

        def sync(self, descriptor: int) -> None:
            self.reached.set()
            assert self.go_on.wait(PATIENCE_S)

    disk = Slow()
    journal = open_journal(tmp_path, replace(PATIENT, waiting_bytes=100_000), disk=disk)
    first = append(journal, body("first"))
    assert disk.reached.wait(PATIENCE_S)
    waiting: list[Future[Receipt]] = [append(journal, body(f"b{number}")) for number in range(1_000)]
    refused = [future for future in waiting if future.done()]
    threads = threading.active_count()
    disk.go_on.set()
    first.result(PATIENCE_S)
    late = [future.result(PATIENCE_S) for future in waiting if future not in refused]
    journal.close()

    assert len(refused) > 900
    assert all(isinstance(future.exception(), JournalFull) for future in refused)
    assert len(late) == 1_000 - len(refused)
    assert threads < 20


# F8: bytes of any file are damaged.


def damaged_folder(folder: Path, cipher: AesGcm | None) -> list[str]:
    """Fill a folder with everything that a journal has; returns the names of what is not loaded yet."""
    shutil.rmtree(folder, ignore_errors=True)
    journal = open_journal(folder, cipher=cipher)
    store(journal, body("loaded"))
    journal.rotate()
    drained(journal)
    store(journal, body("refused"))
    journal.rotate()
    journal.quarantine(journal.closed_segments()[0], "refused")
    journal.set_aside(b"raw", "cannot be decoded")
    for start in range(0, 12, 4):
        store(journal, *[body(f"b{number}", number * 11) for number in range(start, start + 4)])
        journal.rotate()
    journal.close()
    return [f"b{number}" for number in range(12)]


@pytest.mark.parametrize("cipher", [None, CIPHER], ids=["plain", "sealed"])
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_any_damage_costs_what_it_hit(tmp_path: Path, cipher: AesGcm | None, data: st.DataObject) -> None:
    """F8: bytes flipped in any file, a tail cut or zeroed, a file of the journal's own removed: it opens, delivers every
    intact record once, and keeps the damaged bytes in quarantine."""
    folder = tmp_path / "journal"
    names = damaged_folder(folder, cipher)
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: (path.suffix, path.name))
    hit: set[Path] = set()
    for _ in range(data.draw(st.integers(1, 3))):
        path = files[data.draw(st.integers(0, len(files) - 1))]
        if not path.exists() or not path.stat().st_size:
            continue
        hit.add(path)
        _damage(path, data)
    hit_segments = {path for path in hit if path.suffix == ".otlp"}
    journal = open_journal(folder, cipher=cipher)
    found = drained(journal)
    store(journal, body("after"))
    journal.close()

    assert len(found) == len(set(found))
    assert set(found) <= set(names)
    assert len(found) >= len(names) - 4 * len(hit_segments)
    if not hit_segments:
        assert found == names
    for item in Quarantine(folder).listing():
        assert item.reason


def _damage(path: Path, data: st.DataObject) -> None:
    """Do one of the things to *path* that disks and people do."""
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "zero", "remove"]))
    if kind == "flip":
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    elif kind == "zero":
        tail = min(len(content), 4_096, data.draw(st.integers(1, 4_096)))
        content[-tail:] = bytes(tail)
    if kind == "remove" and path.suffix != ".otlp":  # a segment that is gone is gone
        path.unlink()
    else:
        path.write_bytes(content)


# F9: a journal of another version.


def as_version_1(folder: Path) -> None:
    """Make of the journal in *folder* what the first version wrote: no mark, and an index of another layout."""
    (folder / "format").unlink()
    for path in folder.glob("*.index"):
        entry = struct.pack("<QIIQ32sH", 0, 30, 1, NOW, digest_of(b"x"), 4) + b"acme"
        path.write_bytes(entry + struct.pack("<I", zlib.crc32(entry)))


def test_a_journal_of_the_first_version_is_read(tmp_path: Path) -> None:
    """F9: everything is delivered, what was sent again is recognised, and the folder has the mark of today."""
    journal = open_journal(tmp_path)
    contents = [body(f"b{number}") for number in range(5)]
    store(journal, *contents)
    journal.close()
    as_version_1(tmp_path)
    later = open_journal(tmp_path)
    again = [append(later, content).result(PATIENCE_S).duplicate for content in contents]
    found = stored(later)
    later.close()

    assert again == [True] * 5
    assert found == contents
    assert (tmp_path / "format").read_bytes().startswith(b"controltower journal, format 2, ")


def test_a_journal_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    """F9: the refusal says what to do, and every byte stays."""
    journal = open_journal(tmp_path)
    store(journal, body("a"))
    journal.close()
    text = b"controltower journal, format 3, "
    (tmp_path / "format").write_bytes(b"%s%08x\n" % (text, zlib.crc32(text)))
    (tmp_path / "x.tmp").write_bytes(b"draft")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(JournalFormatError, match=r"has format 3, and .* up to 2: start the version that wrote it"):
        open_journal(tmp_path)

    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert {**after, "lock": b""} == {**before, "lock": b""}


@pytest.mark.parametrize("mark", [b"", b"\0" * 41, b"controltower journal, format 9, 00000000\n", b"something else"])
def test_a_damaged_mark_is_written_again(tmp_path: Path, mark: bytes) -> None:
    """F8: it is no reason not to start, whatever number damage made of it."""
    open_journal(tmp_path).close()
    good = (tmp_path / "format").read_bytes()
    (tmp_path / "format").write_bytes(mark)
    open_journal(tmp_path).close()

    assert (tmp_path / "format").read_bytes() == good


# F11: counters at their ends.


@pytest.mark.parametrize("now", [2**63 - 2, 2**64 - 5, 10**20 - 3])
def test_numbers_at_their_ends(tmp_path: Path, now: int) -> None:
    """F11: ids go on behind the last value of every width that they could have, in order, also over a restart."""
    received_ns = min(now, 2**64 - 1)
    names: list[str] = []
    ids: list[str] = []
    for _ in range(2):
        journal = open_journal(tmp_path, now=now)
        for _ in range(4):
            names.append(f"b{len(names)}")
            store(journal, body(names[-1]), received_ns=received_ns)
            journal.rotate()
        ids = [segment.id for segment in journal.closed_segments()]
        assert [name_of(content) for content in stored(journal)] == names
        journal.close()
    last = open_journal(tmp_path, now=now)
    found = drained(last)
    last.close()

    assert len(set(ids)) == len(names) == 8
    assert found == names


def test_ids_go_on_after_any_time_in_a_name(tmp_path: Path) -> None:
    """F11: a clock that stood far in the future leaves names behind which others follow."""
    far = open_journal(tmp_path, now=10**20 + 7)
    store(far, body("far"), received_ns=NOW)
    far.close()
    journal = open_journal(tmp_path)
    store(journal, body("near"))
    journal.close()

    assert [name_of(content) for content in stored(journal)] == ["far", "near"]


# F14, F16: a long outage, and numbers that are right after it.


def test_an_outage_of_three_days(tmp_path: Path) -> None:
    """F14: first and last hour are complete, whatever is restarted in between; the age of the oldest is right at once."""
    limits = replace(PATIENT, segment_bytes=2_000)
    names: list[str] = []
    ages: list[int] = []
    for hour in range(72):
        now = NOW + hour * HOUR_NS
        journal = open_journal(tmp_path, limits, now=now)
        oldest = journal.stats().oldest_received_ns
        ages.append(0 if oldest is None else (now - oldest) // HOUR_NS)
        for number in range(5):
            names.append(f"{hour} {number}")
        store(journal, *[body(name, 200) for name in names[-5:]], received_ns=now)
        journal.close()
    last = open_journal(tmp_path, limits, now=NOW + 72 * HOUR_NS)
    before = last.stats()
    found = drained(last)
    after = last.stats()
    last.close()

    assert ages == list(range(72))
    assert before.segments == len(set(segment_times(found))) == 72
    assert before.bytes > 72 * 5 * 200
    assert found == names
    assert (after.segments, after.bytes, after.oldest_received_ns) == (0, 0, None)


def segment_times(names: list[str]) -> list[str]:
    return [name.split()[0] for name in names]


def test_the_numbers_are_right_after_a_restart(tmp_path: Path) -> None:
    """F16: backlog, age and quarantine are those from before, and move on."""
    journal = open_journal(tmp_path)
    store(journal, body("a", 500), received_ns=NOW - 5)
    journal.rotate()
    journal.quarantine(journal.closed_segments()[0], "no")
    store(journal, body("b", 500), received_ns=NOW - 3)
    journal.rotate()
    store(journal, body("c", 500), received_ns=NOW - 1)
    journal.close()
    before = journal.stats()
    again = open_journal(tmp_path)
    after = again.stats()
    again.remove(again.closed_segments()[0])
    moved = again.stats()
    again.close()

    assert replace(after, free_bytes=0, left_bytes=0) == replace(before, free_bytes=0, left_bytes=0)
    assert (after.segments, after.oldest_received_ns, after.quarantined_files) == (2, NOW - 3, 1)
    assert (moved.segments, moved.oldest_received_ns) == (1, NOW - 1)
    assert moved.used_bytes < after.used_bytes


# F18, F35, F72.


def test_sent_again_after_a_kill_behind_the_sync(tmp_path: Path) -> None:
    """F18: it was on the disk and the answer was lost: the same bytes are acknowledged, and are there once."""
    disk = BrokenDisk()
    journal = open_journal(tmp_path, disk=disk)
    store(journal, body("a"))
    shutil.copytree(tmp_path, tmp_path.with_name("killed"))
    journal.close()
    again = open_journal(tmp_path.with_name("killed"))
    receipt = append(again, body("a")).result(PATIENCE_S)
    again.rotate()
    found = stored(again)
    again.close()

    assert receipt.duplicate
    assert found == [body("a")]


def test_what_is_too_large_to_be_read_again_is_not_written(tmp_path: Path) -> None:
    """F35: the largest message can be read back; one byte more is refused for good."""
    journal = open_journal(tmp_path, JournalLimits(segment_age_s=3600.0))
    with pytest.raises(JournalTooLarge, match="send less at once") as caught:
        journal.append(bytes(MAX_MESSAGE_BYTES + 1), tenant="t", received_ns=NOW, digest=b"d" * 32).result(PATIENCE_S)
    journal.close()

    assert caught.value.permanent
    assert journal.stats().bytes == 0


NAMES = ["../../etc/passwd", "a/b", "\0", "x" * 300, "CON", "..", "", "\ud7ff\U0001f600", "a\nb", "%s%n"]


@pytest.mark.parametrize("tenant", NAMES)
def test_names_never_become_paths(tmp_path: Path, tenant: str) -> None:
    """F72: a tenant's name is only ever inside files; those are private, and nothing is outside of the folder."""
    folder = tmp_path / "one" / "journal"
    journal = open_journal(folder)
    content = body("a")
    append(journal, content, tenant=tenant).result(PATIENCE_S)
    journal.rotate()
    segment = journal.closed_segments()[0]
    found = bodies(segment.path)
    journal.quarantine(segment, tenant)
    journal.set_aside(b"raw", tenant, tenant=tenant)
    journal.close()
    paths = sorted(tmp_path.rglob("*"))
    modes = {path.is_dir(): set[int]() for path in paths}
    for path in paths:
        modes[path.is_dir()].add(stat.S_IMODE(path.stat().st_mode))

    assert found == [content]
    assert modes == {True: {0o700}, False: {0o600}}
    assert all(re.fullmatch("[a-z0-9.-]+", path.name) for path in paths)


def test_bodies_that_cannot_be_decoded_do_not_stop_the_others(tmp_path: Path) -> None:
    """O43: they are kept once each, up to a quarter of the budget, and then refused while good ones are taken."""
    journal = open_journal(tmp_path, replace(PATIENT, budget_bytes=40_000))
    kept = {journal.set_aside(bytes([number]) * 1_000, "cannot be decoded").name for number in range(5)}
    kept |= {journal.set_aside(bytes([number]) * 1_000, "cannot be decoded").name for number in range(5)}
    for number in range(5, 7):
        journal.set_aside(bytes([number]) * 1_000, "cannot be decoded")
    with pytest.raises(JournalFull, match="look through it"):
        journal.set_aside(b"x" * 3_000, "cannot be decoded")
    store(journal, body("good", 1_000))
    stats = journal.stats()
    journal.close()

    assert len(kept) == 5
    assert stats.quarantined_bytes <= 10_000
    assert stats.bytes > 1_000
