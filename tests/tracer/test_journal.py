"""Appending, recognising what is sent again, closing segments, limits, and a disk that fails."""

import errno
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controltower.tracer.journal import Journal, JournalClosedError, JournalError, JournalFull, JournalLockedError
from tests.tracer.journals import (
    NOW,
    PATIENCE_S,
    PATIENT,
    BrokenDisk,
    Steps,
    append,
    bodies,
    body,
    name_of,
    open_journal,
    store,
    stored,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = open_journal(tmp_path / "traces")
    yield opened
    opened.close()


def test_what_is_appended_is_in_the_segment_in_order(journal: Journal) -> None:
    """A closed segment holds the bodies in the order in which they came."""
    contents = [body(f"b{number}") for number in range(50)]
    store(journal, *contents)
    journal.rotate()

    assert stored(journal) == contents
    assert journal.closed_segments()[0].records == 50


def test_segments_can_be_read_by_their_owner_only(journal: Journal) -> None:
    """Files are 0600 and folders 0700, whatever the umask says."""
    store(journal, body("a"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [journal.folder, *journal.folder.iterdir()]}

    assert modes.pop("traces") == modes.pop("quarantine") == 0o700
    assert set(modes.values()) == {0o600}


def test_a_body_sent_again_is_stored_once(journal: Journal) -> None:
    """The second time it is acknowledged as a duplicate."""
    store(journal, body("a"))
    again = append(journal, body("a")).result(PATIENCE_S)
    journal.rotate()

    assert again.duplicate
    assert stored(journal) == [body("a")]


def test_two_tenants_may_send_the_same_bytes(journal: Journal) -> None:
    """Recognising a body never crosses tenants."""
    first = append(journal, body("a"), tenant="north").result(PATIENCE_S)
    second = append(journal, body("a"), tenant="south").result(PATIENCE_S)
    journal.rotate()

    assert not first.duplicate
    assert not second.duplicate
    assert stored(journal) == [body("a"), body("a")]


def test_a_body_sent_again_is_recognised_after_removal_and_restart(tmp_path: Path) -> None:
    """The digests outlive the segment and the process."""
    first = open_journal(tmp_path)
    store(first, body("a"), body("b"))
    first.rotate()
    first.remove(first.closed_segments()[0])
    store(first, body("c"))
    first.close()

    second = open_journal(tmp_path)
    outcomes = [append(second, body(name)).result(PATIENCE_S).duplicate for name in ("a", "b", "c", "d")]
    second.close()

    assert outcomes == [True, True, True, False]


def test_digests_outlive_a_restart_when_the_disk_had_no_room_for_them(tmp_path: Path) -> None:
    """What was loaded while the disk was full is recognised after a restart, and noted when there is room again."""
    disk = BrokenDisk()
    first = open_journal(tmp_path, disk=disk)
    store(first, body("a"), body("b"))
    first.rotate()
    (segment,) = first.closed_segments()
    disk.fails["write"] = errno.ENOSPC
    first.remove(segment)
    assert {path.suffix for path in tmp_path.glob(f"{segment.id}*")} == {".seen", ".owed"}
    first.close()

    second = open_journal(tmp_path, disk=disk)
    assert [append(second, body(name)).result(PATIENCE_S).duplicate for name in ("a", "b")] == [True, True]
    del disk.fails["write"]
    store(second, body("c"))
    second.rotate()
    second.remove(second.closed_segments()[0])
    second.wait_closed(0)
    second.close()
    assert not list(tmp_path.glob("*.owed"))

    third = open_journal(tmp_path)
    outcomes = [append(third, body(name)).result(PATIENCE_S).duplicate for name in ("a", "b", "c", "d")]
    third.close()
    assert outcomes == [True, True, True, False]


def test_digests_are_forgotten_after_the_window(tmp_path: Path) -> None:
    """Memory is bounded by time: after the window the same body counts as new."""
    steps = Steps()
    journal = open_journal(tmp_path, monotonic=steps)
    store(journal, body("a"))
    steps.now_s += PATIENT.window_s + 1
    store(journal, body("b"))
    again = append(journal, body("a")).result(PATIENCE_S)
    journal.close()

    assert not again.duplicate


@pytest.mark.parametrize("jump_s", [-3_600, 3_600, 10 * 365 * 86_400])
def test_a_clock_that_is_set_makes_nobody_forget(tmp_path: Path, jump_s: int) -> None:
    """The window is measured by the monotonic clock, also when a segment is removed in between."""
    now = [NOW]
    journal = Journal(tmp_path, PATIENT, clock=lambda: now[0])
    store(journal, body("a"), received_ns=now[0])
    now[0] += jump_s * 10**9
    store(journal, body("b"), received_ns=now[0])
    journal.rotate()
    journal.remove(journal.closed_segments()[0])
    outcomes = [append(journal, body(name)).result(PATIENCE_S).duplicate for name in ("a", "b", "c")]
    journal.close()

    assert outcomes == [True, True, False]


@pytest.mark.parametrize("jump_s", [-3_600, 3_600])
def test_a_clock_that_is_set_between_two_runs_makes_nobody_forget(tmp_path: Path, jump_s: int) -> None:
    """At a start twice the window counts, so that an hour more or less on the wall does not matter."""
    journal = open_journal(tmp_path)
    store(journal, body("a"))
    journal.rotate()
    journal.remove(journal.closed_segments()[0])
    store(journal, body("b"))
    journal.close()
    later = open_journal(tmp_path, now=NOW + jump_s * 10**9)
    outcomes = [append(later, body(name)).result(PATIENCE_S).duplicate for name in ("a", "b", "c")]
    later.close()

    assert outcomes == [True, True, False]


def test_digests_are_bounded_in_number(tmp_path: Path) -> None:
    """Memory is bounded by number: the oldest are forgotten first."""
    journal = open_journal(tmp_path, replace(PATIENT, window_entries=3))
    store(journal, *[body(f"b{number}") for number in range(5)])
    outcomes = [append(journal, body(f"b{number}")).result(PATIENCE_S).duplicate for number in (4, 3, 2, 0)]
    journal.close()

    assert outcomes == [True, True, True, False]


class SlowDisk(BrokenDisk):
    """A disk whose sync waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def sync(self, descriptor: int) -> None:
        self.reached.release()
        assert self.go_on.acquire(timeout=PATIENCE_S)
        super().sync(descriptor)


def test_a_body_sent_again_while_it_is_written_waits_for_the_same_sync(tmp_path: Path) -> None:
    """Neither is acknowledged before the disk is done; then both are, and it is stored once."""
    disk = SlowDisk()
    journal = open_journal(tmp_path, disk=disk)
    first = append(journal, body("a"))
    assert disk.reached.acquire(timeout=PATIENCE_S)
    second = append(journal, body("a"))

    assert not first.done()
    assert not second.done()
    disk.go_on.release()
    assert not first.result(PATIENCE_S).duplicate
    assert second.result(PATIENCE_S).duplicate
    journal.rotate()
    assert stored(journal) == [body("a")]
    journal.close()


def test_what_waits_together_shares_a_sync(tmp_path: Path) -> None:
    """Group commit: a hundred appends that came during one sync take one more."""
    disk = SlowDisk()
    journal = open_journal(tmp_path, disk=disk)
    first = append(journal, body("first"))
    assert disk.reached.acquire(timeout=PATIENCE_S)
    others = [append(journal, body(f"b{number}")) for number in range(100)]
    disk.go_on.release(2)
    for future in [first, *others]:
        future.result(PATIENCE_S)
    journal.close()

    assert len(disk.synced) == 2


def test_waiting_bodies_are_bounded(tmp_path: Path) -> None:
    """While the disk is slow, memory does not grow without limit: more is refused."""
    disk = SlowDisk()
    journal = open_journal(tmp_path, replace(PATIENT, waiting_bytes=1_000), disk=disk)
    first = append(journal, body("a", 900))
    assert disk.reached.acquire(timeout=PATIENCE_S)

    with pytest.raises(JournalFull, match="waiting"):
        append(journal, body("b", 900)).result(PATIENCE_S)
    disk.go_on.release()
    first.result(PATIENCE_S)
    journal.close()


def test_segments_are_closed_by_size(tmp_path: Path) -> None:
    """A segment that reached its size is offered without anybody asking."""
    journal = open_journal(tmp_path, replace(PATIENT, segment_bytes=1_000))
    store(journal, body("a", 600), body("b", 600))

    segment = journal.wait_closed(PATIENCE_S)
    journal.close()

    assert segment is not None
    assert segment.bytes >= 1_000


def test_segments_are_closed_by_age(tmp_path: Path) -> None:
    """A segment that holds anything is offered when it is old enough, without more traffic."""
    journal = open_journal(tmp_path, replace(PATIENT, segment_age_s=0.01))
    store(journal, body("a"))

    segment = journal.wait_closed(PATIENCE_S)
    journal.close()

    assert segment is not None
    assert segment.records == 1


def test_age_closes_no_second_segment_while_one_waits_to_be_loaded(tmp_path: Path) -> None:
    """A backlog is loaded in few large segments: until the closed one is removed, the open one goes on growing."""
    journal = open_journal(tmp_path, replace(PATIENT, segment_age_s=0.01))
    store(journal, body("one"))
    first = journal.wait_closed(PATIENCE_S)
    assert first is not None
    store(journal, body("two"))
    store(journal, body("three"))
    while_waiting = len(journal.closed_segments())
    journal.remove(first)
    second = journal.wait_closed(PATIENCE_S)
    assert second is not None
    held = [name_of(content) for content in bodies(second.path)]
    journal.close()

    assert while_waiting == 1
    assert held == ["two", "three"]


def test_a_loader_without_work_gets_what_is_a_quarter_full_while_others_load(tmp_path: Path) -> None:
    """The end of a burst is loaded on all cores; what is smaller waits, since each load costs something whatever its size."""
    journal = open_journal(tmp_path, replace(PATIENT, segment_age_s=0.01, segment_bytes=1_000))
    store(journal, body("one"))
    first = journal.wait_closed(PATIENCE_S)
    assert first is not None
    store(journal, body("two"))
    too_small = journal.wait_closed(0.1, {first.id})
    store(journal, body("three", 300))
    second = journal.wait_closed(PATIENCE_S, {first.id})
    assert second is not None
    held = [name_of(content) for content in bodies(second.path)]
    journal.close()

    assert too_small is None
    assert held == ["two", "three"]


def test_ids_sort_by_time_over_restarts_and_clocks_that_jump_back(tmp_path: Path) -> None:
    """Ids are insert tokens: none comes twice, and later segments sort behind earlier ones."""
    ids: list[str] = []
    for now_ns in (5_000_000_000, 4_000_000_000, 4_000_000_000):
        journal = open_journal(tmp_path, now=now_ns)
        store(journal, body(f"at {len(ids)}"), body(f"and {len(ids)}"))
        journal.rotate()
        ids.append(journal.closed_segments()[-1].id)
        journal.close()

    assert ids == sorted(set(ids))


def test_a_full_budget_refuses_and_keeps(tmp_path: Path) -> None:
    """Over its budget the journal takes nothing new, keeps the old, and goes on when something was removed."""
    journal = open_journal(tmp_path, replace(PATIENT, budget_bytes=1_000))
    store(journal, body("a", 800))
    with pytest.raises(JournalFull, match="budget"):
        append(journal, body("b", 800)).result(PATIENCE_S)
    journal.rotate()

    assert stored(journal) == [body("a", 800)]
    journal.remove(journal.closed_segments()[0])
    store(journal, body("b", 800))
    journal.close()


def test_a_full_disk_refuses_keeps_and_recovers(tmp_path: Path) -> None:
    """ENOSPC in the middle of a write loses nothing that was acknowledged, and ends when there is room again."""
    disk = BrokenDisk()
    journal = open_journal(tmp_path, disk=disk)
    store(journal, body("a"))
    disk.fails["write"] = errno.ENOSPC
    with pytest.raises(JournalFull):
        append(journal, body("b")).result(PATIENCE_S)
    assert journal.stats().last_error is not None
    disk.fails.clear()
    store(journal, body("b"), body("c"))
    journal.rotate()

    assert journal.stats().last_error is None
    assert stored(journal) == [body("a"), body("b"), body("c")]
    journal.close()


def test_a_failed_sync_is_not_acknowledged_and_not_tried_again(tmp_path: Path) -> None:
    """After EIO the segment is given up, cut back to what is safe, and its descriptor is never synced again."""
    disk = BrokenDisk()
    journal = open_journal(tmp_path, disk=disk)
    store(journal, body("a"))
    disk.fails["sync"] = errno.EIO
    with pytest.raises(JournalError):
        append(journal, body("b")).result(PATIENCE_S)
    given_up = journal.closed_segments()
    disk.fails.clear()
    store(journal, body("b"))
    journal.rotate()

    assert [segment.records for segment in given_up] == [1]
    assert stored(journal) == [body("a"), body("b")]
    journal.close()


def test_a_segment_that_cannot_be_cut_is_held_back(tmp_path: Path) -> None:
    """Records that were refused are not loaded: the segment waits until it could be cut."""
    disk = BrokenDisk()
    journal = open_journal(tmp_path, disk=disk)
    store(journal, body("a"))
    disk.fails = {"sync": errno.EIO, "truncate": errno.EIO}
    with pytest.raises(JournalError):
        append(journal, body("b")).result(PATIENCE_S)
    held_back = journal.closed_segments()
    disk.fails.clear()
    store(journal, body("b"))
    journal.rotate()

    assert held_back == []
    assert stored(journal) == [body("a"), body("b")]
    journal.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second opening is refused with a sentence that says what to do."""
    journal = open_journal(tmp_path)
    with pytest.raises(JournalLockedError, match=r"in use by process \d+: stop it"):
        open_journal(tmp_path)
    journal.close()
    open_journal(tmp_path).close()


def test_closing_stores_what_waits_and_refuses_the_rest(tmp_path: Path) -> None:
    """Nothing that was taken is lost by closing; a second close does nothing."""
    journal = open_journal(tmp_path)
    futures = [append(journal, body(f"b{number}")) for number in range(20)]
    journal.close()
    journal.close()

    assert all(future.done() for future in futures)
    assert len(stored(journal)) == 20
    with pytest.raises(JournalClosedError):
        append(journal, body("late")).result(PATIENCE_S)


def test_a_refused_segment_is_kept_with_its_reason(journal: Journal) -> None:
    """Quarantine keeps the bytes and the store's words, and counts against the budget."""
    store(journal, body("bad"))
    journal.rotate()
    (segment,) = journal.closed_segments()
    kept = journal.quarantine(segment, "Code 26: not a number")

    assert journal.closed_segments() == []
    assert len(kept.read_bytes()) == segment.bytes
    assert "not a number" in kept.with_name(kept.name + ".reason.json").read_text()
    assert journal.stats().quarantined_files == 1
    assert append(journal, body("bad")).result(PATIENCE_S).duplicate


def test_stats_tell_the_oldest_that_is_not_loaded(journal: Journal) -> None:
    """The age of the backlog is that of the oldest acknowledged body that was not removed."""
    store(journal, body("old"), received_ns=NOW + 5)
    journal.rotate()
    store(journal, body("new"), received_ns=NOW + 9)

    assert journal.stats().oldest_received_ns == NOW + 5
    journal.remove(journal.closed_segments()[0])
    assert journal.stats().oldest_received_ns == NOW + 9
    assert journal.stats().segments == 1
