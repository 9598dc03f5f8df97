"""What collectors say about themselves: the row that is written, and what is read of many."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class CollectorSample:
    """One number of a collector at one time."""

    TABLE: ClassVar = "collector_samples"

    at: datetime
    collector: str
    name: str
    signal: str
    reason: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CollectorState:
    """How one signal stands at one collector, as it last said."""

    collector: str
    signal: str
    reported_at: datetime
    lag_s: float  # age of the oldest request that is acknowledged and not in the store
    waiting_bytes: int
    used_bytes: int  # of the journal's budget
    left_bytes: int  # that can still be taken
    free_bytes: int  # on the volume
    quarantined_files: int
    quarantined_rows: int
    failing: bool  # its journal cannot be written


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """How many requests of a signal were not taken for one reason."""

    reason: str
    signal: str
    requests: int
    last_at: datetime
