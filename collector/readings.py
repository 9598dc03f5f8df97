"""How segments are read: as cheaply as those before allow."""

from collections.abc import Sequence
from typing import Final

from controltower.store.otlp import Reading

RUN: Final = 100
"""So many segments are read by dearer readings after one that had to be, before the cheaper one is tried again."""


class Readings:
    """Chooses among readings. Who sends what is dear goes on sending it, and trying in vain costs an insert more."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        """Take the readings that can be chosen, the cheapest first; the last one reads everything."""
        *cheaper, self._dearest = readings
        self._left = dict.fromkeys(cheaper, 0)  # so many segments more are not read by it

    def next(self) -> Reading:
        """Return the reading for the next segment."""
        for reading, left in self._left.items():
            if not left:
                return reading
            self._left[reading] = left - 1
        return self._dearest

    def note_too_cheap(self, reading: Reading) -> None:
        """Note that a segment could not be read whole by *reading*."""
        self._left[reading] = RUN
