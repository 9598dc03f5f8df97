"""Bounds of a journal."""

from dataclasses import dataclass
from typing import Final

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """How much a journal takes, keeps and remembers."""

    segment_bytes: int = 8 * _MIB  # one load: large enough for a good part, small enough to load in a moment
    segment_age_s: float = 0.3  # acknowledged to visible must stay below a second at low rates
    budget_bytes: int = 10 * 1024 * _MIB  # segments, their indexes and quarantine together; more is refused
    reserve_bytes: int = 0  # free space that is left on the volume for others: loading needs it to make room
    waiting_bytes: int = 256 * _MIB  # in memory while the disk is slow
    window_s: float = 3600.0  # longer than any client tries again
    window_entries: int = 100_000  # some 30 MB of memory
    keep_s: float = 0.0  # loaded segments are kept so long, for a store that loses what it acknowledged
    keep_bytes: int = 1024 * _MIB  # and so many bytes of them; they are no part of the budget
