"""What else than spans came since the engine looked last: links between traces, and corrections by people."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from controltower.store.flows.neighbourhood import Neighbourhood
from controltower.store.rows import Correction

TRACES_PER_CYCLE: Final = 20_000


@dataclass(frozen=True, slots=True)
class News:
    """What may move steps that are stored."""

    any_links: bool  # whether there are span links at all
    linked: AbstractSet[str]  # traces with new span links
    said: Sequence[Correction]  # all corrections
    fresh: Sequence[Correction]  # those that are not applied yet, and those that they undo
    more: bool  # there are more links than one cycle takes

    def concern(self, flow: str) -> bool:
        """Whether they may move steps of *flow*."""
        return bool(self.linked) or any(one.flow == flow for one in self.fresh)


class NewsReader:
    """Reads on where it ended. Twice is harmless, so nothing of it is stored: a new engine looks back a little for links,
    and applies every correction again."""

    def __init__(self, around: Neighbourhood, *, since_us: int, overlap: timedelta) -> None:
        self._around = around
        self._since_us = since_us
        self._overlap_us = overlap // timedelta(microseconds=1)
        self._read: frozenset[str] = frozenset()  # parts whose links were all taken
        self._parts: frozenset[str] = frozenset()
        self._reached_us = since_us
        self._said: Sequence[Correction] = ()
        self._applied: frozenset[str] = frozenset()
        self._news = News(any_links=False, linked=frozenset(), said=(), fresh=(), more=False)

    def take(self, limit: int = TRACES_PER_CYCLE) -> News:
        """Return what is new; the same again until it is dealt with."""
        self._parts = self._around.parts("span_links")
        found = self._around.newly_linked(self._since_us - self._overlap_us, self._read, limit)
        self._reached_us = max([self._since_us, *(row.loaded_us for row in found)])
        if self._around.corrections_count() != len(self._said):
            self._said = self._around.corrections()
        unapplied = {one.id: one.undoes for one in self._said if one.id not in self._applied}
        undone = set(unapplied.values())
        self._news = News(
            any_links=bool(found) or self._around.has_links(),
            linked={row.name for row in found},
            said=self._said,
            fresh=[one for one in self._said if one.id in unapplied or one.id in undone],
            more=len(found) == limit,
        )
        return self._news

    def dealt_with(self) -> None:
        """Say that the cycle that took the last news is recorded."""
        self._since_us = self._reached_us
        self._read = frozenset() if self._news.more else self._parts
        self._applied |= {one.id for one in self._news.fresh}
