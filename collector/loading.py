"""One journal's segments into the store, each once: also when the store forgot what it was given."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from controltower.collector.gate import Gate
from controltower.collector.offers import Offers, OffersFile
from controltower.store.again import fresh_token, recount, stored, take_out
from controltower.store.client import Client
from controltower.store.errors import LoadError
from controltower.store.keyed import keyed
from controltower.store.life import engine_life
from controltower.store.loader import Segment, Signal, load_segment
from controltower.store.parts import Parts, parts_of
from controltower.store.times import TimeBounds
from controltower.tracer.journal import Journal, SegmentFile, order_of

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Loading:
    """Loads segments, each thread with a client that is kept while it works.

    A token makes a segment load once for as long as the engine runs. When the engine was restarted, what it may hold of
    an older segment is looked for first, while nothing else is loaded; and what was loaded shortly before and is missing now is loaded again.
    """

    def __init__(
        self,
        open_client: Callable[[], Client],
        journal: Journal,
        signal: Signal,
        *,
        loaded: Callable[[], None] = lambda: None,
        bounds: TimeBounds | None = None,
        keys: Sequence[bytes] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Load segments of *signal* from *journal*.

        Call *loaded* after each segment, so that whoever waits for spans need not wait for its next round. *keys* are
        those of the tokens that redaction makes.
        """
        self._open_client = open_client
        self._journal = journal
        self._signal = signal
        self._bounds = bounds
        self._keys = keys
        self._loaded = loaded
        self._clock = clock
        self._file = OffersFile(journal.folder)
        self._offers: Offers | None = None
        self._failed: set[str] = set()  # offered in this run, outcome unknown
        self._gate = Gate()
        self._own = threading.local()

    def __call__(self, segment: SegmentFile) -> int:
        """Load *segment* and return how many rows of it the store holds. Raises LoadError, StoreError, OSError."""
        rows = self._with_client(lambda client: self._load(client, segment))
        self._loaded()
        return rows

    def prepare(self) -> None:
        """Look whether the store lost what it had; call it at the start. Raises as loading does."""
        self._with_client(lambda _: 0)

    def parts(self) -> Parts:
        """Return how crowded the store is. Raises as loading does."""
        return self._with_client(parts_of)

    def _with_client(self, work: Callable[[Client], Answer]) -> Answer:
        client: Client | None = getattr(self._own, "client", None)
        try:
            if client is None:
                client = self._own.client = self._open_client()
            self._notice_life(client)
            return work(client)
        except Exception:
            self._own.client = None
            if client is not None:
                client.close()
            raise

    def _load(self, client: Client, segment: SegmentFile) -> int:
        with self._gate.shared():
            offers = self._known()
            if not (offers.is_unsure(segment.id) or offers.token(segment.id)):
                return self._offer(client, segment, "")
        with self._gate.alone():
            offers = self._known()
            if offers.is_unsure(segment.id):
                offers = self._look_for(client, segment)
            rows = self._offer(client, segment, offers.token(segment.id))
            if segment.id in offers.tokens:
                self._settle(client, segment.id)
            return rows

    def _offer(self, client: Client, segment: SegmentFile, token: str) -> int:
        again = segment.id in self._failed
        self._failed.add(segment.id)
        rows = self._insert(client, segment, token)
        self._failed.discard(segment.id)
        if again or not rows:  # this call need not have been the one that stored it
            rows = stored(client, self._signal, segment.id)
        return rows

    def _look_for(self, client: Client, segment: SegmentFile) -> Offers:
        """Take out what an earlier run of the engine holds of *segment*, and give it a token of its own."""
        found = stored(client, self._signal, segment.id)
        if found:
            logger.warning("%s rows of segment %s are there already; it is loaded anew", found, segment.id)
            self._note(self._known().counted(right=False))
            take_out(client, self._signal, segment.id)
        return self._note(self._known().with_token(segment.id, fresh_token(segment.id)))

    def _settle(self, client: Client, segment: str) -> None:
        """Make counts right that *segment* was counted twice in, and forget its token: it is done."""
        if self._signal == "traces" and not self._known().is_counted:
            recount(client)
        self._note(self._known().counted(right=True).without(segment))

    def _insert(self, client: Client, segment: SegmentFile, token: str) -> int:
        messages = Segment(segment.id, self._signal, segment.path, keyed(segment.open, self._keys), token)
        return load_segment(client, messages, self._bounds)

    # The engine's run.

    def _notice_life(self, client: Client) -> None:
        """Notice that the engine was restarted, before anything is offered to it.

        Before each offer and not only with a new client: a client reconnects by itself and tells nobody.
        """
        life = engine_life(client)
        if life == self._known().life and self._known().is_checked:
            return
        with self._gate.alone():
            before = self._known()
            offers = before.in_life(life, self._newest_ns())
            if offers is not before:
                self._failed.clear()
                self._note(offers)
            if not offers.is_checked:
                self._check_kept(client)
                self._note(self._known().checked())

    def _newest_ns(self) -> int:
        """Return a time before which every segment that may have been offered was begun, also after a clock was set back."""
        return max([self._clock(), *(order_of(segment.id)[0] + 1 for segment in self._journal.closed_segments())])

    def _check_kept(self, client: Client) -> None:
        """Load again what was loaded before the engine was restarted, and is not there in full."""
        for kept in self._journal.kept.files():
            offers = self._known()
            held = stored(client, self._signal, kept.id)
            if held >= kept.rows and kept.id not in offers.tokens:
                continue
            segment = self._journal.kept_segment(kept)
            if segment is None:  # damaged, it is in the backlog again; the journal says why
                continue
            if kept.id not in offers.tokens:
                self._note(offers.counted(right=False))
                logger.error("the store lost %s of %s rows of segment %s", kept.rows - held, kept.rows, kept.id)
                offers = self._look_for(client, segment)
            try:
                self._insert(client, segment, offers.token(kept.id))
            except LoadError as error:
                if not error.permanent:
                    raise
                self._journal.load_again(kept)  # refused now: like any other it is halved, and the bad record set aside
            else:
                self._settle(client, kept.id)

    def _known(self) -> Offers:
        if self._offers is None:
            self._offers = self._file.read()
        return self._offers

    def _note(self, offers: Offers) -> Offers:
        self._file.write(offers)
        self._offers = offers
        return offers
