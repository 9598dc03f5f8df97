"""The journal on disk: what was appended is there after a crash, in the form in which the store loads it."""

from controltower.tracer.journal.errors import JournalClosedError, JournalError, JournalFull, JournalLockedError
from controltower.tracer.journal.journal import Journal, JournalLimits, JournalStats, Receipt
from controltower.tracer.journal.records import (
    CHECKSUM_FIELD,
    RECEIVED_FIELD,
    RESERVED_FIELDS,
    TENANT_FIELD,
    digest_of,
    envelope,
)
from controltower.tracer.journal.segment import SegmentFile

__all__ = [
    "CHECKSUM_FIELD",
    "RECEIVED_FIELD",
    "RESERVED_FIELDS",
    "TENANT_FIELD",
    "Journal",
    "JournalClosedError",
    "JournalError",
    "JournalFull",
    "JournalLimits",
    "JournalLockedError",
    "JournalStats",
    "Receipt",
    "SegmentFile",
    "digest_of",
    "envelope",
]
