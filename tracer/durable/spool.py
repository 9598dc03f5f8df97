"""The journals of one process's folder: business steps in one, all other spans in another that makes room for them."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Final, Literal

from controltower.tracer.durable.bodies import body_of, spans_in
from controltower.tracer.durable.folders import Claim
from controltower.tracer.journal import Journal, JournalError, JournalLimits, SegmentFile, digest_of, envelope
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.quarantine import FOLDER as QUARANTINE

logger = logging.getLogger("controltower.tracer")

Kind = Literal["steps", "others"]
KINDS: Final[tuple[Kind, ...]] = ("steps", "others")  # in the order in which they are sent
STALL_S: Final = 10.0  # a disk that takes longer for a write is said to hang
NEVER_S: Final = 1e9  # segments are closed by their size, or by who sends them


class Spool:
    """An open folder; safe to use from several threads. Its journals are opened when they are needed."""

    def __init__(
        self, claim: Claim, *, budget_bytes: int, segment_bytes: int, clock: Callable[[], int], disk: Disk
    ) -> None:
        """Work on the folder of *claim*; what a crash left in it can be sent at once. Raises JournalError, OSError."""
        self._claim = claim
        self._clock = clock
        self._disk = disk
        # No window: bodies of spans are never the same, and what was sent is recognised by the collector.
        self._limits = JournalLimits(
            segment_bytes=segment_bytes, segment_age_s=NEVER_S, budget_bytes=budget_bytes, window_entries=0
        )
        self._journals: dict[Kind, Journal] = {}
        self._lock = threading.Lock()  # of what is sent and what is given up meanwhile
        self._sending = ""
        self._damaged = 0
        for kind in KINDS:
            if (claim.path / kind).is_dir():
                self._open(kind)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._claim.path

    def _open(self, kind: Kind) -> Journal:
        journal = Journal(self._claim.path / kind, self._limits, clock=self._clock, disk=self._disk)
        self._journals[kind] = journal
        return journal

    def put(self, kind: Kind, body: bytes, stalled: Callable[[], None]) -> None:
        """Store *body*; returns when it is on the disk, and tells *stalled* while that takes long.

        Raises JournalError, JournalFull among them, OSError.
        """
        journal = self._journals.get(kind) or self._open(kind)
        now_ns = self._clock()
        message = body + envelope(now_ns, "")
        stored = journal.append(message, tenant="", received_ns=now_ns, digest=digest_of(body))
        while not wait([stored], STALL_S).done:
            stalled()
        stored.result()

    @property
    def used_bytes(self) -> int:
        """What the journals take on the disk."""
        return sum(journal.stats().used_bytes for journal in self._all())

    def new_damage(self) -> int:
        """Return how many more stretches of bytes the disk damaged than when this was last asked; torn ends are none."""
        found = len(list(self.path.glob(f"*/{QUARANTINE}/*.damaged")))
        new, self._damaged = found - self._damaged, found
        return new

    @property
    def waits(self) -> bool:
        """Whether anything is to be sent."""
        return any(journal.stats().segments for journal in self._all())

    def next(self, kind: Kind) -> SegmentFile | None:
        """Return the oldest segment that can be sent."""
        journal = self._journals.get(kind)
        return journal.wait_closed(0) if journal is not None else None

    def rotate(self, kind: Kind) -> None:
        """Close what is being written, so that it can be sent."""
        if (journal := self._journals.get(kind)) is not None:
            journal.rotate()

    def read(self, kind: Kind, segment: SegmentFile) -> tuple[SegmentFile, bytes] | None:
        """Return *segment* with the request that is made of it; None when nothing of it is left, or not now.

        Raises OSError, JournalError.
        """
        with self._lock:
            if not segment.path.exists():  # given up just now
                return None
            verified = self._journals[kind].verify(segment)
            if verified is None:
                return None
            self._sending = verified.id
            with verified.open() as file:
                return verified, body_of(file.read())

    def remove(self, kind: Kind, segment: SegmentFile) -> bool:
        """Remove what was acknowledged; return whether it had not been given up meanwhile. Raises OSError."""
        with self._lock:
            if self._sending != segment.id:
                return False
            self._journals[kind].remove(segment)
            return True

    def set_aside(self, kind: Kind, body: bytes, reason: str) -> Path:
        """Keep a request that the collector refuses for good. Raises JournalError, OSError."""
        return self._journals[kind].set_aside(body, reason, signal="traces")

    def give_up_others(self) -> int:
        """Remove the oldest spans that are no business steps, to make room; returns how many, 0 when there are none."""
        journal = self._journals.get("others")
        if journal is None:
            return 0
        with self._lock:
            if not journal.closed_segments():
                journal.rotate()
            for segment in journal.closed_segments()[:1]:
                with segment.open() as file:
                    spans = spans_in(body_of(file.read()))
                journal.remove(segment)
                if segment.id == self._sending:  # the request is under way: whatever comes of it, this was decided
                    self._sending = ""
                return max(spans, 1)
        return 0

    def close(self) -> None:
        """Close the journals; an empty folder is removed, what is in another is for whoever takes it over. Blocks."""
        for journal in self._all():
            journal.close()
        try:
            if not any(journal.closed_segments() for journal in self._all()):
                self._claim.remove()
        except OSError as error:  # it is looked at again by whoever comes next
            logger.warning("the folder %s could not be removed: %s", self.path, error.strerror)
        finally:
            self._claim.release()

    def abandon(self) -> None:
        """In a forked child: leave the folder to the parent."""
        for journal in self._all():
            journal.abandon()
        self._claim.release()

    def _all(self) -> list[Journal]:
        return list(self._journals.values())


def open_spool(claim: Claim, *, budget_bytes: int, segment_bytes: int, clock: Callable[[], int], disk: Disk) -> Spool:
    """Open the folder of *claim*, or let go of it. Raises JournalError, OSError."""
    try:
        return Spool(claim, budget_bytes=budget_bytes, segment_bytes=segment_bytes, clock=clock, disk=disk)
    except (JournalError, OSError):
        claim.release()
        raise
