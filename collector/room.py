"""Room in memory for requests under way: what does not fit is told to come back before its body is read."""

import threading
from typing import Final

from controltower.collector.status import Refusal, too_large, unavailable

# Bodies above this size may take three quarters of the room only: slow clients with large bodies hold it for long, and
# must not keep everybody else out.
LARGE_BYTES: Final = 1024 * 1024


class Room:
    """The bytes that all requests under way may hold together; safe to use from several threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._taken_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """What is held at the moment."""
        return self._taken_bytes

    def claim(self, announced_bytes: int, most_bytes: int) -> "Claim | Refusal":
        """Hold *announced_bytes* for a body that may grow to *most_bytes*, or return why there is no room."""
        claim = Claim(self, most_bytes)
        return claim if self.take(announced_bytes, claim) else _full()

    def take(self, size: int, claim: "Claim") -> bool:
        """Add *size* to what *claim* holds, if there is room."""
        with self._lock:
            if self._taken_bytes + size > self._most_for(claim.held_bytes + size):
                return False
            self._taken_bytes += size
            claim.held_bytes += size
            return True

    def _most_for(self, body_bytes: int) -> int:
        if body_bytes <= LARGE_BYTES:
            return self._most_bytes
        return min(self._most_bytes, max(self._most_bytes * 3 // 4, body_bytes))  # one of any size that is legal

    def give_back(self, claim: "Claim") -> None:
        """Take back all that *claim* holds."""
        with self._lock:
            self._taken_bytes -= claim.held_bytes
            claim.held_bytes = 0


class Claim:
    """The room that one request holds: what it announced, or more once it turned out to be larger."""

    def __init__(self, room: Room, most_bytes: int) -> None:
        self._room = room
        self._most_bytes = most_bytes
        self.held_bytes = 0
        self.read_bytes = 0

    def grow(self, size: int) -> Refusal | None:
        """Note that *size* more bytes are there; returns the refusal of a body that is too large or has no room."""
        self.read_bytes += size
        if self.read_bytes > self._most_bytes:
            return too_large(f"The body is larger than {self._most_bytes} bytes.")
        missing = self.read_bytes - self.held_bytes
        return None if missing <= 0 or self._room.take(missing, self) else _full()

    def expect(self, size: int) -> Refusal | None:
        """Hold *size* bytes in all, without noting that any of them are there; returns the refusal if there is no room."""
        missing = size - self.held_bytes
        return None if missing <= 0 or self._room.take(missing, self) else _full()

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
        self._room.give_back(self)


def _full() -> Refusal:
    return unavailable("Too many bodies are being received at the same time.", "overload")
