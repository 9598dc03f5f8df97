"""Sessions: handles that outlive a request, so that SET, USE and temporary tables do."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controltower.store.endpoint_engine import Handle
from controltower.store.endpoint_errors import (
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    EndpointError,
)
from controltower.store.endpoint_request import Session

MOST_SESSIONS: Final = 500  # each holds a handle; clients that come and go leave theirs behind until the timeout


@dataclass(slots=True)
class _Held:
    handle: Handle
    busy: bool
    expires_at: float


class Sessions:
    """The sessions that are open, by user and id. Thread-safe; nothing here runs a query except *opened*."""

    def __init__(self, now: Callable[[], float], most: int = MOST_SESSIONS) -> None:
        self._now = now  # seconds, monotonic
        self._most = most
        self._held: dict[tuple[str, str], _Held] = {}
        self._lock = threading.Lock()

    def take(self, user: str, session: Session, opened: Callable[[], Handle]) -> Handle:
        """Return the session's handle for one request; *opened* makes the one of a new session.

        Raises EndpointError when the session is in use, must exist and does not, or when there are too many.
        """
        key = (user, session.id)
        with self._lock:
            self._close_expired()
            held = self._held.get(key)
            if held is None:
                if session.must_exist:
                    raise EndpointError(SESSION_NOT_FOUND, f"Session {session.id} not found")
                if len(self._held) >= self._most:
                    raise EndpointError(TOO_MANY_SIMULTANEOUS_QUERIES, f"Too many sessions. Maximum: {self._most}")
                held = self._held[key] = _Held(opened(), False, 0)
            if held.busy:
                raise EndpointError(SESSION_IS_LOCKED, f"Session {session.id} is locked by a concurrent client")
            held.busy = True
            return held.handle

    def give_back(self, user: str, session: Session, *, broken: bool = False) -> None:
        """End the request's use of the handle; *broken* ends the session."""
        with self._lock:
            held = self._held.get((user, session.id))
            if held is None:
                return
            held.busy, held.expires_at = False, self._now() + session.timeout_s
            if broken or session.closes:
                del self._held[(user, session.id)]
                held.handle.close()

    def close(self) -> None:
        """Close every session that is not in use. Can be called twice."""
        with self._lock:
            for key in [key for key, held in self._held.items() if not held.busy]:
                self._held.pop(key).handle.close()

    def __len__(self) -> int:
        with self._lock:
            self._close_expired()
            return len(self._held)

    def _close_expired(self) -> None:
        now = self._now()
        for key in [key for key, held in self._held.items() if not held.busy and held.expires_at <= now]:
            self._held.pop(key).handle.close()
