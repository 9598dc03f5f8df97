"""Streams and topics as a kind of source: they keep what was read, so a copy is read by position, and nobody else notices.

Dead letters that lie in one are read the same way: they stay there, in their order. What is different of each broker is a
`MessageLog`; the position is ours, and is kept when what was read was acknowledged.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from controltower.collector.scrapers.definition import DeadLetterSource, MessageSource, TimeSpec
from controltower.collector.scrapers.log_formats import FORMATS
from controltower.collector.scrapers.message import LONGEST_BYTES, TOO_LONG, Message, fields_of
from controltower.collector.scrapers.observation import Fields, HoldsNothing, Level, Record, Taken

MOST_BYTES: Final = 1024 * 1024  # that are asked for at once, by what messages were so far
MOST_MESSAGES: Final = 2_000
FIRST_MESSAGES: Final = 64
LOOK_S: Final = 10.0  # between two looks at the broker's own account of a stream

Json = dict[str, Any]


class Entry(NamedTuple):
    """A message and where it is: *place* is the same whenever it is read."""

    place: str
    message: Message
    body: bytes
    flaw: str = ""


class MessageLog(Protocol):
    """What is different of each broker. Errors of its library leave it; the source is then opened anew."""

    @property
    def position(self) -> Json | None:
        """Return the place behind all that was read, to be saved."""

    def begin(self, position: Json | None) -> None:
        """Connect, and go on behind *position*; without one where the source says."""

    def read(self, most: int) -> tuple[list[Entry], bool]:
        """Return at most so many entries, and whether that was all."""

    def look(self) -> None:
        """Ask the broker how the stream is, for `levels` and `problems`; raises when it is not as it was."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full it is."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what was lost, and why."""

    def close(self) -> None:
        """Close what is open, which may be broken."""


class Page:
    """How many messages to ask for: as many as are about a mebibyte, if they are like the last ones."""

    def __init__(self) -> None:
        self.count = FIRST_MESSAGES

    def note(self, entries: list[Entry]) -> None:
        """Learn from what came."""
        if entries:
            mean = sum(len(entry.body) for entry in entries) // len(entries) + 1
            self.count = max(1, min(MOST_MESSAGES, 2 * self.count, MOST_BYTES // mean))


MakeLog = Callable[[MessageSource, Callable[[], int]], MessageLog]


def gone(messages: int) -> str:
    """Return what is told of messages that nobody can read any more."""
    return f"{messages:,} messages were removed before they were read"


class StreamKind:
    """Makes readers of the streams of one broker."""

    def __init__(self, log: MakeLog) -> None:
        self._log = log

    def __call__(self, source: MessageSource, clock: Callable[[], int]) -> "StreamReader":
        """Return a reader of *source*."""
        return StreamReader(source, self._log(source, clock))

    @staticmethod
    def times(source: MessageSource) -> list[TimeSpec]:
        """Return where the times of messages are: when they died, when they were sent, when the broker got them."""
        died = TimeSpec(field="dead.time", format="unix")
        sent = TimeSpec(field="header.controltower-sent-at", format="unix_ms")
        at_broker = TimeSpec(field="message.time", format="unix")
        return [died if isinstance(source, DeadLetterSource) else sent, at_broker]


class StreamReader(HoldsNothing):
    """Reads one stream or topic. For one thread."""

    def __init__(self, source: MessageSource, log: MessageLog, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._log = log
        self._monotonic = monotonic
        self._parse = FORMATS[source.format].parse
        self._page = Page()
        self._saved: Json | None = None
        self._begun = False
        self._looked_s = 0.0

    def restore(self, saved: Json) -> None:
        """Go on behind what was saved."""
        self._saved = saved["position"]

    def state(self) -> Json:
        """Return the place behind all that was read, to be saved."""
        return {"position": self._log.position if self._begun else self._saved}

    def read(self) -> Taken:
        """Return the next messages, in their order."""
        if not self._begun:
            self._log.begin(self._saved)
            self._begun = True
        entries, caught_up = self._log.read(self._page.count)
        self._page.note(entries)
        if self._monotonic() >= self._looked_s:
            self._looked_s = self._monotonic() + LOOK_S
            self._log.look()
        return Taken([_record(self._source.queue, entry) for entry in entries], caught_up)

    def parse(self, record: Record) -> Fields:
        """Return the fields of a message; Rejection when its body does not have the form that the source says."""
        return fields_of(record.content, self._source.encoding, self._parse)

    def behind(self) -> int:
        """Return 0: a broker does not say how many bytes there are."""
        return 0

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full it is."""
        return self._log.levels

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what was lost, and why."""
        return self._log.problems

    def close(self) -> None:
        """Close the connection."""
        self._log.close()


def _record(queue: str, entry: Entry) -> Record:
    place = f"{queue}:{entry.place}"
    if len(entry.body) > LONGEST_BYTES:
        return Record(place, b"", TOO_LONG)
    return Record(place, entry.message.content(entry.body), entry.flaw)
