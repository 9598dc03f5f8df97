"""Since when files are as they are. What is seen of them counts; their own times are of the clock of whoever keeps them."""

from collections.abc import Callable, Sequence
from typing import Final

from controltower.collector.scrapers.files import Seen

QUIET_S: Final = 5.0  # a file that did not change for so long is whole, where no other file says so


class Watch:
    """Watches files from one look to the next. For one thread."""

    def __init__(self, clock: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._since_s: dict[Seen, float] | None = None

    def look(self, found: Sequence[Seen]) -> None:
        """Note what there is. At the first look nothing is known of a file but its time, which is believed."""
        now_s, now_ns = self._monotonic(), self._clock()
        if self._since_s is None:
            self._since_s = {seen: now_s - max(now_ns - seen.changed_ns, 0) / 10**9 for seen in found}
        else:
            self._since_s = {seen: self._since_s.get(seen, now_s) for seen in found}

    def is_quiet(self, seen: Seen) -> bool:
        """Whether a file did not change for a while."""
        since_s = (self._since_s or {}).get(seen)
        return since_s is not None and self._monotonic() - since_s > QUIET_S
