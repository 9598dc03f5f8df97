"""A process that ends between any two system calls, or a power cut there, costs nothing and needs no repair."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from controltower.collector.cipher import AesGcm
from controltower.tracer.journal import Cipher, Journal, JournalError, Quarantine, Receipt, SegmentFile
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.kept import Kept
from tests.tracer.journals import (
    NOW,
    PATIENCE_S,
    PATIENT,
    Steps,
    append,
    bodies_in,
    body,
    name_of,
    open_journal,
)
from tests.tracer.stopping import PowerDisk, StoppingDisk

POISON = "poison"
KEEPING = replace(PATIENT, keep_s=3600.0)


class Story:
    """What a client sent and was told, and what a store took, over the life of several processes.

    The store takes a segment once, by its id, and refuses whatever holds poison until it is cured.
    """

    def __init__(self, folder: Path, cipher: Cipher | None = None) -> None:
        self.folder = folder
        self.cipher = cipher
        self.acknowledged: set[str] = set()
        self.sent: list[str] = []
        self.rows: dict[str, list[str]] = {}
        self.cured = False
        self.journal: Journal | None = None
        self.steps = Steps()
        self._now = NOW

    def open(self, disk: Disk) -> Journal:
        self._now += 1_000_000
        now = self._now
        self.journal = open_journal(self.folder, KEEPING, disk=disk, now=now, monotonic=self.steps, cipher=self.cipher)
        return self.journal

    def send(self, journal: Journal, *names: str) -> None:
        """Send bodies together, and note which of them were acknowledged."""
        self.sent += [name for name in names if name not in self.sent]
        futures: dict[str, Future[Receipt]] = {name: append(journal, body(name)) for name in names}
        failed: list[BaseException] = []
        for name, future in futures.items():
            error = future.exception(PATIENCE_S)
            if error is None:
                self.acknowledged.add(name)
            else:
                failed.append(error)
        if failed:
            raise failed[0]

    def drain(self, journal: Journal) -> None:
        """Load what is closed, as the collector does."""
        journal.rotate()
        while (segment := journal.wait_closed(0)) is not None:
            verified = journal.verify(segment)
            if verified is not None:
                self._load(journal, verified)

    def _load(self, journal: Journal, segment: SegmentFile) -> None:
        with segment.open() as file:
            names = [name_of(content) for content in bodies_in(file.read())]
        if POISON in names and not self.cured:
            if not journal.split(segment):
                journal.quarantine(segment, "poison")
            return
        assert self.rows.setdefault(segment.id, names) == names  # the same token, the same rows
        journal.remove(segment, len(names))

    def retry(self, journal: Journal) -> None:
        """Cure the store, and have everything loaded again that it refused."""
        self.cured = True
        for item in Quarantine(self.folder).listing():
            if item.can_be_retried:
                Quarantine(self.folder, journal._disk).retry(item.name)
        self.steps.now_s += 60.0
        self.drain(journal)

    def tell(self, disk: Disk) -> None:
        """Live through everything that a journal does."""
        journal = self.open(disk)
        self.send(journal, "a")
        self.send(journal, "b", "c")
        self.drain(journal)
        self.send(journal, "d", "e", POISON, "f")
        journal.rotate()
        self._damage(journal.closed_segments()[0].path)
        self.send(journal, "g")
        self.drain(journal)
        self.send(journal, "a", "h")  # "a" is sent again
        journal.set_aside(b"not a request", "cannot be decoded", signal="traces")
        journal.close()

        journal = self.open(disk)
        self.send(journal, "h", "i")
        self.retry(journal)
        self.send(journal, "j")
        journal.close()

    def _damage(self, segment: Path) -> None:
        """Append bytes that nobody wrote, once in the story."""
        with segment.open("ab") as file:
            file.write(b"\xff" * 9)

    def stumble(self) -> None:
        """Start again and end while what was left behind is mended, each time one call later, until it is mended."""
        stop_at = 0
        while True:
            stop_at += 1
            disk = StoppingDisk(stop_at, torn=True)
            with contextlib.suppress(SystemExit):
                self.open(disk)
            if self.journal is not None:
                self.journal.close()
                self.journal = None
            disk.let_go()
            if not disk.dead:
                return

    def finish(self) -> None:
        """Start again after the end, with a client that sends again what was not acknowledged."""
        journal = self.open(StoppingDisk())
        for name in self.sent:
            if name not in self.acknowledged:
                self.send(journal, name)
        self.drain(journal)
        self.retry(journal)
        self.send(journal, "end")
        self.drain(journal)
        stats = journal.stats()
        journal.close()

        assert (stats.segments, stats.bytes, stats.held_segments, stats.last_error) == (0, 0, 0, None)
        self.check()

    def check(self) -> None:
        """Everything that was sent is in the store once, and nothing is left in the folder but what has to be."""
        counts = Counter(name for names in self.rows.values() for name in names)
        assert counts == dict.fromkeys(self.sent, 1)
        left = {path.suffix for path in self.folder.iterdir() if path.is_file()} - {""}
        assert left <= {".seen"}
        kept = {file.id: file.rows for file in Kept(self.folder, Disk(), keep_s=1, keep_bytes=1, clock=int).files()}
        assert kept == {name: len(self.rows[name]) for name in kept}
        kinds = {item.kind for item in Quarantine(self.folder).listing()}
        assert kinds <= {"damaged", "torn", "raw"}


def ended(story: Story, disk: StoppingDisk) -> bool:
    """Tell the story on *disk*; returns whether the process ended before its end."""
    try:
        story.tell(disk)
    except (SystemExit, JournalError):
        assert disk.dead
    if disk.dead and story.journal is not None:
        story.journal.close()
    disk.let_go()
    return disk.dead


def stops(folder: Path, mode: str) -> Iterator[tuple[Story, int]]:
    """Tell the story again and again, each time ended at another call: at all of them, or in the middle of all writes.

    All modes but the first with an encrypted journal: what is done to files is the same, and what is in them is not.
    """
    cipher = None if mode == "whole" else AesGcm([bytes(32)])
    undisturbed = StoppingDisk()
    assert not ended(Story(folder, cipher), undisturbed)
    for stop_at, call in enumerate(undisturbed.calls, 1):
        if mode == "torn" and call != "write":
            continue
        shutil.rmtree(folder)
        story = Story(folder, cipher)
        disk = PowerDisk(folder, stop_at) if mode == "power" else StoppingDisk(stop_at, torn=mode == "torn")
        if not ended(story, disk):  # two bodies shared a sync that did not the first time
            continue
        if isinstance(disk, PowerDisk):
            disk.cut(folder)
        yield story, stop_at


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the journal's thread ends, too
@pytest.mark.parametrize("mode", ["whole", "torn", "power"])
def test_ending_at_any_call_costs_nothing(tmp_path: Path, mode: str) -> None:
    """F2: ended before each call, in the middle of each write, and with a power cut that leaves only what was synced."""
    told = 0
    for story, stop_at in stops(tmp_path / "journal", mode):
        try:
            if mode == "torn":
                story.stumble()
            story.finish()
        except BaseException as error:
            error.add_note(f"ended at call {stop_at}")
            raise
        told += 1

    assert told > (30 if mode == "torn" else 100)


def test_the_story_is_whole(tmp_path: Path) -> None:
    """Undisturbed, it comes to its end, and takes every kind of call."""
    story = Story(tmp_path / "journal")
    disk = StoppingDisk()

    assert not ended(story, disk)
    story.finish()
    assert set(disk.calls) >= {"create", "append_to", "write", "sync", "sync_folder", "rename", "unlink", "make_folder"}
