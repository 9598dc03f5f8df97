"""Requests that wait for the disk, each once."""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, NamedTuple

from controltower.tracer.journal.errors import JournalError
from controltower.tracer.journal.writer import Entry

OVERHEAD_BYTES: Final = 1024  # memory of a request beside its bytes: small ones must not slip through the bound


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was appended is on the disk; ``duplicate`` when it was there before."""

    duplicate: bool


STORED: Final = Receipt(duplicate=False)
DUPLICATE: Final = Receipt(duplicate=True)


class Waiting(NamedTuple):  # not a dataclass: one is made for each request
    """A request and who waits for it."""

    entry: Entry
    future: Future[Receipt]

    @property
    def memory_bytes(self) -> int:
        """What it takes until it is on the disk."""
        return len(self.entry.message) + OVERHEAD_BYTES

    def refuse(self, refusal: JournalError) -> None:
        """Tell who waits that it was not stored; everybody gets an error of its own."""
        error = type(refusal)(*refusal.args)
        error.__cause__ = refusal.__cause__
        self.future.set_exception(error)


class WaitingLine:
    """Those who wait, in their order. Not synchronized: the journal's lock is held."""

    def __init__(self) -> None:
        self.memory_bytes = 0  # of all whose outcome is open, those that are being written included
        self._queue: deque[Waiting] = deque()
        self._open: dict[bytes, Future[Receipt]] = {}

    def __bool__(self) -> bool:
        """Whether anybody is to be written."""
        return bool(self._queue)

    def open_for(self, key: bytes) -> Future[Receipt] | None:
        """Return the outcome of the same body, when that is open."""
        return self._open.get(key)

    def add(self, waiting: Waiting) -> None:
        """Put *waiting* at the end."""
        self._queue.append(waiting)
        self._open[waiting.entry.key] = waiting.future
        self.memory_bytes += waiting.memory_bytes

    def take(self, room: int) -> list[Waiting]:
        """Take those out that fit into *room* bytes, at least one; their outcome stays open."""
        batch: list[Waiting] = []
        while self._queue and (not batch or room > 0):
            batch.append(self._queue.popleft())
            room -= len(batch[-1].entry.message)
        return batch

    def take_all(self) -> list[Waiting]:
        """Take everybody out."""
        left = list(self._queue)
        self._queue.clear()
        return left

    def settle(self, waiting: Waiting) -> None:
        """Note that the outcome of *waiting*, which was taken out, is known."""
        del self._open[waiting.entry.key]
        self.memory_bytes -= waiting.memory_bytes


def share(first: Future[Receipt], second: Future[Receipt]) -> None:
    """Give the one who sent a body again the outcome of the one who sent it first."""
    error = first.exception()
    if error is not None:
        second.set_exception(error)
    else:
        second.set_result(DUPLICATE)
