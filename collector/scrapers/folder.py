"""Folders of documents, as a kind of source: each file is read when it is whole, and its documents are records.

What is read of a file is told by its size and time of change, and by its content: one that was read under another name is
refused as a duplicate. One that is written anew is read anew: ids are made of the documents' own numbers and contents.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from controltower.collector.scrapers.definition import FolderSource, TimeSpec
from controltower.collector.scrapers.documents import FILE, FORMATS
from controltower.collector.scrapers.files import MOST_FILES, Files, Seen, files_of
from controltower.collector.scrapers.manifest import Manifest, manifest_of
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Record, Taken
from controltower.collector.scrapers.watch import Watch

logger = logging.getLogger(__name__)

LONGEST_BYTES: Final = 64 * 1024 * 1024  # of one file: it is read as a whole
MOST_BYTES: Final = 1024 * 1024  # of one batch, one record more
MOST_RECORDS: Final = 20_000
MOST_CONTENTS: Final = 10_000  # files whose contents are known, so that a copy is told
BLANK: Final = b"\xef\xbb\xbf\r\n\t \x1a\0"  # a file of these alone holds nothing
MOST_MANIFEST_BYTES: Final = 1024 * 1024
WHOLE: Final = -1  # instead of how many records were read: all

Json = dict[str, Any]


@dataclass(slots=True)
class _Read:
    """How far a file was read: of which size and time of change, how many records, and what its content was."""

    size: int
    changed_ns: int
    count: int
    content: str = ""
    defective: bool = False


class FolderReader(HoldsNothing):
    """Reads the files of one source. For one thread."""

    def __init__(
        self, source: FolderSource, clock: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._format = FORMATS[source.format]
        self._watch, self._watch_of_manifests = Watch(clock, monotonic), Watch(clock, monotonic)
        self._first = source.begin == "end"
        self._files: Files | None = None
        self._read: dict[str, _Read] = {}
        self._contents: dict[str, str] = {}  # digest -> name, of the files that were read last
        self._found: dict[str, Seen] = {}
        self._manifests: dict[str, tuple[Seen, dict[str, Manifest]]] = {}
        self._triggers: set[str] = set()
        self._saved: dict[str, _Read] = {}  # what was acknowledged
        self._before: dict[str, str] = {}  # what was in files that changed
        self._unread: list[Seen] = []
        self._opened: tuple[Seen, list[Record]] | None = None
        self._problems: dict[str, str] = {}
        self._tells_files = any(rule.when.get("part") == FILE for rule in source.rules)

    # -- the contract

    @staticmethod
    def times(source: FolderSource) -> list[TimeSpec]:
        """Return where the times of documents are when the source does not say it."""
        field, form = FORMATS[source.format].time
        return [TimeSpec(field=field, format=form)] if field else []

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._first = False
        self._read = {path: _Read(*each) for path, *each in saved["files"]}
        self.acknowledged(saved)
        self._contents = dict(saved.get("contents", ()))

    def state(self) -> Json:
        """Return the place behind all that was read, to be saved."""
        files = [
            [path, each.size, each.changed_ns, each.count, each.content, each.defective]
            for path, each in self._read.items()
        ]
        return {"files": files, "contents": list(self._contents.items())}

    def read(self) -> Taken:
        """Return the next documents, file after file, the oldest first."""
        self._look()
        self._put_away()
        records: list[Record] = []
        used = 0
        for seen in filter(self._is_whole, self._unread):
            found = self._documents(seen)
            if found is None:
                continue
            entry = self._read.setdefault(seen.path, _Read(seen.size, seen.changed_ns, 0))
            for record in found[max(entry.count, 0) :]:
                if used >= MOST_BYTES or len(records) >= MOST_RECORDS:
                    return Taken(records, caught_up=False)
                records.append(record)
                used += len(record.content)
                entry.count += 1
            entry.count = WHOLE
            self._opened = None
        return Taken(records, caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of a document; Rejection when it is not in the source's encoding."""
        if record.part == FILE:
            return dict(json.loads(record.content))
        return self._format.fields(record, self._source.encoding)

    def acknowledged(self, saved: Json) -> None:
        """Let the files that were read to their end be put away, as the source says, at the next look."""
        self._saved = {path: _Read(*each) for path, *each in saved["files"]}

    def behind(self) -> int:
        """Return how many bytes are in files that were not read to their end."""
        return sum(seen.size for seen in self._unread if self._done(seen) != WHOLE)

    @property
    def problems(self) -> dict[str, str]:
        """Return which files cannot be read, and why."""
        return self._problems

    def close(self) -> None:
        """Close what is open; it is opened again when there is something to read."""
        self._opened = None
        if self._files is not None:
            self._files.close()
            self._files = None

    # -- files

    def _opening(self) -> Files:
        if self._files is None:
            self._files = files_of(self._source.files, self._source.options())
        return self._files

    def _look(self) -> None:
        self._problems.clear()  # what cannot be read is tried, and told, again
        source = self._source
        found = self._opening().found(source.files, (*source.exclude, *source.beside))
        if len(found) > MOST_FILES:
            self._problems[found.pop().path] = f"the patterns find more than {MOST_FILES} files"
        self._watch.look(found)
        self._found = {seen.path: seen for seen in found}
        self._read = {path: each for path, each in self._read.items() if path in self._found}
        if self._first:
            self._read = {seen.path: _Read(seen.size, seen.changed_ns, WHOLE) for seen in found}
            self._first = False
        for seen in found:
            if seen.path in self._read and self._done(seen) == 0:
                self._before[seen.path] = self._read.pop(seen.path).content  # written anew
        if source.trigger:
            self._triggers = {
                each.path for each in self._opening().found([path + source.trigger for path in source.files], ())
            }
        if source.manifest is not None:
            self._look_for_manifests()
        self._unread = sorted(
            (seen for seen in found if self._done(seen) != WHOLE), key=lambda seen: (seen.changed_ns, seen.path)
        )

    def _put_away(self) -> None:
        """Move what was read, sent and acknowledged to where the source wants it."""
        archive = self._source.archive
        if archive is None:
            return
        for path, entry in self._saved.items():
            seen = self._found.get(path)
            if entry.count != WHOLE or seen is None or (seen.size, seen.changed_ns) != (entry.size, entry.changed_ns):
                continue
            try:
                self._opening().move(path, archive.rejected if entry.defective and archive.rejected else archive.to)
            except OSError as exc:
                self._problems[path] = exc.strerror or str(exc)
            else:
                del self._found[path]

    def _look_for_manifests(self) -> None:
        """Read the manifests that are new or changed."""
        manifest = self._source.manifest
        assert manifest is not None
        found = self._opening().found(manifest.files, ())
        self._watch_of_manifests.look(found)
        known = self._manifests
        self._manifests = {}
        for seen in filter(self._watch_of_manifests.is_quiet, found):
            if known.get(seen.path, (None,))[0] == seen:
                self._manifests[seen.path] = known[seen.path]
            elif seen.size > MOST_MANIFEST_BYTES:
                self._problems[seen.path] = "is too long for a manifest"
            elif (content := self._content(seen)) is not None:
                try:
                    self._manifests[seen.path] = (seen, manifest_of(content, manifest.line))
                except ValueError as exc:
                    self._problems[seen.path] = str(exc)

    def _announced(self, path: str) -> Manifest | None:
        name = PurePosixPath(path).name
        return next((named[name] for _, named in self._manifests.values() if name in named), None)

    def _is_whole(self, seen: Seen) -> bool:
        source = self._source
        if source.trigger:
            return seen.path + source.trigger in self._triggers
        if source.manifest is not None and self._announced(seen.path) is None:
            return False
        return self._watch.is_quiet(seen)

    def _done(self, seen: Seen) -> int:
        """Return how many records of a file were read, or WHOLE."""
        entry = self._read.get(seen.path)
        return entry.count if entry and (entry.size, entry.changed_ns) == (seen.size, seen.changed_ns) else 0

    def _content(self, seen: Seen) -> bytes | None:
        try:
            return self._opening().read(seen)
        except OSError as exc:
            self._problems[seen.path] = exc.strerror or str(exc)
            return None

    def _documents(self, seen: Seen) -> list[Record] | None:
        """Return all records of a file; None when it cannot be read, or changed meanwhile."""
        if self._opened is not None and self._opened[0] == seen:
            return self._opened[1]
        if seen.size > LONGEST_BYTES:
            return [Record(seen.path, b"", "too_long: a file")]
        content = self._content(seen)
        if content is None:
            return None  # it is written to: it was not whole
        digest = hashlib.sha256(content).hexdigest()
        if self._before.pop(seen.path, "") == digest:
            found: list[Record] = []  # touched, and not changed
        else:
            found = list(self._records(seen, content, digest))
        entry = self._read.setdefault(seen.path, _Read(seen.size, seen.changed_ns, 0))
        entry.content, entry.defective = digest, any(record.flaw for record in found)
        self._contents.setdefault(digest, seen.path)
        while len(self._contents) > MOST_CONTENTS:
            del self._contents[next(iter(self._contents))]
        self._opened = (seen, found)
        return found

    def _records(self, seen: Seen, content: bytes, digest: str) -> Iterator[Record]:
        announced = self._announced(seen.path)
        told: Json = {}
        if announced is not None and announced.sha256 not in ("", digest):
            told = {"outcome": "exception", "reason": "wrong_checksum"}
            yield Record(seen.path, b"", "wrong_checksum: the manifest says another one")
        elif not content.strip(BLANK):
            yield Record(seen.path, b"", "empty: a file")
        elif digest in self._contents and seen.path not in self._read and self._source.duplicates == "reject":
            told = {"outcome": "duplicate", "reason": "duplicate"}
            yield Record(seen.path, b"", "duplicate: a file with this content was read")
        else:
            for each in self._format.records(content, self._source):
                yield each._replace(place=f"{seen.path}: {each.place}") if each.flaw else each
        if self._tells_files:
            name = PurePosixPath(seen.path).name
            told |= {"part": FILE, "name": name, "path": seen.path, "sha256": digest, "size": str(len(content))}
            told |= {} if announced is None or announced.records is None else {"announced": str(announced.records)}
            told["time"] = str(seen.changed_ns)
            yield Record(f"file|{name}", json.dumps(told, sort_keys=True).encode(), part=FILE)
