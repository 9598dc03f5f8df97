"""The journal of systemd as a kind of source: entries in their order, read by ``journalctl`` behind the last one's cursor.

The library that reads journals is of C and of one version of systemd; its program is everywhere and says the same. It is
started for each look, ends when there is no more, and is read a batch at a time: what waits in its pipe is all it holds.
"""

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any, Final

from controltower.collector.scrapers.definition import JournalSource, TimeSpec
from controltower.collector.scrapers.errors import JournalError
from controltower.collector.scrapers.log_formats import FORMATS, LINE
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Record, Taken

MOST_RECORDS: Final = 20_000
MOST_BYTES: Final = 1024 * 1024
LONGEST_BYTES: Final = 1024 * 1024  # of an entry; what a program that crashed leaves behind can be larger
PIECE_BYTES: Final = 64 * 1024
WAIT_S: Final = 0.5  # for a program that looks for entries in gigabytes of others
LOOK_S: Final = 5.0  # between two looks at a journal in which nothing was new
STOP_S: Final = 5.0
LONGEST_COMPLAINT: Final = 300

PROGRAM: Final = ("journalctl", "--output=json", "--all", "--no-pager", "--quiet")
# Names are followed by a quote that a text in JSON cannot hold, so this is found where it is a name and nowhere else.
_CURSOR: Final = re.compile(rb'"__CURSOR" ?: ?"([^"\\]{1,400})"')
CURSOR_BYTES: Final = 512
PASSING: Final = ("__CURSOR", "__SEQNUM", "__SEQNUM_ID")
"""Fields that are about the file and not the entry: later versions of systemd have more of them."""

Json = dict[str, Any]


