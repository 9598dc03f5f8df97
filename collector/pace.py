"""How fast loading may go: small inserts make more parts than the engine can merge, and each costs it as much as a large one."""

import time
from collections.abc import Callable
from typing import Final

from controltower.store.parts import Parts

# A tenth of what the engine bears before it slows inserts down: merging that keeps up leaves some fifty parts.
CROWDED: Final = 0.1
LOOK_EVERY_S: Final = 1.0  # the look costs a few ms, an insert more
SHORTEST_PAUSE_S: Final = 1.0  # one insert in a second is few for every engine
LONGEST_PAUSE_S: Final = 5.0  # at the engine's own limit; spans are still seen within seconds
LARGE_BYTES: Final = 1024 * 1024  # thousands of spans: waiting would not make fewer parts of them
RESTS: Final = 2  # times as long as a small load took: the engine spends a third of the time on them, and not all of it
LONGEST_REST_S: Final = 0.5  # where loads take longer than half of it, the rest is shorter: spans must be seen soon


class Pace:
    """Tells how long to wait after a load; several threads may ask: at worst two of them look at the same time."""

    def __init__(self, look: Callable[[], Parts], monotonic: Callable[[], float] = time.monotonic) -> None:
        """Ask *look* for the parts of the store; it may block, and raises as loading does."""
        self._look = look
        self._monotonic = monotonic
        self._looked_at: float | None = None
        self._parts: Parts | None = None

    def pause_s(self, loaded_bytes: int) -> float:
        """Return how long to wait after loading a segment of so many bytes, in seconds; what arrives meanwhile is one segment.

        0 unless the store is crowded. A large segment is waited for only when the engine itself would slow down.
        """
        now = self._monotonic()
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._parts = self._look()
        return self._pause_s(loaded_bytes)

    def rest_s(self, loaded_bytes: int, took_s: float) -> float:
        """Return how long to wait after a load of so many bytes that *took_s*, however few parts there are.

        An insert of one span costs what one of ten thousand does, so those that come one by one are gathered. A span that
        comes alone is not held up: its segment is open for about as long.
        """
        return 0.0 if loaded_bytes >= LARGE_BYTES else min(LONGEST_REST_S, RESTS * took_s)

    def _pause_s(self, loaded_bytes: int) -> float:
        share = self._share()
        if share < CROWDED or (share < 1 and loaded_bytes >= LARGE_BYTES):
            return 0.0
        return min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, LONGEST_PAUSE_S * share))

    def _share(self) -> float:
        return self._parts.most / max(1, self._parts.delayed_at) if self._parts else 0.0

    def most(self) -> int:
        """Return the parts of the fullest partition as they were last seen; 0 before the first look."""
        return self._parts.most if self._parts else 0

    def warning(self) -> str | None:
        """Return that the store is crowded, in words for an operator; None when it is not."""
        if self._parts is None or self._share() < CROWDED:
            return None
        return (
            f"A partition of the store has {self._parts.most} parts; the engine slows inserts down at "
            f"{self._parts.delayed_at}. Loading is slowed down so that merges catch up: let senders send larger batches, "
            "and look at the store's disk."
        )
