"""Ids of spans, derived from what was seen and where: reading it again makes the same span, and never a second one."""

import hashlib
from typing import Final

TRACE_BYTES: Final = 16
SPAN_BYTES: Final = 8
IDS_BYTES: Final = TRACE_BYTES + SPAN_BYTES


class SpanIds:
    """Makes the ids of one source's spans."""

    def __init__(self, source: str) -> None:
        self._begin = b"controltower scrape\0%b\0" % source.encode()

    def ids(self, place: str, content: bytes) -> bytes:
        """Return the id of the trace and that of the span, one behind the other; they are never zero in practice."""
        return hashlib.sha256(b"%b%b\0%b" % (self._begin, place.encode(), content)).digest()[:IDS_BYTES]
