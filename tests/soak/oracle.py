"""What was issued and what was acknowledged, and the judgement of what is stored."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from controltower.store.client import Client

STORED = """
SELECT
    SpanId,
    SpanName,
    SpanAttributes['n']
FROM otel_traces
"""
TWICE = """
SELECT
    SpanId,
    groupArray((SegmentId, toString(IngestedAt), toString(LoadedAt)))
FROM otel_traces
WHERE SpanId IN {ids:Array(String)}
GROUP BY SpanId
"""
ID_HEX = 16
EXAMPLES = 10


class Ledger:
    """Numbers of spans that were issued, and of those that were acknowledged; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 1
        self.acknowledged: set[int] = set()
        self.answers: Counter[str] = Counter()
        self.replayed = 0  # requests that were acknowledged before and were acknowledged once more

    @property
    def issued(self) -> int:
        """How many numbers were issued: all from 1 on."""
        return self._next - 1

    def issue(self, count: int) -> range:
        """Return numbers that nobody else has."""
        with self._lock:
            first, self._next = self._next, self._next + count
        return range(first, first + count)

    def acknowledge(self, numbers: Iterable[int], *, replayed: bool) -> None:
        """Write down that these were acknowledged."""
        with self._lock:
            self.acknowledged.update(numbers)
            self.replayed += replayed

    def answered(self, status: str) -> None:
        """Count an answer."""
        with self._lock:
            self.answers[status] += 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with what is stored; nothing is when every count is 0."""

    issued: int
    acknowledged: int
    stored: int
    replayed: int
    missing: int  # acknowledged, not stored, and not destroyed on purpose
    doubled: int
    spurious: int  # stored and never issued
    changed: int  # stored with another content than was sent
    destroyed: int  # in records that were damaged on purpose
    destroyed_and_stored: int  # of these: they had been loaded before
    not_in_quarantine: int  # damaged records that are neither stored nor in quarantine
    examples: list[int] = field(default_factory=list)  # of what is missing
    twice: list[tuple[str, object]] = field(
        default_factory=list
    )  # of what is doubled: the segment and times of each row

    @property
    def flawless(self) -> bool:
        """Whether nothing acknowledged was lost, doubled, invented or changed, and all damage is in quarantine."""
        return not (self.missing or self.doubled or self.spurious or self.changed or self.not_in_quarantine)


@dataclass(frozen=True, slots=True)
class Destroyed:
    """A record that was damaged on purpose, after that: its bytes, and the spans in it."""

    damaged: bytes
    numbers: frozenset[int]


def judge(client: Client, ledger: Ledger, destroyed: list[Destroyed], quarantined: list[bytes]) -> Verdict:
    """Compare what *client* has with the *ledger*. A destroyed record must be in one of the *quarantined* files."""
    rows = client.query(STORED).result_rows
    counts = Counter(int(span_id, ID_HEX) for span_id, _, _ in rows)
    gone = frozenset().union(*(record.numbers for record in destroyed)) if destroyed else frozenset()
    missing = ledger.acknowledged - counts.keys() - gone
    doubled = [number for number, count in counts.items() if count > 1]
    ids = [f"{number:0{ID_HEX}x}" for number in doubled[:EXAMPLES]]
    return Verdict(
        issued=ledger.issued,
        acknowledged=len(ledger.acknowledged),
        stored=len(counts),
        replayed=ledger.replayed,
        missing=len(missing),
        doubled=len(doubled),
        spurious=sum(number > ledger.issued or number < 1 for number in counts),
        changed=sum(not _is_as_sent(*row) for row in rows),
        destroyed=len(gone),
        destroyed_and_stored=len(gone & counts.keys()),
        not_in_quarantine=sum(not _is_kept(record, counts, quarantined) for record in destroyed),
        examples=sorted(missing)[:EXAMPLES],
        twice=[tuple(row) for row in client.query(TWICE, parameters={"ids": ids}).result_rows] if ids else [],
    )


def _is_as_sent(span_id: str, name: str, n: str) -> bool:
    number = int(span_id, ID_HEX)
    return name == f"span {number}" and n == str(number)


def _is_kept(record: Destroyed, stored: Counter[int], quarantined: list[bytes]) -> bool:
    return record.numbers <= stored.keys() or any(record.damaged in data for data in quarantined)
