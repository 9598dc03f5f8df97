"""Folders of documents, as a kind of source: each file is read when it is whole, and its documents are records.

What is read of a file is told by its size and time of change. One that is written anew is read anew: ids are made of the
documents' own numbers and contents, so that what was in it before makes no second span.
"""

import glob
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from controltower.collector.scrapers.definition import FolderSource, TimeSpec
from controltower.collector.scrapers.documents import FORMATS
from controltower.collector.scrapers.observation import Fields, Record, Taken

LONGEST_BYTES: Final = 64 * 1024 * 1024  # of one file: it is read as a whole
MOST_BYTES: Final = 1024 * 1024  # of one batch, one record more
MOST_RECORDS: Final = 20_000
MOST_FILES: Final = 10_000  # that the patterns may find
WHOLE: Final = -1  # instead of how many records were read: all
QUIET_NS: Final = 5 * 10**9  # a file that did not change for so long is whole, where no other file says so

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    path: str
    size: int
    changed_ns: int


class FolderReader:
    """Reads the files of one source. For one thread."""

    def __init__(self, source: FolderSource, clock: Callable[[], int]) -> None:
        self._source = source
        self._format = FORMATS[source.format]
        self._clock = clock
        self._first = source.begin == "end"
        self._read: dict[
            str, tuple[int, int, int]
        ] = {}  # path -> size and time of change, and how many records were read
        self._unread: list[_Seen] = []
        self._opened: tuple[_Seen, list[Record]] | None = None
        self._problems: dict[str, str] = {}

    # -- the contract

    @staticmethod
    def times(source: FolderSource) -> list[TimeSpec]:
        """Return where the times of documents are when the source does not say it."""
        field, form = FORMATS[source.format].time
        return [TimeSpec(field=field, format=form)]

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._first = False
        self._read = {path: (size, changed_ns, count) for path, size, changed_ns, count in saved["files"]}

    def state(self) -> Json:
        """Return the place behind all that was read, to be saved."""
        return {"files": [[path, *each] for path, each in self._read.items()]}

    def read(self) -> Taken:
        """Return the next documents, file after file, the oldest first."""
        self._look()
        records: list[Record] = []
        used = 0
        for seen in filter(self._is_whole, self._unread):
            found = self._documents(seen)
            if found is None:
                continue
            done = self._done(seen)
            for record in found[max(done, 0) :]:
                if used >= MOST_BYTES or len(records) >= MOST_RECORDS:
                    self._read[seen.path] = (seen.size, seen.changed_ns, done)
                    return Taken(records, caught_up=False)
                records.append(record)
                used += len(record.content)
                done += 1
            self._read[seen.path] = (seen.size, seen.changed_ns, WHOLE)
            self._opened = None
        return Taken(records, caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of a document; Rejection when it is not in the source's encoding."""
        return self._format.fields(record, self._source.encoding)

    def behind(self) -> int:
        """Return how many bytes are in files that were not read to their end."""
        return sum(seen.size for seen in self._unread if self._done(seen) != WHOLE)

    @property
    def problems(self) -> dict[str, str]:
        """Return which files cannot be read, and why."""
        return self._problems

    def close(self) -> None:
        """Nothing is held open between two reads."""
        self._opened = None

    # -- files

    def _look(self) -> None:
        self._problems.clear()  # what cannot be read is tried, and told, again
        found = {seen.path: seen for seen in self._listed()}
        self._read = {path: each for path, each in self._read.items() if path in found}
        if self._first:
            self._read = {path: (seen.size, seen.changed_ns, WHOLE) for path, seen in found.items()}
            self._first = False
        unread = [seen for seen in found.values() if self._done(seen) != WHOLE]
        self._unread = sorted(unread, key=lambda seen: (seen.changed_ns, seen.path))

    def _listed(self) -> Iterator[_Seen]:
        count = 0
        for path in dict.fromkeys(self._paths()):
            try:
                info = os.stat(path)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(info.st_mode):
                count += 1
                if count > MOST_FILES:
                    self._problems[path] = f"the patterns find more than {MOST_FILES} files"
                    return
                yield _Seen(path, info.st_size, info.st_mtime_ns)

    def _paths(self) -> Iterator[str]:
        trigger = self._source.trigger
        for pattern in self._source.files:
            for path in sorted(glob.iglob(pattern, recursive=True)):
                excluded = any(
                    fnmatch(path, each) or fnmatch(os.path.basename(path), each) for each in self._source.exclude
                )
                if not excluded and not (trigger and path.endswith(trigger)):
                    yield path

    def _is_whole(self, seen: _Seen) -> bool:
        if self._source.trigger:
            return os.path.exists(seen.path + self._source.trigger)
        return seen.changed_ns < self._clock() - QUIET_NS

    def _done(self, seen: _Seen) -> int:
        """Return how many records of a file were read, or WHOLE."""
        size, changed_ns, count = self._read.get(seen.path, (0, 0, 0))
        return count if (size, changed_ns) == (seen.size, seen.changed_ns) else 0

    def _documents(self, seen: _Seen) -> list[Record] | None:
        """Return all records of a file; None when it cannot be read, or changed meanwhile."""
        if self._opened is not None and self._opened[0] == seen:
            return self._opened[1]
        if seen.size > LONGEST_BYTES:
            return [Record(seen.path, b"", "too_long: a file")]
        try:
            with Path(seen.path).open("rb") as file:
                content = file.read(seen.size)
                info = os.fstat(file.fileno())
        except OSError as exc:
            self._problems[seen.path] = os.strerror(exc.errno or 0)
            return None
        if (info.st_size, info.st_mtime_ns) != (seen.size, seen.changed_ns):
            return None  # it is written to: it was not whole
        found = [
            each._replace(place=f"{seen.path}: {each.place}") if each.flaw else each
            for each in self._format.records(content, self._source)
        ]
        self._opened = (seen, found)
        return found
