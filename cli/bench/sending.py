"""Sending as fast as it is taken in, over a given number of connections, and measuring the answers."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controltower.cli.bench.batches import Template


class Connection(Protocol):
    """One connection to a collector."""

    async def send(self, body: bytes) -> str:
        """Send a request and return the status of its answer; raises OSError when there is none."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


Connect = Callable[[], Awaitable[Connection]]
ACCEPTED = frozenset({"200", "OK"})
FIRST_PAUSE_S = 0.05  # after a refusal; doubled up to the longest
LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Where sending ends: whichever comes first."""

    spans: int
    seconds: float


@dataclass(slots=True)
class Sent:
    """What was sent and what was answered."""

    spans: int = 0
    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # requests by status, or by the kind of failure
    latencies_s: list[float] = field(default_factory=list)  # of acknowledged requests
    began_at: float = 0.0  # monotonic
    ended_at: float = 0.0

    def percentile_s(self, share: float) -> float | None:
        """Return the time within which that share of the requests was acknowledged."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


class _Run:
    """The senders of one case, which take their batches from one counter."""

    def __init__(self, connect: Connect, templates: Sequence[Template], limits: Limits, seed: int) -> None:
        self._connect = connect
        self._templates = templates
        self._limits = limits
        self._seed = seed
        self._number = 0
        self.sent = Sent()

    async def run(self, connections: int) -> Sent:
        opened = [await self._connect() for _ in range(connections)]
        self.sent.began_at = time.monotonic()
        await asyncio.gather(*(self._send(number, each) for number, each in enumerate(opened)))
        self.sent.ended_at = time.monotonic()
        return self.sent

    async def _send(self, number: int, connection: Connection) -> None:
        randomness = random.Random(f"{self._seed}/{number}")  # noqa: S311 - ids must be cheap, not secret
        pause_s = FIRST_PAUSE_S
        try:
            while (template := self._next()) is not None:
                body = template.body(self._number, time.time_ns(), randomness)
                try:
                    accepted = await self._one(connection, body, template.spans)
                except OSError as exc:
                    self.sent.refused[type(exc).__name__] += 1
                    accepted = False
                    await connection.close()
                    connection = await self._again(connection)
                if accepted:
                    pause_s = FIRST_PAUSE_S
                else:
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            await connection.close()

    def _next(self) -> Template | None:
        """Return the template of the next batch, None when enough was sent."""
        over = time.monotonic() - self.sent.began_at > self._limits.seconds
        if over or self.sent.spans >= self._limits.spans:
            return None
        self._number += 1
        return self._templates[self._number % len(self._templates)]

    async def _one(self, connection: Connection, body: bytes, spans: int) -> bool:
        self.sent.spans += spans
        since = time.perf_counter()
        status = await connection.send(body)
        if status not in ACCEPTED:
            self.sent.refused[status] += 1
            return False
        self.sent.latencies_s.append(time.perf_counter() - since)
        self.sent.acknowledged += spans
        return True

    async def _again(self, connection: Connection) -> Connection:
        try:
            return await self._connect()
        except OSError:
            return connection  # closed: sending on it fails again, and is counted again


async def send(
    connect: Connect, templates: Sequence[Template], connections: int, limits: Limits, seed: int = 0
) -> Sent:
    """Send batches of *templates* in turn over so many *connections* until the *limits*. Raises OSError at the start."""
    return await _Run(connect, templates, limits, seed).run(connections)
