"""How much each sender may send: token buckets that are paid afterwards.

What a request holds is known when it has been read, so it is let in while there is anything left, and may leave a debt
that has to be paid off before the next. Over time no more passes than the rate, and no request is too large to pass.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from controltower.collector.auth import Sender

# Senders that are remembered; as many as there can be tokens.
MOST_SENDERS: Final = 10_000


@dataclass(slots=True)
class Bucket:
    """What may pass at *per_s*, and *burst_s* seconds' worth of it at once; 0 per second is no limit."""

    per_s: float
    burst_s: float
    filled_at: float
    level: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin full."""
        self.level = self.per_s * self.burst_s

    def wait_s(self, now: float) -> float:
        """Return how long it takes until something may pass; 0 when it may now."""
        self._fill(now)
        return 0.0 if not self.per_s or self.level > 0 else (1.0 - self.level) / self.per_s

    def charge(self, amount: float, now: float) -> None:
        """Take out what passed; it may leave a debt."""
        self._fill(now)
        if self.per_s:
            self.level -= amount

    def _fill(self, now: float) -> None:
        if now > self.filled_at:
            self.level = min(self.per_s * self.burst_s, self.level + (now - self.filled_at) * self.per_s)
            self.filled_at = now


@dataclass(frozen=True, slots=True)
class Quota:
    """What each sender may send that has no limits of its own; 0 is no limit."""

    items_per_s: float = 0.0
    bytes_per_s: float = 0.0
    burst_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Account:
    items: Bucket
    bytes: Bucket


class Rates:
    """The buckets of every sender; safe to use from several threads. Times as in ``Bucket``."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._lock = threading.Lock()
        self._accounts: OrderedDict[tuple[str, float, float], _Account] = OrderedDict()

    def wait_s(self, sender: Sender, now: float) -> float:
        """Return how long *sender* has to wait before it may send; 0 when it may now."""
        account = self._account(sender, now)
        if account is None:
            return 0.0
        with self._lock:
            return max(account.items.wait_s(now), account.bytes.wait_s(now))

    def charge(self, sender: Sender, items: int, size: int, now: float) -> None:
        """Note what *sender* sent."""
        account = self._account(sender, now)
        if account is not None:
            with self._lock:
                account.items.charge(items, now)
                account.bytes.charge(size, now)

    def _account(self, sender: Sender, now: float) -> _Account | None:
        quota = self._quota
        items = quota.items_per_s if sender.items_per_s is None else sender.items_per_s
        size = quota.bytes_per_s if sender.bytes_per_s is None else sender.bytes_per_s
        if not items and not size:
            return None
        key = (sender.name, items, size)  # with the limits: a changed one counts at once
        with self._lock:
            account = self._accounts.get(key)
            if account is None:
                account = _Account(Bucket(items, quota.burst_s, now), Bucket(size, quota.burst_s, now))
                self._accounts[key] = account
            self._accounts.move_to_end(key)
            if len(self._accounts) > MOST_SENDERS:
                self._accounts.popitem(last=False)
            return account
