"""Copies of messages that a broker hands out to us, as a kind of source: from a queue or a session of our own.

Others miss nothing. A message is given up to the broker when what became of it was acknowledged. One that the broker
delivers again, because the connection broke before it learned that, is known by its content.
"""

import base64
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from controltower.collector.scrapers.definition import TapSource, TimeSpec
from controltower.collector.scrapers.log_formats import FORMATS
from controltower.collector.scrapers.message import LONGEST_BYTES, TOO_LONG, Message, fields_of
from controltower.collector.scrapers.observation import Fields, Level, Record, Taken

MOST_HELD: Final = 5_000  # messages that the broker hands out before the first of them is given up
MOST_RECORDS: Final = MOST_HELD // 2  # of a batch: one is read while the other is on its way
MOST_BYTES: Final = 1024 * 1024  # of a batch, one message more
REMEMBERED: Final = 2 * MOST_HELD  # digests: what may come again
DIGEST_BYTES: Final = 8

Json = dict[str, Any]


class Delivered(NamedTuple):
    """A message that was handed out: by *tag* it is given up, where it is to be; *again* says that it was before."""

    tag: int | None
    again: bool
    message: Message
    body: bytes


class Copies(Protocol):
    """What is different of each broker. Errors of its library leave it; the source is then opened anew."""

    waiting: deque[Delivered]
    """What was handed out and not read yet."""

    def begin(self, most: int) -> None:
        """Connect, and ask for messages: at most so many before the first is given up."""

    def receive(self, most: int) -> int:
        """Take what was handed out, about so many; where nothing was, return how many more are still to come."""

    def give_up(self, tags: Sequence[int]) -> None:
        """Give messages up, in the order they were handed out."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full it is."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what was lost, and why."""

    def close(self) -> None:
        """Let go of what was not given up: the broker delivers it again."""


class TapKind:
    """Makes readers of the copies of one broker."""

    def __init__(self, copies: Callable[[TapSource], Copies]) -> None:
        self._copies = copies

    def __call__(self, source: TapSource, clock: Callable[[], int]) -> "TapReader":
        """Return a reader of *source*."""
        return TapReader(source, self._copies(source))

    @staticmethod
    def times(source: TapSource) -> list[TimeSpec]:
        """Return where the times of messages are."""
        sent = TimeSpec(field="header.controltower-sent-at", format="unix_ms")
        return [sent, TimeSpec(field="message.time", format="unix")]


class TapReader:
    """Reads what is handed out. For one thread."""

    def __init__(self, source: TapSource, copies: Copies) -> None:
        self._source = source
        self._copies = copies
        self._parse = FORMATS[source.format].parse
        self._begun = False
        self._recent: deque[bytes] = deque(maxlen=REMEMBERED)
        self._again: Counter[bytes] = Counter()  # what was read before the connection broke
        self._serial = 0
        self._held: deque[tuple[int, list[int]]] = deque()  # serial behind what was read at once, and its tags

    # -- the contract

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._serial = saved["serial"]
        packed = base64.b64decode(saved["recent"])
        self._recent.extend(packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES))
        self._again = Counter(self._recent)

    def state(self) -> Json:
        """Return how many messages were read, and which last, to be saved."""
        return {"serial": self._serial, "recent": base64.b64encode(b"".join(self._recent)).decode()}

    def acknowledged(self, saved: Json) -> None:
        """Give up the messages that are behind us for good."""
        tags: list[int] = []
        while self._held and self._held[0][0] <= saved["serial"]:
            tags += self._held.popleft()[1]
        if tags:
            self._copies.give_up(tags)

    def read(self) -> Taken:
        """Return the next messages, in their order."""
        if not self._begun:
            self._copies.begin(MOST_HELD)
            self._begun = True
        ready = self._copies.receive(MOST_RECORDS)
        records: list[Record] = []
        tags: list[int] = []
        used = 0
        while self._copies.waiting and len(records) < MOST_RECORDS and used < MOST_BYTES:
            delivered = self._copies.waiting.popleft()
            if delivered.tag is not None:
                tags.append(delivered.tag)
            if (record := self._record(delivered)) is not None:
                records.append(record)
                used += len(record.content)
        if tags:
            self._held.append((self._serial, tags))
        return Taken(records, caught_up=not (ready or tags or records))

    def parse(self, record: Record) -> Fields:
        """Return the fields of a message; Rejection when its body does not have the form that the source says."""
        return fields_of(record.content, self._source.encoding, self._parse)

    def behind(self) -> int:
        """Return 0: a broker does not say how many bytes there are."""
        return 0

    @property
    def holding(self) -> bool:
        """Whether messages were read that are not given up yet."""
        return bool(self._held)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full the queue is."""
        return self._copies.levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what is wrong with the queue."""
        return self._copies.problems

    def close(self) -> None:
        """Let go of what is held: the broker delivers it again."""
        self._held.clear()
        self._begun = False
        self._copies.close()

    def _record(self, delivered: Delivered) -> Record | None:
        """Return the record of a message, none when it was read before."""
        content = delivered.message.content(delivered.body)
        digest = hashlib.sha256(content).digest()[:DIGEST_BYTES]
        if self._again and delivered.tag is not None:
            if delivered.again and self._again[digest]:
                self._again[digest] -= 1
                return None
            if not delivered.again:
                self._again.clear()  # what comes again comes before what is new
        self._recent.append(digest)
        place = f"{self._source.queue}:{self._serial}"
        self._serial += 1
        if len(delivered.body) > LONGEST_BYTES:
            return Record(place, b"", TOO_LONG)
        return Record(place, content)
