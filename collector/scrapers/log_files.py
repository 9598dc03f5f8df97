"""The files of a log as they are found: named, renamed, truncated, copied, compressed, deleted."""

import glob
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from controltower.collector.scrapers.log_content import Content, DamagedError, compression_of, open_content
from controltower.collector.scrapers.log_generation import (
    SAMPLE_BYTES,
    START_BYTES,
    Generation,
    Key,
    restored,
    start_of,
)

MOST_FILES: Final = 10_000  # that the patterns of one source may find
MOST_GONE: Final = 256  # generations without a file that are remembered, for a copy that appears later
MOST_OPEN: Final = 128  # files of one source that are held open between two looks
WHOLE_AFTER_NS: Final = 30 * 10**9  # a rotated file that did not change for so long is whole, and so is its last line
STALE_AFTER_NS: Final = (
    3600 * 10**9
)  # the same of a file that was not rotated: its writer may be in the middle of a line

COMPARED_BYTES: Final = 64 * 1024  # at once

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as the system tells it."""

    path: str
    key: Key
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Aside:
    """A file that is a copy of what is read elsewhere: looked into again when one of the two changes, or one is lost."""

    seen: Seen
    original: Seen | None  # None: compressed, and compared to its end
    lost: int


class LogFiles:
    """Knows which file holds which generation. For one thread; methods raise OSError only when nothing can be read."""

    def __init__(
        self, patterns: Sequence[str], exclude: Sequence[str], clock: Callable[[], int], *, from_end: bool = False
    ) -> None:
        self._patterns = patterns
        self._exclude = exclude
        self._clock = clock
        self._from_end = from_end  # holds for the first look at all
        self._first = True
        self._serial = 0
        self.generations: list[Generation] = []
        self._found: dict[Key, Seen] = {}  # by the patterns
        self._seen: dict[Key, Seen] = {}  # of the generations
        self._open: dict[int, Content] = {}  # serial -> file, the longest unused first
        self._aside: dict[Key, tuple[Aside, Key]] = {}  # with the file that each is a copy of
        self._lost = 0  # how often a generation lost its file: then copies are looked into again
        self.problems: dict[str, str] = {}  # path -> why it cannot be read
        self.damaged: list[Seen] = []  # compressed files that cannot be read and did not change for long
        self.truncated = 0  # how often a file was found to hold something else, since the start

    # -- saved and restored

    def restore(self, saved: Json) -> None:
        """Go on from what was saved."""
        self._first = False
        self._serial = saved["serial"]
        self.generations = [restored(each) for each in saved["generations"]]

    def state(self) -> Json:
        """Return what is to be saved."""
        return {"serial": self._serial, "generations": [each.state() for each in self.generations]}

    # -- looking

    def look(self) -> None:
        """Find out which file holds which generation now; new ones begin."""
        found = self._found = self._listed()
        self._keep_or_lose(found)
        known = {each.key for each in self.generations if not each.gone}
        for seen in sorted(found.values(), key=lambda each: (each.changed_ns, each.path)):
            if seen.key not in known:
                self._place(seen)
        self._aside = {key: aside for key, aside in self._aside.items() if key in found}
        self._forget()
        self._first = False

    def _listed(self) -> dict[Key, Seen]:
        """Return the files that the patterns find, each once, however many names it has."""
        found: dict[Key, Seen] = {}
        for path in self._paths():
            with suppress(FileNotFoundError):
                info = os.stat(path)
                if stat.S_ISREG(info.st_mode):
                    key = (info.st_dev, info.st_ino)
                    if key not in found:
                        found[key] = Seen(path, key, info.st_size, info.st_mtime_ns)
                if len(found) > MOST_FILES:
                    self.problems[path] = f"the patterns find more than {MOST_FILES} files"
                    break
        return found

    def _paths(self) -> Iterator[str]:
        for pattern in self._patterns:
            for path in sorted(glob.iglob(pattern, recursive=True)):
                if not any(fnmatch(path, each) or fnmatch(os.path.basename(path), each) for each in self._exclude):
                    yield path

    def _keep_or_lose(self, found: dict[Key, Seen]) -> None:
        self._seen = {}
        for each in self.generations:
            if each.gone:
                continue
            seen = found.get(each.key) or self._elsewhere(each)
            if seen is None or compression_of(seen.path) != each.compression:  # the number is another file's by now
                self._lose(each)
                continue
            each.path = seen.path
            if not each.compression and (seen.size < max(each.size, each.offset) or not self._holds(each, seen)):
                self.lose(each)
            elif self._is_over(each, seen):
                self._lose(each)
            else:
                each.size = seen.size
                self._seen[each.key] = seen

    def _holds(self, each: Generation, seen: Seen) -> bool:
        """Whether a file can still hold what was read of it; one that grew is looked at when it is read on."""
        if seen.size != each.offset or seen.changed_ns == each.changed_ns or not each.offset:
            return True
        each.changed_ns = seen.changed_ns
        return self._still_holds(each)

    def _is_over(self, each: Generation, seen: Seen) -> bool:
        """Whether a file that is held open only by us was read to its end."""
        descriptor = getattr(self._open.get(each.serial), "descriptor", None)
        if descriptor is None or os.fstat(descriptor).st_nlink:
            return False
        return seen.size <= each.offset and seen.changed_ns < self._clock() - WHOLE_AFTER_NS

    def _elsewhere(self, each: Generation) -> Seen | None:
        """Return a file that no pattern finds any more: open still, or under another name in its folder."""
        content = self._open.get(each.serial)
        descriptor = getattr(content, "descriptor", None)
        if descriptor is not None:
            info = os.fstat(descriptor)
            return Seen(each.path, each.key, info.st_size, info.st_mtime_ns)
        with suppress(OSError), os.scandir(os.path.dirname(os.path.realpath(each.path)) or ".") as entries:
            for entry in entries:
                if entry.inode() == each.inode and entry.is_file(follow_symlinks=False):
                    info = entry.stat(follow_symlinks=False)
                    if info.st_dev == each.device:
                        return Seen(entry.path, each.key, info.st_size, info.st_mtime_ns)
        return None

    def lose(self, each: Generation) -> None:
        """Note that the file of a generation was found to hold something else."""
        self.truncated += 1
        self._lose(each)

    def _lose(self, each: Generation) -> None:
        each.gone = True
        self._lost += 1
        self._seen.pop(each.key, None)
        self._close(each.serial)

    def _place(self, seen: Seen) -> None:
        """Find out what a file holds that belongs to no generation yet."""
        if self._is_aside(seen):
            return
        try:
            content, _ = open_content(Path(seen.path), compression_of(seen.path))
        except OSError as exc:
            self.problems[seen.path] = os.strerror(exc.errno) if exc.errno else str(exc)
            return
        self.problems.pop(seen.path, None)
        with closing(content):
            try:
                self._recognise(seen, content)
            except DamagedError:  # not whole yet, or damaged for good
                if seen.changed_ns < self._clock() - WHOLE_AFTER_NS:
                    self.damaged.append(seen)
                    self._begin(seen).done = True
            except OSError as exc:
                self.problems[seen.path] = os.strerror(exc.errno or 0)

    def _recognise(self, seen: Seen, content: Content) -> None:
        compression = compression_of(seen.path)
        start = start_of(content.read_at(0, START_BYTES))
        # The one of which most was read comes first: the beginning of one can be the whole of another.
        likely = (each for each in self.generations if not (start and each.start) or start == each.start)
        for each in sorted(likely, key=lambda each: -each.offset):
            is_in = each.is_in(content)
            if is_in and not each.gone and not each.compression and not self._still_holds(each):
                self.lose(each)  # truncated, after it was copied to here
            if is_in and each.gone:
                each.move(seen.key, seen.path, compression)
                each.size = seen.size
                self._seen[seen.key] = seen
                return
            if not each.gone and self._is_copy(seen, content, each):
                original = None if compression else self._seen.get(each.key)
                self._aside[seen.key] = Aside(seen, original, self._lost), each.key
                return
        self._aside.pop(seen.key, None)
        begun = self._begin(seen)
        begun.start = start
        if self._first and self._from_end:
            self._to_end(begun, seen, content)

    def _still_holds(self, each: Generation) -> bool:
        content = self.content(each)
        return content is None or each.is_in(content)

    def _is_aside(self, seen: Seen) -> bool:
        if (known := self._aside.get(seen.key)) is None:
            return False
        aside, original = known
        now = self._seen.get(original) if aside.original else None
        return aside == Aside(seen, now, self._lost)

    def _is_copy(self, seen: Seen, content: Content, each: Generation) -> bool:
        """Whether a file holds what another one holds that is read: nothing more, and nothing else."""
        original = self.content(each)
        if original is None or not seen.size:
            return False
        if each.compression or compression_of(seen.path):
            return _is_beginning(content, original)
        length = os.fstat(getattr(original, "descriptor", -1)).st_size
        if seen.size > length:
            return False
        return all(
            content.read_at(begin, SAMPLE_BYTES)[: seen.size - begin]
            == original.read_at(begin, SAMPLE_BYTES)[: seen.size - begin]
            for begin in (0, max(0, seen.size - SAMPLE_BYTES))
        )

    def _begin(self, seen: Seen) -> Generation:
        self._serial += 1
        begun = Generation(self._serial, *seen.key, seen.path, seen.path, compression=compression_of(seen.path))
        begun.size = seen.size
        self.generations.append(begun)
        self._seen[seen.key] = seen
        return begun

    def _to_end(self, begun: Generation, seen: Seen, content: Content) -> None:
        """Pass over what is there already."""
        if begun.compression:
            begun.done = True
            return
        sample = content.read_at(max(0, seen.size - SAMPLE_BYTES), SAMPLE_BYTES)
        end = sample.rfind(b"\n") + 1
        begun.offset = seen.size - len(sample) + end if end else 0
        begun.took(sample[:end], content.read_at(0, min(SAMPLE_BYTES, begun.offset)))

    def _forget(self) -> None:
        gone = [each for each in self.generations if each.gone]
        for each in gone[: max(0, len(gone) - MOST_GONE)]:
            self.generations.remove(each)

    # -- reading

    def unread(self) -> list[Generation]:
        """Return the generations whose file may hold more than was read, the oldest first."""
        return [
            each
            for each in self.generations
            if not each.gone
            and not each.done
            and (seen := self._seen.get(each.key)) is not None
            and (bool(each.compression) or seen.size > each.offset)
        ]

    def content(self, each: Generation) -> Content | None:
        """Return the open file of a generation; None when it cannot be opened, or is another one by now."""
        content = self._open.pop(each.serial, None)
        if content is None:
            try:
                content, info = open_content(Path(each.path), each.compression)
            except OSError as exc:
                if not isinstance(exc, FileNotFoundError):  # renamed a moment ago: the next look finds it
                    self.problems[each.path] = os.strerror(exc.errno or 0)
                return None
            if (info.st_dev, info.st_ino) != each.key:
                content.close()
                return None
            while len(self._open) >= MOST_OPEN:
                self._close(next(iter(self._open)))
        self._open[each.serial] = content
        return content

    def is_whole(self, each: Generation) -> bool:
        """Whether a file is not written to any more, so that its last line is whole without an end of line."""
        rotated = each.path != each.born or each.key not in self._found
        return bool(each.compression) or self.is_quiet(each, WHOLE_AFTER_NS if rotated else STALE_AFTER_NS)

    def is_quiet(self, each: Generation, since_ns: int) -> bool:
        """Whether a file did not change for so long."""
        seen = self._seen.get(each.key)
        return seen is not None and seen.changed_ns < self._clock() - since_ns

    def behind(self) -> int:
        """Return how many bytes are there and were not read; of a compressed file what it has on the disk."""
        return sum(
            seen.size if each.compression else max(0, seen.size - each.offset)
            for each in self.generations
            if not each.gone and not each.done and (seen := self._seen.get(each.key)) is not None
        )

    def _close(self, serial: int) -> None:
        if (content := self._open.pop(serial, None)) is not None:
            content.close()

    def close(self) -> None:
        """Close all files."""
        for serial in list(self._open):
            self._close(serial)


def _is_beginning(content: Content, whole: Content) -> bool:
    """Whether all of *content* is at the beginning of *whole*; the first difference ends it."""
    at = 0
    while data := content.read_at(at, COMPARED_BYTES):
        try:
            if whole.read_at(at, len(data)) != data:
                return False
        except DamagedError:  # the file that is known; what is asked about may be in order
            return False
        at += len(data)
    return at > 0
