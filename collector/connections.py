"""The connections of OTLP/HTTP: cut when they wait for too long, and the idle ones when there are too many."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeAlias

from uvicorn.protocols.http.h11_impl import H11Protocol

from controltower.collector.status import RETRY_AFTER_S

# Why a connection was cut. Idle ones are not told about: that is how every connection ends.
Cut: TypeAlias = Literal["slow_headers", "idle", "slow_reader", "connections"]

_FULL: Final = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    f"Retry-After: {RETRY_AFTER_S}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n\r\n"
    "Too many connections."
).encode()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection may wait, and how many there may be."""

    connections: int
    header_timeout_s: float  # from the first byte of a request, or from connecting, to the end of its head
    idle_timeout_s: float  # from an answer to the next request
    write_timeout_s: float  # for a client that does not read


@dataclass(slots=True)
class Waiting:
    """The connections that wait for a request, longest first; those that never made one go before the others."""

    fresh: "dict[Connection, None]" = field(default_factory=dict)
    served: "dict[Connection, None]" = field(default_factory=dict)

    def add(self, connection: "Connection", *, served: bool) -> None:
        """Put *connection* at the end of those that wait."""
        self.remove(connection)
        (self.served if served else self.fresh)[connection] = None

    def remove(self, connection: "Connection") -> None:
        """Take *connection* out: it has a request, or is gone."""
        self.fresh.pop(connection, None)
        self.served.pop(connection, None)

    def first(self) -> "Connection | None":
        """Return the connection that is missed least."""
        return next(iter(self.fresh or self.served), None)


class Connection(H11Protocol):
    """One connection. The limits of a request's body are the application's; these are all the others."""

    patience: ClassVar[Patience]
    waiting: ClassVar[Waiting]
    was_cut: ClassVar[Callable[[Cut], None]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._due_at: float | None = None  # None while a request is under way
        self._due_for: Cut = "slow_headers"
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base
        """Take the connection if there is room, or can be made."""
        super().connection_made(transport)
        if len(self.connections) > self.patience.connections and not self._make_room():
            type(self).was_cut("connections")
            transport.write(_FULL)
            transport.close()
            return
        self._wait("slow_headers", self.patience.header_timeout_s, served=False)

    def data_received(self, data: bytes) -> None:
        """Handle *data*; a head that was begun must be ended in time."""
        super().data_received(data)
        if self._under_way:
            self._due_at = None
            self.waiting.remove(self)
        elif self._due_for == "idle":
            self._wait("slow_headers", self.patience.header_timeout_s, served=True)

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there already."""
        super().on_response_complete()
        if not self._under_way and not self.transport.is_closing():
            self._wait("idle", self.patience.idle_timeout_s, served=True)

    def pause_writing(self) -> None:
        """Give a client that does not read its answers some time."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.patience.write_timeout_s, self._cut, "slow_reader")

    def resume_writing(self) -> None:
        """Note that the client reads."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self.waiting.remove(self)
        for timer in (self._timer, self._write_timer):
            if timer is not None:
                timer.cancel()

    @property
    def _under_way(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, which its type does not say
        return cycle is not None and not cycle.response_complete

    def _wait(self, reason: Cut, seconds: float, *, served: bool) -> None:
        self.waiting.add(self, served=served)
        self._due_at, self._due_for = self.loop.time() + seconds, reason
        if self._timer is None or self._timer.when() > self._due_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(self._due_at, self._look)

    def _look(self) -> None:
        """Cut the connection if its time is over; setting a timer for each request would cost more."""
        self._timer = None
        if self._due_at is None:
            return
        if self.loop.time() < self._due_at:
            self._timer = self.loop.call_at(self._due_at, self._look)
        else:
            self._cut(self._due_for)

    def _make_room(self) -> bool:
        found = self.waiting.first()
        if found is not None:
            found._cut("connections")
        return found is not None

    def _cut(self, reason: Cut) -> None:
        if reason != "idle":
            type(self).was_cut(reason)
        self.waiting.remove(self)
        self.transport.abort()


def connection_class(patience: Patience, was_cut: Callable[[Cut], None]) -> type[Connection]:
    """Return the class of the connections of one server, which calls *was_cut* with the reason of each cut."""

    class ServerConnection(Connection):
        pass

    ServerConnection.patience = patience
    ServerConnection.waiting = Waiting()
    ServerConnection.was_cut = staticmethod(was_cut)
    return ServerConnection
