"""One journal's segments into the store, each once: also when the store forgot what it was given."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from controltower.collector.depths import Depths
from controltower.collector.engine_known import Known, KnownFile
from controltower.collector.gate import Gate
from controltower.store.again import fresh_token, is_loading, recount, stored, take_out
from controltower.store.client import Client
from controltower.store.errors import DeeperError, LoadError
from controltower.store.keyed import keyed
from controltower.store.life import engine_life
from controltower.store.loader import WAYS, Segment, Signal, load_segment
from controltower.store.otlp import DEPTH
from controltower.store.parts import Parts, parts_of
from controltower.store.times import TimeBounds
from controltower.tracer.journal import Journal, SegmentFile, order_of

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Loading:
    """Loads segments, each thread with a client that is kept while it works.

    What was never offered to the store is inserted as it is. What was, by this process or an earlier one, is looked for
    first, while nothing else is loaded: whatever became of the attempt, it is taken out and loaded anew. And when the engine
    was restarted, what was loaded shortly before and is missing now is loaded again.
    """

    def __init__(
        self,
        open_client: Callable[[], Client],
        journal: Journal,
        signal: Signal,
        *,
        loaded: Callable[[], None] = lambda: None,
        bounds: TimeBounds | None = None,
        keys: Mapping[str, Sequence[bytes]] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Load segments of *signal* from *journal*.

        Call *loaded* after each segment, so that whoever waits for spans need not wait for its next round. *keys* are
        those of the tokens that redaction makes, by tenant.
        """
        self._open_client = open_client
        self._journal = journal
        self._signal = signal
        self._bounds = bounds
        self._keys = keys or {}
        self._loaded = loaded
        self._clock = clock
        self._file = KnownFile(journal.folder)
        self._remembered: Known | None = None
        self._offered: set[str] = set()  # by this process, outcome unknown
        self._since_ns = self._newest_ns()  # what was begun before may have been offered by an earlier process
        self._depths = Depths(WAYS[signal].depths)
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
        if not self._may_be_there(segment.id):
            depth = self._depths.next()
            try:
                with self._gate.shared():
                    return self._offer(client, segment, "", depth)
            except DeeperError:
                self._depths.note_deeper_than(depth)
        with self._gate.alone():
            return self._load_anew(client, segment)

    def _may_be_there(self, segment: str) -> bool:
        """Whether *segment* was offered before, or may have been by an earlier process: nobody knows what became of it."""
        return segment in self._offered or order_of(segment)[0] < self._since_ns

    def _load_anew(self, client: Client, segment: SegmentFile) -> int:
        """Load *segment* under a token of its own, after taking out what is there of it; call it alone.

        Raises LoadError, to be called again, while an earlier offer is still at work in the engine, and when one that nobody
        could see yet was stored beside this one.
        """
        if is_loading(client, segment.id):
            raise LoadError(f"Segment {segment.id} is still being loaded by an earlier attempt.", permanent=False)
        found = stored(client, self._signal, segment.id)
        if found:
            logger.warning("%s rows of segment %s are there already; it is loaded anew", found, segment.id)
            self._note(self._known().counted(right=False))
            take_out(client, self._signal, segment.id)
        rows = self._offer(client, segment, fresh_token(segment.id))
        if (held := stored(client, self._signal, segment.id)) != rows:
            self._offered.add(segment.id)
            self._note(self._known().counted(right=False))
            raise LoadError(f"Segment {segment.id} has {rows} rows and the store holds {held} of it.", permanent=False)
        if self._signal == "traces" and not self._known().is_counted:
            recount(client)
            self._note(self._known().counted(right=True))
        return rows

    def _offer(self, client: Client, segment: SegmentFile, token: str, depth: int = DEPTH) -> int:
        self._offered.add(segment.id)
        messages = Segment(segment.id, self._signal, segment.path, keyed(segment.open, self._keys), token)
        rows = load_segment(client, messages, self._bounds, depth=depth)
        self._offered.discard(segment.id)
        return rows

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
            if life != before.life:
                self._note(before.in_life(life))
                logger.info("%s: the engine began a new run", self._signal)
            if not self._known().is_checked:
                self._check_kept(client)
                self._note(self._known().checked())

    def _newest_ns(self) -> int:
        """Return a time before which every segment that may have been offered was begun, also after a clock was set back."""
        return max([self._clock(), *(order_of(segment.id)[0] + 1 for segment in self._journal.closed_segments())])

    def _check_kept(self, client: Client) -> None:
        """Load again what was loaded before the engine was restarted, and is not there in full, or more than once."""
        for kept in self._journal.kept.files():
            held = stored(client, self._signal, kept.id)
            if held == kept.rows or not kept.rows:
                continue
            segment = self._journal.kept_segment(kept)
            if segment is None:  # damaged, it is in the backlog again; the journal says why
                continue
            logger.error("of segment %s the store holds %s rows instead of %s", kept.id, held, kept.rows)
            self._note(self._known().counted(right=False))
            try:
                self._load_anew(client, segment)
            except LoadError as error:
                if not error.permanent:
                    raise
                self._journal.load_again(kept)  # refused now: like any other it is halved, and the bad record set aside

    def _known(self) -> Known:
        if self._remembered is None:
            self._remembered = self._file.read()
        return self._remembered

    def _note(self, known: Known) -> Known:
        self._file.write(known)
        self._remembered = known
        return known
