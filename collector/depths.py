"""How deep the values of a segment are read: as cheaply as those before it allow."""

from collections.abc import Sequence
from typing import Final

RUN: Final = 100
"""So many segments are read deeper after one that had to be, before the cheaper reading is tried again."""


class Depths:
    """Chooses among depths. Who sends deep values goes on sending them, and trying in vain costs a segment's reading twice."""

    def __init__(self, depths: Sequence[int]) -> None:
        """Take the depths that can be chosen, the cheapest first; the last one reads everything."""
        *cheaper, self._deepest = depths
        self._left = dict.fromkeys(cheaper, 0)  # so many segments more are not read at this depth

    def next(self) -> int:
        """Return the depth for the next segment."""
        for depth, left in self._left.items():
            if not left:
                return depth
            self._left[depth] = left - 1
        return self._deepest

    def note_deeper_than(self, depth: int) -> None:
        """Note that a segment has a value that lies deeper than *depth*."""
        self._left[depth] = RUN
