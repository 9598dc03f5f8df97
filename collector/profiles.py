"""Indexes into the dictionary of profiles, which no other signal has: a name or a text that is one is absent.

Nothing is lost by it but what its sender meant, so it is told and not refused. Looking costs more than the whole rest of
taking a request in, so only one in a while is looked at: who sends indexes does so in all of them.
"""

import threading
from collections import OrderedDict
from typing import Any, Final

from controltower.collector.auth import Sender
from controltower.collector.otlp import Signal

EVERY_S: Final = 60.0
MOST_SENDERS: Final = 10_000  # as many as there can be tokens
LARGEST: Final = 256 * 1024  # bytes of a request that is looked at
MOST_MESSAGES: Final = 20_000  # of a request that are looked into

INDEXES: Final = frozenset({"key_strindex", "string_value_strindex"})


class ProfileWatch:
    """Looks at the first request of a sender, and at one a minute after it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def words(self, signal: Signal, sender: Sender, body: bytes, now: float) -> str:
        """Return what *sender* is told of the indexes in *body*, a request of *signal*; mostly nothing."""
        if len(body) > LARGEST or not self._is_due((sender.name, signal.name), now):
            return ""
        found = indexes(signal.request.FromString(body))
        if not found:
            return ""
        return f"{found} names or texts are indexes into a dictionary that only profiles have: they are absent."

    def _is_due(self, key: tuple[str, str], now: float) -> bool:
        with self._lock:
            before = self._looked_at.get(key)
            if before is not None and now - before < EVERY_S:
                return False
            self._looked_at[key] = now
            self._looked_at.move_to_end(key)
            if len(self._looked_at) > MOST_SENDERS:
                self._looked_at.popitem(last=False)
            return True


def indexes(request: Any) -> int:
    """Return how many names and texts of *request* are indexes."""
    found, waiting, seen = 0, [request], 0
    while waiting and seen < MOST_MESSAGES:
        seen += 1
        for field, value in waiting.pop().ListFields():
            if field.name in INDEXES:
                found += 1
            elif field.message_type is not None:
                waiting.extend(value if field.is_repeated else (value,))
    return found
