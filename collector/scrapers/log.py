"""Log files, as a kind of source: lines as records, each once, across rotation, truncation and compression."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from controltower.collector.redaction.linear import Groups, expression
from controltower.collector.scrapers.definition import LineSource, TimeSpec
from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.log_content import Content, DamagedError
from controltower.collector.scrapers.log_files import LogFiles
from controltower.collector.scrapers.log_formats import FORMATS, LINE, csv_parser
from controltower.collector.scrapers.log_generation import SAMPLE_BYTES, Generation, digest
from controltower.collector.scrapers.log_sieve import sieve_of
from controltower.collector.scrapers.observation import PASSED, Fields, HoldsNothing, Record, Taken

logger = logging.getLogger(__name__)

SIFT_AGAIN_AFTER: Final = 64  # pieces, when most lines were found to fit a rule
LONGEST_BYTES: Final = 1024 * 1024  # of one record; what is longer is rejected and passed over
MOST_BYTES: Final = 1024 * 1024  # of one file that are read at once: some ten thousand lines
MOST_RECORDS: Final = 20_000  # of one batch, far below what a collector takes in one request
QUIET_NS: Final = 5 * 10**9  # a record of several lines ends when so long no other line came

Json = dict[str, Any]


class LogReader(HoldsNothing):
    """Reads the files of one source. For one thread."""

    def __init__(self, source: LineSource, clock: Callable[[], int]) -> None:
        self._parse = csv_parser(source.columns, source.delimiter) if source.columns else FORMATS[source.format].parse
        self._encoding = source.encoding
        self._start = expression(source.start) if source.start else None
        self._sieve = None if source.start else sieve_of(source)
        self._only = Groups(source.only) if source.only else None
        self._dense = 0  # pieces that are not sifted: most lines fit
        self.files = LogFiles(source.files, source.exclude, clock, from_end=source.begin == "end")

    # -- the contract

    @staticmethod
    def times(source: LineSource) -> list[TimeSpec]:
        """Return where the times of records are when the source does not say it."""
        form = FORMATS[source.format]
        return [TimeSpec(field=name, format=form.time_form) for name in form.times]

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self.files.restore(saved)

    def state(self) -> Json:
        """Return the place behind all that was read, to be saved."""
        return self.files.state()

    def read(self) -> Taken:
        """Return what comes next, in order within each file."""
        self.files.look()
        records = [_damaged(seen.path, seen.size) for seen in self.files.damaged]
        self.files.damaged.clear()
        room = MOST_BYTES
        for each in self.files.unread():
            while (taken := self._take(each, room, MOST_RECORDS - len(records))).used:
                records += taken.records
                room -= taken.used
            records += taken.records
            if not taken.is_end:  # an older file comes to its end before a younger one begins
                return Taken(records, caught_up=False)
        return Taken(records, caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of a record, none when there is nothing in it; Rejection when it does not have the form that the source says."""
        try:
            text = record.content.decode(self._encoding)
        except UnicodeDecodeError:
            raise Rejection("bad_encoding", self._encoding) from None
        fields = self._parse(text)
        if fields:
            fields.setdefault(LINE, text)
        return fields

    def behind(self) -> int:
        """Return how many bytes are there and were not read."""
        return self.files.behind()

    @property
    def problems(self) -> dict[str, str]:
        """Return which files cannot be read, and why."""
        return self.files.problems

    def close(self) -> None:
        """Close the files."""
        self.files.close()

    # -- one file

    def _take(self, each: Generation, room: int, most: int) -> "_Piece":
        """Read on in one file, at most *room* bytes and *most* records of it."""
        if room <= 0 or most <= 0:
            return _Piece([], 0, is_end=False)
        content = self.files.content(each)
        if content is None:
            return _Piece([], 0, is_end=True)
        try:
            return self._read_on(each, content, room, most)
        except DamagedError:
            if not self.files.is_quiet(each, QUIET_NS):
                return _Piece([], 0, is_end=True)  # it may not be whole yet
            each.done = True
            return _Piece([_damaged(each.path, each.offset)], 0, is_end=True)

    def _read_on(self, each: Generation, content: Content, room: int, most: int) -> "_Piece":
        before = each.tail_bytes
        known = content.read_at(each.offset - before, before + room)
        if before and not each.compression and digest(known[:before]) != each.tail:
            logger.info("%s holds something else than what was read of it; it is read from its beginning", each.path)
            self.files.lose(each)
            return _Piece([], 0, is_end=True)
        data = known[before:]
        if not data:
            each.done = bool(each.compression)
            return _Piece([], 0, is_end=True)
        if not each.id and not self._name(each, content.read_at(0, SAMPLE_BYTES) if each.offset else data):
            return _Piece([], 0, is_end=True)
        records, used = self._records(each, data, len(data) < room, most)
        if used:
            head = known if each.offset < SAMPLE_BYTES else None  # then the sample before the offset begins the file
            each.offset += used
            each.took(known[: before + used], head[: min(SAMPLE_BYTES, each.offset)] if head is not None else None)
        elif not each.offset:
            each.id = ""  # nothing bears it yet, and other bytes may come to stand here
        return _Piece(records, used, is_end=len(data) < room)

    def _name(self, each: Generation, head: bytes) -> bool:
        """Give a generation the name that ids are derived from: its first line, and how many began so before."""
        line, end, _ = head[:SAMPLE_BYTES].partition(b"\n")
        if not end and len(head) < SAMPLE_BYTES and not self.files.is_whole(each):
            return False
        begun = digest(line)[:16]
        others = [other.id.partition("-")[2] for other in self.files.generations if other.id.startswith(begun)]
        each.id = f"{begun}-{max(map(int, others), default=-1) + 1}"
        return True

    def _records(self, each: Generation, data: bytes, is_end: bool, most: int) -> tuple[list[Record], int]:
        """Return the records of *data* and how many of its bytes they are, what is passed over included."""
        final = is_end and self.files.is_whole(each)
        at = 0
        if each.skipping:
            end = data.find(b"\n")
            if end < 0:
                return [], len(data)
            each.skipping, at = False, end + 1
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) >= LONGEST_BYTES:
            nothing = len(data) - len(data.lstrip(b"\0"))  # a hole, left by a writer whose file was truncated
            if nothing:
                return [], nothing
            each.skipping = True
            return [Record(f"{each.id}:{each.offset}", b"", "too_long")], len(data)
        if final and whole < len(data):
            whole = len(data)
        if self._start is None:
            return self._lines(each, data, at, whole, most)
        quiet = final or (is_end and self.files.is_quiet(each, QUIET_NS))
        return self._groups(each, data, at, whole, most, quiet)

    def _lines(self, each: Generation, data: bytes, at: int, whole: int, most: int) -> tuple[list[Record], int]:
        if (sifted := self._sifted(each, data[at:whole], at, most)) is not None:
            return sifted
        prefix, offset = f"{each.id}:", each.offset
        records: list[Record] = []
        lines = data[at:whole].split(b"\n", most)
        rest = lines.pop()
        for line in lines:
            if line and line != b"\r":
                records.append(Record(f"{prefix}{offset + at}", _clean(line)))
            at += len(line) + 1
        if rest and len(lines) < most:  # the last line of a file that is whole, without its end
            records.append(Record(f"{prefix}{offset + at}", _clean(rest)))
            at += len(rest)
        return self._of_interest(records), at

    def _of_interest(self, records: list[Record]) -> list[Record]:
        """Return the records that the source wants to look into at all, and how many others there are."""
        only = self._only
        if only is None:
            return records
        kept = [record for record in records if only.find(record.content) is not None]
        return kept if len(kept) == len(records) else [*kept, _passed(len(records) - len(kept))]

    def _sifted(self, each: Generation, data: bytes, at: int, most: int) -> tuple[list[Record], int] | None:
        """Return only the lines that can fit a rule, and how many others there are; None when lines are to be looked at one by one."""
        if self._sieve is None or not data:
            return None
        if self._dense:
            self._dense -= 1
            return None
        if not self._sieve.takes(data, self._encoding):
            return None
        base = each.offset + at
        lines, end = self._sieve.lines(data, most)
        records = [Record(f"{each.id}:{base + begin}", line) for begin, line in lines]
        passed = data.count(b"\n", 0, end) + (end == len(data) and data[-1:] != b"\n") - len(records)
        if passed < len(records):
            self._dense = SIFT_AGAIN_AFTER
        if passed:
            records.append(_passed(passed))
        return records, at + end

    def _groups(
        self, each: Generation, data: bytes, at: int, whole: int, most: int, quiet: bool
    ) -> tuple[list[Record], int]:
        """Put lines together that belong to one record; the last one waits for the line that ends it."""
        records: list[Record] = []
        begin = at
        for end, line in _ends(data, at, whole):
            assert self._start is not None
            if at > begin and (self._start.search(line) is not None or end - begin > LONGEST_BYTES):
                records.append(Record(f"{each.id}:{each.offset + begin}", _clean(data[begin:at])))
                begin = at
                if len(records) >= most:
                    return records, begin
            at = end
        if at > begin and (quiet or at - begin >= LONGEST_BYTES // 2):
            records.append(Record(f"{each.id}:{each.offset + begin}", _clean(data[begin:at])))
            begin = at
        return records, begin


@dataclass(frozen=True, slots=True)
class _Piece:
    """What was read of a file at once, and whether that was all there is."""

    records: list[Record]
    used: int
    is_end: bool


def _passed(count: int) -> Record:
    return Record("", b"%d" % count, part=PASSED)


def _damaged(path: str, size: int) -> Record:
    return Record(f"{path}:{size}", b"", "damaged: a compressed file")


def _ends(data: bytes, at: int, whole: int) -> Iterator[tuple[int, bytes]]:
    while at < whole:
        end = data.find(b"\n", at, whole) + 1 or whole
        yield end, data[at:end]
        at = end


def _clean(line: bytes) -> bytes:
    """Return a record without its ends of line, and without the hole that a truncated file can begin with."""
    if line[-1:] in b"\r\n":
        line = line.rstrip(b"\r\n")
    return line.lstrip(b"\0") if line[:1] == b"\0" else line
