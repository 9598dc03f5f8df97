"""Room for more: what a journal may use of its volume, by its own budget and by what is free there."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controltower.tracer.journal.disk import Disk

logger = logging.getLogger(__name__)

ASK_EVERY_S: Final = 1.0  # how old the number of free bytes may be; what was written and removed since is known
HALF: Final = 0.5  # time to look why it is not loaded
NEARLY_FULL: Final = 0.9  # time to act: soon clients are refused
_CALM: Final = 0.05  # fallen by this much below a level, reaching it again is news


@dataclass(frozen=True, slots=True)
class Reading:
    """How much room there is."""

    used_bytes: int
    left_bytes: int  # 0 when full
    free_bytes: int | None  # on the volume; None when it does not say

    @property
    def fullness(self) -> float:
        """The part of what may be used that is used, from 0 to 1."""
        return _fullness(self.used_bytes, self.left_bytes)


class Room:
    """Tells how much more a journal may write. Not synchronized: the journal's lock is held."""

    def __init__(
        self, folder: Path, disk: Disk, budget_bytes: int, reserve_bytes: int, monotonic: Callable[[], float]
    ) -> None:
        """Allow *budget_bytes* in all, and as much as leaves *reserve_bytes* free on the volume of *folder*."""
        self._folder = folder
        self._disk = disk
        self._budget_bytes = budget_bytes
        self._reserve_bytes = reserve_bytes
        self._monotonic = monotonic
        self._asked_at: float | None = None
        self._free: int | None = None
        self._used_then = 0
        self._reached = 0.0

    def read(self, used: int) -> Reading:
        """Return how much room there is when *used* bytes are used."""
        free = self._free_bytes(used)
        return Reading(used, self._left(used, free), free)

    def _left(self, used: int, free: int | None) -> int:
        left = self._budget_bytes - used
        return max(0, left if free is None else min(left, free - self._reserve_bytes))

    def refusal(self, used: int, size: int) -> str | None:
        """Return why *size* bytes more are too many when *used* are used, None when they are not."""
        if used + size > self._budget_bytes:
            return f"The journal has used its budget of {self._budget_bytes} bytes."
        free = self._free_bytes(used)
        if free is not None and free - size < self._reserve_bytes:
            return f"The volume of the journal has {max(0, free)} bytes left, and {self._reserve_bytes} are kept free."
        return None

    def watch(self, used: int) -> None:
        """Say in the log when half of the room is used, and nine tenths."""
        fullness = _fullness(used, self._left(used, self._free_bytes(used)))
        reached = NEARLY_FULL if fullness >= NEARLY_FULL else HALF if fullness >= HALF else 0.0
        if reached > self._reached:
            log = logger.error if reached >= NEARLY_FULL else logger.warning
            log("the journal %s has used %.0f %% of its room: look why it is not loaded", self._folder, fullness * 100)
            self._reached = reached
        elif fullness < self._reached - _CALM:
            self._reached = reached

    def _free_bytes(self, used: int) -> int | None:
        now = self._monotonic()
        if self._asked_at is None or now - self._asked_at >= ASK_EVERY_S:
            self._asked_at, self._used_then = now, used
            self._free = self._ask()
        return None if self._free is None else self._free - (used - self._used_then)

    def _ask(self) -> int | None:
        try:
            return self._disk.free(self._folder)
        except OSError as error:  # writing will tell
            if self._free is not None:
                logger.warning("the volume of %s does not say how much is free: %s", self._folder, error)
            return None


def _fullness(used: int, left: int) -> float:
    return used / (used + left) if used + left else 1.0
