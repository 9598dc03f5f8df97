"""Where a journal stands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JournalStats:
    """Numbers for an operator; they are right from the moment on in which the journal is open."""

    bytes: int  # of the segments that are not removed yet
    budget_bytes: int
    segments: int
    waiting_bytes: int  # not on the disk and not acknowledged yet
    oldest_received_ns: int | None  # of what is acknowledged and not removed
    quarantined_files: int
    quarantined_bytes: int
    last_error: str | None  # why the last write failed; None after one that succeeded
    used_bytes: int  # of the budget: segments, indexes, quarantine
    left_bytes: int  # by the budget and by what is free on the volume; 0 when new bodies are refused
    free_bytes: int | None  # on the volume; None when it does not say
    fullness: float  # used / (used + left), from 0 to 1; look from 0.5 on, act from 0.9 on
    held_segments: int  # of the segments: those that wait for room to be mended or halved
    key_id: str | None  # of the key that encrypts; None when nothing is encrypted
