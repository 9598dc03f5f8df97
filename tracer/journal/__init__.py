"""The journal on disk: what was appended is there after a crash, in the form in which the store loads it."""

from controltower.tracer.journal.errors import (
    JournalClosedError,
    JournalError,
    JournalFormatError,
    JournalFull,
    JournalKeyError,
    JournalLockedError,
    JournalTooLarge,
    NotAuthenticError,
    QuarantineError,
)
from controltower.tracer.journal.journal import Journal
from controltower.tracer.journal.kept import KeptFile
from controltower.tracer.journal.limits import JournalLimits
from controltower.tracer.journal.quarantine import Quarantine, Quarantined
from controltower.tracer.journal.records import (
    CHECKSUM_FIELD,
    RECEIVED_FIELD,
    RESERVED_FIELDS,
    TENANT_FIELD,
    digest_of,
    envelope,
)
from controltower.tracer.journal.sealing import PLAIN, Cipher, Sealing
from controltower.tracer.journal.segment import SegmentFile, order_of
from controltower.tracer.journal.stats import JournalStats
from controltower.tracer.journal.waiting import Receipt

__all__ = [
    "CHECKSUM_FIELD",
    "PLAIN",
    "RECEIVED_FIELD",
    "RESERVED_FIELDS",
    "TENANT_FIELD",
    "Cipher",
    "Journal",
    "JournalClosedError",
    "JournalError",
    "JournalFormatError",
    "JournalFull",
    "JournalKeyError",
    "JournalLimits",
    "JournalLockedError",
    "JournalStats",
    "JournalTooLarge",
    "KeptFile",
    "NotAuthenticError",
    "Quarantine",
    "QuarantineError",
    "Quarantined",
    "Receipt",
    "Sealing",
    "SegmentFile",
    "digest_of",
    "envelope",
    "order_of",
]
