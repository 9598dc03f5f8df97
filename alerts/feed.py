"""What the engine wrote about exceptions since the last look, without reading the whole table each time."""

from datetime import datetime, timedelta
from typing import Final

from controltower.alerts.evaluate import dedup_key
from controltower.store.client import Client
from controltower.store.outbox import CHANGES_LIMIT, changed_exceptions, fingerprint, read_state, write_state
from controltower.store.rows import ExceptionRow

POSITION: Final = "position"
# A row may appear this long after the time in its version: the engine stamps a cycle at its start and writes at its end.
OVERLAP: Final = timedelta(seconds=60)
OVERLAP_NS: Final = OVERLAP // timedelta(microseconds=1) * 1_000


class Feed:
    """Pages of exceptions in the order of their versions, each row once; not for use from several threads.

    The position is kept in the store and only ever too early: rows that are read again after a restart decide nothing.
    """

    def __init__(self, client: Client, *, page: int = CHANGES_LIMIT) -> None:
        self._client = client
        self._page = page
        self._since: int | None = None
        self._newest = 0
        self._saved = 0
        self._now_ns = 0
        self._after: ExceptionRow | None = None  # the last row of the page before, while pages are left
        self._read: tuple[ExceptionRow, ...] = ()
        self._begun: tuple[int, int] | None = None  # fingerprint at the begin of this scan
        self._scanned: tuple[int, int] | None = None  # fingerprint of what has been read to its end
        self._seen: dict[str, int] = {}  # key -> version, of what lies in the overlap

    def has_news(self, now: datetime) -> bool:
        """Whether there is something to read."""
        self._now_ns = int(now.timestamp()) * 1_000_000_000
        if self._after is not None:
            return True
        self._begun = fingerprint(self._client, self._advanced(now))
        return self._begun != self._scanned

    def page(self) -> list[ExceptionRow]:
        """Return the next rows that were not handed out before; call ``done`` when they are dealt with."""
        self._read = changed_exceptions(self._client, self._since or 0, after=self._after, limit=self._page)
        return [row for row in self._read if self._seen.get(dedup_key(row)) != row.version]

    def done(self) -> bool:
        """Note that the page is dealt with; return whether there is another one."""
        for row in self._read:
            self._seen[dedup_key(row)] = row.version
            self._newest = max(self._newest, row.version)
        self._forget(self._newest - OVERLAP_NS)
        self._after = self._read[-1] if len(self._read) == self._page else None
        if self._after is None:
            self._scanned = self._begun
        position = min(self._newest, self._now_ns)  # a version from the future is no position: what follows is smaller
        if position > self._saved:
            write_state(self._client, POSITION, str(position))
            self._saved = position
        return self._after is not None

    def _advanced(self, now: datetime) -> int:
        """Return where to read from; moved forward in few steps, because each step reads the overlap again."""
        if self._since is None:
            position = read_state(self._client, POSITION)
            self._newest = self._saved = int(position.value) if position else 0
            self._since = max(0, self._newest - OVERLAP_NS)
        settled = min(self._newest, self._now_ns - OVERLAP_NS)
        if settled - self._since >= OVERLAP_NS or settled == self._newest > self._since:
            self._since, self._scanned = settled, None
            self._forget(settled)
        return self._since

    def _forget(self, before: int) -> None:
        if before > 0:
            self._seen = {key: version for key, version in self._seen.items() if version >= before}
