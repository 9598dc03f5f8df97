"""Bounds of durable export."""

from dataclasses import dataclass
from typing import Final

_MIB: Final = 1024 * 1024

DEFAULT_BYTES: Final = 4 * 1024 * _MIB  # some seven million steps
DEFAULT_RESERVE_BYTES: Final = 1024 * _MIB  # the host's own data comes first
STORE_INTERVAL_S: Final = 0.1  # from the end of a step until it is on the disk, at the longest while the disk keeps up
SEGMENT_BYTES: Final = 2 * _MIB  # one request; the collector parses those above 4 MiB one after the other
RECORD_BYTES: Final = SEGMENT_BYTES // 4  # so that a segment is never much larger than it should be
LOOK_S: Final = 15.0  # how soon the folder of a process that died is taken over
MOST_TAKEN_OVER: Final = 16  # folders at a time: each has a few files open


@dataclass(frozen=True, slots=True)
class DurableLimits:
    """How much of the disk may be used, by all processes of a service on this machine together."""

    budget_bytes: int = DEFAULT_BYTES
    reserve_bytes: int = DEFAULT_RESERVE_BYTES  # free space that is left on the volume
    interval_s: float = 0.5  # longest wait before what is on the disk is sent
    segment_bytes: int = SEGMENT_BYTES
