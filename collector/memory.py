"""How much memory the process takes, and how much it may: the last bound, when every other let too much in."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

# Of the memory of the machine or container: what is above goes to the page cache of the journal and the store.
DEFAULT_SHARE: Final = 0.85
LOOK_EVERY_S: Final = 0.1

_STATM: Final = Path("/proc/self/statm")
_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MEMINFO: Final = Path("/proc/meminfo")
_PAGE_BYTES: Final = 4096


class MemoryWatch:
    """Looks at the memory of this process, at most every tenth of a second. On other systems than Linux it sees none."""

    def __init__(
        self,
        most_bytes: int,
        *,
        resident: Callable[[], int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call the process short of memory above *most_bytes*; 0 stands for a share of what there is."""
        self._most_bytes = most_bytes or int(available_bytes() * DEFAULT_SHARE)
        self._resident = resident or resident_bytes
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._short = False

    def is_short(self) -> bool:
        """Whether the process takes more than it may."""
        now = self._monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._short = 0 < self._most_bytes < self._resident()
        return self._short


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where that cannot be read."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def available_bytes() -> int:
    """Return the memory that this process can have: of its container or of the machine; 0 where that cannot be read."""
    found = [value for value in (*map(_limit, _LIMITS), _total()) if value]
    return min(found, default=0)


def _limit(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # there is none, or "max"
        return 0


def _total() -> int:
    try:
        first = _MEMINFO.read_text(encoding="ascii").splitlines()[0]
        return int(first.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return 0
