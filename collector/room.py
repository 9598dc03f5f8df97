"""Room in memory for requests under way: what does not fit is told to come back before its body is read."""

import threading
from collections.abc import Callable
from typing import Final

from controltower.collector.status import Refusal, unavailable

# A compressed body is expected to grow to so many times its size: real telemetry reaches 10 to 30. What it grows to
# beyond that is claimed as it grows.
EXPECTED_RATIO: Final = 10

# Bodies above this size may take three quarters of the room only: slow clients with large bodies hold it for long, and
# must not keep everybody else out.
LARGE_BYTES: Final = 1024 * 1024


class Room:
    """The bytes that all requests under way may hold together; safe to use from several threads."""

    def __init__(self, most_bytes: int, is_short: Callable[[], bool] = lambda: False) -> None:
        """Give out *most_bytes*, and nothing while *is_short* says that the process has too little memory."""
        self._most_bytes = most_bytes
        self._is_short = is_short
        self._lock = threading.Lock()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What is held at the moment."""
        return self._held_bytes

    def claim(self, expected_bytes: int) -> "Claim | Refusal":
        """Hold *expected_bytes*, or return why there is no room."""
        if self._is_short():
            return unavailable("The collector is short of memory.", "memory")
        claim = Claim(self)
        return claim if self.hold(claim, expected_bytes) else full()

    def hold(self, claim: "Claim", size: int) -> bool:
        """Add *size* to what *claim* holds, if there is room."""
        with self._lock:
            if self._held_bytes + size > self._most_for(claim.held_bytes + size):
                return False
            self._held_bytes += size
            claim.held_bytes += size
            return True

    def _most_for(self, body_bytes: int) -> int:
        if body_bytes <= LARGE_BYTES:
            return self._most_bytes
        return min(self._most_bytes, max(self._most_bytes * 3 // 4, body_bytes))  # one of any size that is legal

    def give_back(self, claim: "Claim", kept_bytes: int = 0) -> None:
        """Take back what *claim* holds beyond *kept_bytes*."""
        with self._lock:
            surplus = max(0, claim.held_bytes - kept_bytes)
            self._held_bytes -= surplus
            claim.held_bytes -= surplus


class Claim:
    """The room that one request holds: what it was expected to need, or more once it turned out to be larger."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._used_bytes = 0
        self._holders = 1
        self.held_bytes = 0

    def use(self, size: int) -> Refusal | None:
        """Note that *size* more bytes of the request are in memory; returns the refusal when there is no room for them."""
        self._used_bytes += size
        missing = self._used_bytes - self.held_bytes
        return None if missing <= 0 or self._room.hold(self, missing) else full()

    def expect(self, size: int) -> Refusal | None:
        """Hold *size* bytes in all, without noting that any of them are there; returns the refusal if there is no room."""
        missing = size - self.held_bytes
        return None if missing <= 0 or self._room.hold(self, missing) else full()

    def settle(self) -> None:
        """Give back what was expected to be needed, and was not."""
        self._room.give_back(self, self._used_bytes)

    def share(self) -> None:
        """Hold what is held until one more ``close``: somebody else works with the request, too."""
        self._holders += 1

    def close(self) -> None:
        """Give everything back, as the last of those that hold it; call it on the event loop, once for each."""
        self._holders -= 1
        if not self._holders:
            self._room.give_back(self)


def full() -> Refusal:
    """There is no room for this request now."""
    return unavailable("Too many bodies are being received at the same time.", "overload")
