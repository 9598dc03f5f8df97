"""How many files and connections this process may have open."""

import resource
from typing import Final

# More are of no use, and make starting other processes slow where the system allows a billion.
MOST: Final = 65_536

# For the journals, the store and the log; the embedded engine keeps many parts open.
KEPT: Final = 1_000


def allow_open_files() -> int:
    """Use as many as the system allows without asking anybody, and return their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def connections_within(open_files: int, wanted: int, transports: int) -> int:
    """Return how many connections each of *transports* may have: those *wanted*, or what *open_files* leave room for."""
    return max(1, min(wanted, (open_files - KEPT) // transports))
