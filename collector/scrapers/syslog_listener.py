"""Listens for syslog by UDP, TCP and TLS, and lets a sender go on when what it sent is on the disk."""

import asyncio
import logging
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from controltower.collector.scrapers.syslog_framing import LONGEST_BYTES, Framing, FramingError, as_line
from controltower.collector.scrapers.syslog_spool import Spool

logger = logging.getLogger(__name__)

PORTS: Final = {"udp": 514, "tcp": 514, "tls": 6514}
CHUNK_BYTES: Final = 64 * 1024
MOST_SENDERS: Final = 1_000  # connections at a time
IDLE_S: Final = 3600.0  # a connection that says nothing for so long is closed; senders open another one
DATAGRAM_PAUSE_S: Final = 0.05  # datagrams of so long are written together
MOST_DATAGRAM_BYTES: Final = 8 * 1024 * 1024  # that wait to be written
RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024  # that the system is asked to hold for us
ROOM_PAUSE_S: Final = 0.2
START_S: Final = 10.0
LOG_EVERY: Final = 1_000  # losses between two lines of the log
SYSTEM_COUNTS: Final = ("/proc/net/udp", "/proc/net/udp6")

Address = tuple[str, str, int]


def address_of(text: str) -> Address:
    """Return scheme, host and port of ``udp://0.0.0.0:5514``. ValueError says what is expected."""
    parts = urlsplit(text)
    if parts.scheme not in PORTS or not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(f"{text!r} is no address such as udp://0.0.0.0:514, tcp://127.0.0.1:1514 or tls://[::]:6514")
    return parts.scheme, parts.hostname, PORTS[parts.scheme] if parts.port is None else parts.port


class Listener:
    """Listens in a thread of its own until it is closed."""

    def __init__(self, addresses: Sequence[Address], spool: Spool, tls: ssl.SSLContext | None) -> None:
        self._addresses = addresses
        self._spool = spool
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._started: Future[None] = Future()
        self._ending = asyncio.Event()
        self._waiting: list[bytes] = []  # datagrams that are not written yet
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []
        self.ports: list[int] = []
        """Of each address, as the system gave it."""
        self.lost: Counter[str] = Counter()
        """Messages that were not kept, by reason; of the system's own losses as many as it tells."""
        self.failed: OSError | None = None
        """Why what was received could not be written."""
        self._thread = threading.Thread(target=self._run, name="syslog", daemon=True)

    def start(self) -> None:
        """Begin to listen. Raises OSError when an address cannot be had."""
        self._thread.start()
        self._started.result(START_S)

    def close(self) -> None:
        """Close what is open; what was read of it is on the disk, or was not taken."""
        with suppress(RuntimeError):  # the loop ended by itself
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(START_S)

    def dropped(self) -> int:
        """Return how many messages are known to be lost since the start."""
        return sum(self.lost.values()) + _lost_by_system(self._sockets)

    # -- in the thread

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._listen())
        except BaseException as exc:  # noqa: BLE001 - told to who started it, or by `failed`
            if not self._started.done():
                self._started.set_exception(exc)
            else:
                self.failed = exc if isinstance(exc, OSError) else OSError(str(exc))
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        servers: list[asyncio.Server] = []
        transports: list[asyncio.DatagramTransport] = []
        try:
            for scheme, host, port in self._addresses:
                if scheme == "udp":
                    transport, _ = await self._loop.create_datagram_endpoint(
                        lambda: _Datagrams(self._datagram), local_addr=(host, port)
                    )
                    transports.append(transport)
                    opened: socket.socket = transport.get_extra_info("socket")
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
                    self._sockets.append(opened)
                    self.ports.append(opened.getsockname()[1])
                else:
                    tls = self._tls if scheme == "tls" else None
                    server = await asyncio.start_server(self._connection, host, port, ssl=tls, limit=CHUNK_BYTES)
                    servers.append(server)
                    self.ports.append(server.sockets[0].getsockname()[1])
            self._started.set_result(None)
            while not self._ending.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), DATAGRAM_PAUSE_S)
                await self._write_datagrams()
        finally:
            for each in servers:
                each.close()
            for transport in transports:
                transport.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._write_datagrams()
            if self._waiting:
                self._lose("full", "when it stopped", len(self._waiting))

    def _datagram(self, data: bytes) -> None:
        line = as_line(data)
        if self._waiting_bytes + len(line) > MOST_DATAGRAM_BYTES:
            self._lose("full")
        elif line:
            self._waiting.append(line)
            self._waiting_bytes += len(line)

    async def _write_datagrams(self) -> None:
        if not self._waiting or not self._spool.has_room(self._waiting_bytes):
            return
        lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
        await self._loop.run_in_executor(None, self._spool.append, b"".join(lines))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= MOST_SENDERS:
            self._lose("connections")
            writer.close()
            return
        self._tasks.add(task)
        framing = Framing()
        try:
            while data := await asyncio.wait_for(reader.read(CHUNK_BYTES), IDLE_S):
                await self._keep(framing.feed(data))
            await self._keep(framing.end())
        except FramingError as exc:
            self._lose("framing", f"{writer.get_extra_info('peername')}: {exc}")
        except (TimeoutError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass  # the sender sends what it had not sent by another connection; what was read of it is kept
        except OSError as exc:
            self.failed = exc
        finally:
            if framing.too_long:
                self._lose("too_long", count=framing.too_long)
            self._tasks.discard(task)
            writer.close()

    async def _keep(self, messages: list[bytes]) -> None:
        """Return when the messages are on the disk; until there is room the sender waits, since nothing more is read."""
        lines = b"".join(map(as_line, messages))
        if not lines:
            return
        while not self._spool.has_room(len(lines)):
            await asyncio.sleep(ROOM_PAUSE_S)
        await self._loop.run_in_executor(None, self._spool.append, lines)

    def _lose(self, reason: str, detail: str = "", count: int = 1) -> None:
        self.lost[reason] += count
        if self.lost[reason] % LOG_EVERY == count % LOG_EVERY:
            logger.warning("syslog: %d messages were not kept: %s %s", self.lost[reason], reason, detail)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._take(data[:LONGEST_BYTES])


def _lost_by_system(sockets: Sequence[socket.socket]) -> int:
    """Return how many datagrams the system had no room for: it counts them by socket, on Linux."""
    numbers = {str(os.fstat(each.fileno()).st_ino) for each in sockets if each.fileno() >= 0}
    lost = 0
    for path in SYSTEM_COUNTS if numbers else ():
        with suppress(OSError):
            rows = [line.split() for line in Path(path).read_text(encoding="ascii").splitlines()[1:]]
            lost += sum(int(row[12]) for row in rows if row[9] in numbers)
    return lost
