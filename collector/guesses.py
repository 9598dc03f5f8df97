"""How often somebody was refused: who guesses is slowed down, more with each guess."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

FREE: Final = 5  # a mistake or two cost nothing
FIRST_DELAY_S: Final = 0.05
LONGEST_DELAY_S: Final = 2.0  # below the time at which clients and proxies give up, so that they see the answer
LOCK_AFTER: Final = 20
FIRST_LOCK_S: Final = 1.0
LONGEST_LOCK_S: Final = 300.0
FORGET_S: Final = 900.0  # without a refusal

# Of addresses and fingerprints that are remembered, each some 200 bytes; the ones that were quiet longest go first.
MOST: Final = 10_000


@dataclass(slots=True)
class _Record:
    failures: int = 0
    last_at: float = 0.0
    locked_until: float = 0.0
    told_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Brake:
    """What a refusal costs its client."""

    failures: int
    delay_s: float  # before the answer
    locked_s: float  # 0 when it is not locked out


class Guesses:
    """Refusals by client and by what was presented. Times are passed in, in seconds of a clock that never goes back."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def failed(self, keys: Iterable[str], now: float) -> Brake:
        """Note a refusal under each of *keys* and return what it costs: that of the key with the most refusals."""
        brakes = [self._failed(key, now) for key in keys]
        return max(brakes, key=lambda brake: (brake.failures, brake.locked_s), default=Brake(0, 0.0, 0.0))

    def tells(self, key: str, now: float, every_s: float) -> bool:
        """Whether it is time to write about *key* again, which is noted."""
        record = self._records.get(key)
        if record is None or now - record.told_at < every_s:
            return False
        record.told_at = now
        return True

    def _failed(self, key: str, now: float) -> Brake:
        record = self._records.get(key)
        if record is None or now - record.last_at > FORGET_S:
            record = self._records[key] = _Record()
        self._records.move_to_end(key)
        if len(self._records) > self._most:
            self._records.popitem(last=False)
        record.failures += 1
        record.last_at = now
        if record.failures > LOCK_AFTER and now >= record.locked_until:
            record.locked_until = now + _grown(FIRST_LOCK_S, record.failures - LOCK_AFTER, LONGEST_LOCK_S)
        delay_s = _grown(FIRST_DELAY_S, record.failures - FREE, LONGEST_DELAY_S) if record.failures > FREE else 0.0
        return Brake(record.failures, delay_s, max(0.0, record.locked_until - now))


def _grown(first: float, times: int, longest: float) -> float:
    """Return *first*, doubled from the second of *times* on, up to *longest*."""
    return float(min(longest, first * 2.0 ** min(times - 1, 30)))
