"""Dead letters that are browsed, as a kind of source: a queue is looked through now and then, and all of it stays there.

What is different of each broker is a `Shelf`. What was read is known by its digest for as long as it lies there.
"""

import base64
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from controltower.collector.scrapers.definition import DeadLetterSource, TimeSpec
from controltower.collector.scrapers.log_formats import FORMATS
from controltower.collector.scrapers.message import DEATHS, LONGEST_BYTES, TOO_LONG, Message, fields_of, plain
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Level, Record, Taken

MOST_BYTES: Final = 1024 * 1024  # of one batch, one message more
MOST_RECORDS: Final = 20_000
DIGEST_BYTES: Final = 8

Json = dict[str, Any]


class Seen(NamedTuple):
    """A message that lies in the queue. *id* tells it from all others, where the broker has one for it."""

    message: Message
    body: bytes
    id: str = ""


class Shelf(Protocol):
    """What is different of each broker. Errors of its library leave it; the source is then opened anew."""

    def begin(self) -> int | None:
        """Begin to look, and return how many messages there are to be seen; None when that cannot be told just now."""

    def next(self) -> Seen | None:
        """Return the next message; None when no more is handed out."""

    def end(self, left: int) -> None:
        """Put everything back as it was; *left* messages were not seen."""

    def restore(self, saved: Json) -> None:
        """Go on with what was saved."""

    def state(self) -> Json:
        """Return what is to be saved beside what was read."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full the queue is."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Return why the queue, or a part of it, cannot be read."""

    def close(self) -> None:
        """Let go of what is held: it is put back."""


class DeadLetterKind:
    """Makes readers of the dead letters of one broker."""

    def __init__(self, shelf: Callable[[DeadLetterSource], Shelf]) -> None:
        self._shelf = shelf

    def __call__(self, source: DeadLetterSource, clock: Callable[[], int]) -> "DeadLetterReader":
        """Return a reader of *source*."""
        return DeadLetterReader(source, self._shelf(source), clock)

    @staticmethod
    def times(source: DeadLetterSource) -> list[TimeSpec]:
        """Return where the times of messages are: when they died, else when they were sent."""
        return [TimeSpec(field=name, format="unix") for name in ("dead.time", "message.time")]


class DeadLetterReader(HoldsNothing):
    """Looks through one queue. For one thread."""

    def __init__(
        self,
        source: DeadLetterSource,
        shelf: Shelf,
        clock: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._shelf = shelf
        self._clock = clock
        self._monotonic = monotonic
        self._parse = FORMATS[source.format].parse
        self._every_s = source.every.span.total_seconds()
        self._due_s = monotonic()
        self._known: set[bytes] = set()  # digests of what is in the queue and was read
        self._met: set[bytes] = set()  # in this look
        self._alike: Counter[bytes] = Counter()
        self._left = 0  # messages that are still to be seen in this look
        self._oldest_s: int | None = None
        self._oldest: tuple[Level, ...] = ()

    # -- the contract

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._shelf.restore(saved)
        packed = base64.b64decode(saved["known"])
        self._known = {packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES)}

    def state(self) -> Json:
        """Return what of the queue was read, to be saved."""
        packed = b"".join(sorted(self._known | self._met))
        return {**self._shelf.state(), "known": base64.b64encode(packed).decode()}

    def read(self) -> Taken:
        """Return messages that were not there at the last look, in the order of the queue."""
        if not self._left and (self._monotonic() < self._due_s or not self._begin()):
            return Taken([], caught_up=True)
        records: list[Record] = []
        used = 0
        while self._left and used < MOST_BYTES and len(records) < MOST_RECORDS:
            if (seen := self._shelf.next()) is None:
                break
            self._left -= 1
            if (record := self._meet(seen)) is not None:
                records.append(record)
                used += len(record.content)
        else:
            if self._left:
                return Taken(records, caught_up=False)
        self._end()
        return Taken(records, caught_up=True)

    def parse(self, record: Record) -> Fields:
        """Return the fields of a message; Rejection when its body does not have the form that the source says."""
        return fields_of(record.content, self._source.encoding, self._parse)

    def behind(self) -> int:
        """Return 0: a broker does not say how many bytes there are."""
        return 0

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full the queue is, and how old the oldest letter."""
        return (*self._shelf.levels, *self._oldest)

    @property
    def problems(self) -> Mapping[str, str]:
        """Return why the queue, or a part of it, cannot be read."""
        return self._shelf.problems

    def close(self) -> None:
        """Let go of what is held: the broker puts it back."""
        self._left = 0
        self._shelf.close()

    # -- one look

    def _begin(self) -> bool:
        """Begin to look, and return whether there is anything to see."""
        self._due_s = self._monotonic() + self._every_s
        self._met.clear()
        self._alike.clear()
        self._oldest_s = None
        there = self._shelf.begin()
        self._left = there or 0
        if there == 0:
            self._end()
        return self._left > 0

    def _meet(self, seen: Seen) -> Record | None:
        """Note a message, and return its record when it was not read before."""
        content = seen.message.content(seen.body)
        place, digest = self._place(seen, content)
        is_new = digest not in self._known and digest not in self._met
        self._met.add(digest)
        self._age(seen.message)
        if not is_new:
            return None
        if len(seen.body) > LONGEST_BYTES:
            return Record(f"{place}:{hashlib.sha256(content).hexdigest()[:16]}", b"", TOO_LONG)
        return Record(place, content)

    def _place(self, seen: Seen, content: bytes) -> tuple[str, bytes]:
        """Return the place of a message and by what it is known: its id, else its content and how many are like it."""
        if seen.id:
            return f"{self._source.queue}:{seen.id}", hashlib.sha256(seen.id.encode()).digest()[:DIGEST_BYTES]
        alike = hashlib.sha256(content).digest()[:DIGEST_BYTES]
        number = self._alike[alike]
        self._alike[alike] += 1
        return f"{self._source.queue}:{number}", hashlib.sha256(b"%b%d" % (alike, number)).digest()[:DIGEST_BYTES]

    def _age(self, message: Message) -> None:
        deaths = plain(message.headers.get(DEATHS))
        latest = deaths[0].get("time") if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else None
        whole = str(latest or message.time).partition(".")[0]
        if whole.isdecimal() and (self._oldest_s is None or int(whole) < self._oldest_s):
            self._oldest_s = int(whole)

    def _end(self) -> None:
        """Put everything back, and forget what is not there any more."""
        age_s = 0 if self._oldest_s is None else max(0, self._clock() // 10**9 - self._oldest_s)
        self._oldest = (Level("oldest", age_s, self._source.queue),)
        left, self._left = self._left, 0
        self._shelf.end(left)
        self._known, self._met = self._met, set()