class JournalReader(HoldsNothing):
    """Reads the journal of this machine, or one in a folder. For one thread."""

    def __init__(
        self, source: JournalSource, clock: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is opened before the first read."""
        self._source = source
        self._monotonic = monotonic
        self._due_s = monotonic()
        self._cursor = ""  # of the last entry that was read
        self._begun = source.begin == "beginning"
        self._program: Journalctl | None = None
        self._problems: dict[str, str] = {}

    @staticmethod
    def times(source: JournalSource) -> list[TimeSpec]:
        """Return where the times of entries are: when journald got them."""
        return [TimeSpec(field="__REALTIME_TIMESTAMP", format="unix_us")]

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._cursor, self._begun = saved["cursor"], saved["begun"]

    def state(self) -> Json:
        """Return the cursor of the last entry that was read, to be saved."""
        return {"cursor": self._cursor, "begun": self._begun}

    def read(self) -> Taken:
        """Return the next entries. JournalError when the journal cannot be read."""
        if not self._begun:
            self._cursor, self._begun = _last_cursor(self._source), True
        if self._program is None:
            if self._monotonic() < self._due_s:
                return Taken([], caught_up=True)
            self._program = Journalctl(_arguments(self._source, self._cursor))
        records = [self._record(line, cursor) for line, cursor in self._program.lines()]
        if not self._program.is_done:
            return Taken(records, caught_up=False)
        complaint = self._program.close()
        self._program = None
        self._problems = {"journalctl": complaint} if complaint else {}
        self._due_s = self._monotonic() + LOOK_S
        return Taken(records, caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of an entry; one that is there twice is a list."""
        return fields_of(record)

    def behind(self) -> int:
        """Return 0: a journal does not say how many bytes there are."""
        return 0

    @property
    def problems(self) -> dict[str, str]:
        """Return what journalctl complains of, such as that it may not see all of it."""
        return self._problems

    def close(self) -> None:
        """End the program."""
        program, self._program = self._program, None
        if program is not None:
            program.kill()

    def _record(self, line: bytes, cursor: str) -> Record:
        place = f"journal:{cursor or f'{self._cursor}+'}"
        self._cursor = cursor or self._cursor
        return Record(place, b"", "too_long: an entry") if not line else entry(place, line)


def entry(place: str, line: bytes) -> Record:
    """Return the record of an entry, the same however the program orders its fields: it does so by chance."""
    try:
        found = json.loads(line)
    except ValueError:
        return Record(place, line, "not_json: an entry is an object")
    if not isinstance(found, dict):
        return Record(place, line, "not_json: an entry is an object")
    kept = {name: found[name] for name in sorted(found) if name not in PASSING}
    return Record(place, json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode())


def fields_of(record: Record) -> Fields:
    """Return the fields of an entry's record."""
    text = record.content.decode()
    return {LINE: text, **FORMATS["json"].parse(text)}


class Journalctl:
    """One run of the program, whose lines are read a batch at a time."""

    def __init__(self, arguments: list[str]) -> None:
        """Start it. JournalError when it is not there."""
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        try:
            self._process = subprocess.Popen(
                [*PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as exc:
            self._said.close()
            raise JournalError(f"journalctl cannot be started: {exc.strerror}. It is a part of systemd.") from exc
        assert self._process.stdout is not None
        self._out = self._process.stdout
        self._waiting = DefaultSelector()  # `select` knows no more than 1,024 open files, and a scraper may have more
        self._waiting.register(self._out, EVENT_READ)
        self._rest = b""
        self._skipped = False  # the head of the line was let go of, because it is too long
        self._cursor = b""  # of the line whose head was
        self.is_done = False

    def lines(self) -> Iterator[tuple[bytes, str]]:
        """Yield lines and their cursors, about a mebibyte and what came within half a second; of a longer line nothing."""
        taken = count = 0
        while taken < MOST_BYTES and count < MOST_RECORDS:
            if not self._waiting.select(WAIT_S):
                return
            piece = os.read(self._out.fileno(), PIECE_BYTES)
            if not piece:
                self.is_done = True
                return
            taken += len(piece)
            *whole, rest = (self._rest + piece).split(b"\n")
            for line in whole:
                count += 1
                yield self._ended(line)
            self._rest = self._held(rest)

    def _ended(self, line: bytes) -> tuple[bytes, str]:
        cursor = _CURSOR.search(line)
        found = cursor[1] if cursor else self._cursor
        too_long = self._skipped or len(line) > LONGEST_BYTES
        self._skipped, self._cursor = False, b""
        return b"" if too_long else line, found.decode()

    def _held(self, rest: bytes) -> bytes:
        """Keep the beginning of a line; of one that is too long only where its cursor is, or may begin."""
        if not self._skipped and len(rest) <= LONGEST_BYTES:
            return rest
        self._skipped = True
        if cursor := _CURSOR.search(rest):
            self._cursor = cursor[1]
        return rest[-CURSOR_BYTES:]

    def close(self) -> str:
        """Wait for its end, and return what it complained of. JournalError when it failed."""
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise JournalError("journalctl said all and did not end.") from None
        self._waiting.close()
        self._out.close()
        self._said.seek(0)
        said = " ".join(self._said.read(LONGEST_COMPLAINT).decode("utf-8", "replace").split())
        self._said.close()
        if code:
            raise JournalError(f"journalctl cannot read the journal: {said or f'it ended with {code}'}")
        return said

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait(STOP_S)
        self._waiting.close()
        self._out.close()
        self._said.close()


def _arguments(source: JournalSource, cursor: str) -> list[str]:
    return [
        *([f"--directory={source.directory}"] if source.directory else []),
        *([f"--after-cursor={cursor}"] if cursor else []),
        *(f"--unit={unit}" for unit in source.units),
        *source.matches,
    ]


def _last_cursor(source: JournalSource) -> str:
    """Return the cursor of the last entry of any kind, nothing for an empty journal."""
    where = [f"--directory={source.directory}"] if source.directory else []
    program = Journalctl([*where, "--lines=1"])
    cursor = ""
    try:
        while not program.is_done:
            for _, found in program.lines():
                cursor = found
    except BaseException:
        program.kill()
        raise
    program.close()
    return cursor
