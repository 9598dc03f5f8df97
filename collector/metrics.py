"""What the collector counts about itself."""

import threading
from collections import Counter
from typing import Final, Literal, get_args

Metric = Literal[
    "requests_accepted",  # answered with 200
    "requests_duplicate",  # of these, sent again by a client that saw no answer: a rise means slow answers
    "requests_refused",  # answered with anything else; see by reason
    "items_accepted",  # spans on the disk
    "items_rejected",  # left out of accepted requests, because their identity is none: look at the sender
    "values_redacted",  # changed before they were written, of sources of class phi: look at what the sender sends
    "segments_loaded",
    "rows_loaded",
    "load_failures",  # tried again later: a rise means that the store is away or too slow
    "segments_refused",  # in quarantine with the store's reason: somebody must look
]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)


class Metrics:
    """Counters since the start of the process; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()

    def add(self, metric: Metric, count: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._counts[metric] += count

    def refused(self, reason: str) -> None:
        """Count a refused request by its reason."""
        with self._lock:
            self._counts["requests_refused"] += 1
            self._refusals[reason] += 1

    def snapshot(self) -> dict[str, int | dict[str, int]]:
        """Return every counter, and refusals by reason."""
        with self._lock:
            return {**{name: self._counts[name] for name in METRICS}, "refusals": dict(self._refusals)}
