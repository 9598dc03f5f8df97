"""What a scraper saw, and the business step it became."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

Fields = Mapping[str, Any]
"""What a record holds by name; numbers are texts, because money is never a float."""


class ByPath(Mapping[str, Any]):
    """Fields that are asked for by a path; what they yield are names of what is there, since nobody could list all paths."""

    @abstractmethod
    def get(self, name: str, default: Any = None) -> Any:
        """Return the value at a path, a list where it names many; *default* when there is none."""

    def __getitem__(self, name: str) -> Any:
        """Return the value at a path; KeyError when there is none."""
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found


AttributeValue = str | int | tuple[str, ...]

NOTHING: Final[Mapping[str, str]] = {}


PASSED: Final = "passed over"
"""The part of what is no record, but tells how many there were that fit no rule, and were not made."""


KEPT: Final = "kept"
"""The part of a record that is a piece of a log which is kept whole; it is no event."""


class Record(NamedTuple):
    """One thing a source holds: a line of a log, a document of a file.

    place
        Where it is, the same whenever it is read: the content it belongs to, and the offset in it.
    content
        Its bytes. Place and content together are what the ids of its span are made of.
    flaw
        Why it cannot be read, as ``reason: detail``; nothing for nearly all.
    part
        What of a document it is, where one tells of many things; nothing for all of it. Of a row of a table, when it
        changed.
    """

    place: str
    content: bytes
    flaw: str = ""
    part: str = ""


class Taken(NamedTuple):
    """What a source gave at once, and whether that was all that was there."""

    records: list[Record]
    caught_up: bool


class Level(NamedTuple):
    """How full a queue is in one respect: *name* is that of a metric behind ``controltower.queue.``.

    group
        Whose view of the queue it is, where a broker keeps one for each group of readers.
    """

    name: str
    value: int
    queue: str
    group: str = ""


class HoldsNothing:
    """What is the same for readers whose origin does not wait for them; a broker's messages do."""

    holding = False
    """Whether the origin waits until what was read is acknowledged."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how full queues are; nothing for what is no queue."""
        return ()

    def acknowledged(self, saved: dict[str, Any]) -> None:
        """Nothing is to be done with what was read."""


@dataclass(slots=True)
class Step:
    """A business step before it is a span. Times are nanoseconds since 1970."""

    code: str
    name: str
    at_ns: int
    end_ns: int
    ids: bytes  # 24: of the trace, and of the span
    attributes: dict[str, AttributeValue]
    lines: list[dict[str, AttributeValue]] = field(default_factory=list)
    parent: bytes = b""
    failed: bool = False
    fixed: Mapping[str, AttributeValue] | None = None
    """The first of the attributes, which are the same object for all steps of a rule: they are encoded once."""
