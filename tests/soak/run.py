"""The course of a soak: load with faults, load without, silence until all is loaded, judgement."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controltower.collector.body import ENCODINGS
from tests.soak.faults import faults_of
from tests.soak.oracle import Destroyed, Ledger, Verdict, judge
from tests.soak.senders import Sender, clients
from tests.soak.world import World, world

CALM_SHARE: Final = 0.25  # of the time, at the end: load without faults, to see whether memory grows
PAUSE_S: Final = (0.5, 4.0)  # between two faults
LOADED_S: Final = 120.0
SETTLE_SHARE: Final = 0.3  # of the calm time, before memory is looked at
SAMPLE_S: Final = 0.5
GROWTH: Final = 1.2  # of the memory between the two halves of what is left: allocators breathe
GROWTH_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of `serve` without faults: medians of the first and the second half, and the highest of all."""

    first_bytes: float
    second_bytes: float
    peak_bytes: float

    @property
    def flat(self) -> bool:
        """Whether the second half needs no more than the first, but for what an allocator keeps."""
        return self.second_bytes <= self.first_bytes * GROWTH + GROWTH_BYTES


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a soak."""

    verdict: Verdict
    memory: Memory
    faults: dict[str, int]
    answers: dict[str, int]
    loaded_s: float  # from the end of the load until nothing waited in the journal
    log: str = field(repr=False, default="")


def soak(
    folder: Path,
    seconds: float,
    seed: int,
    *,
    server: bool,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Run a soak in *folder* for so many *seconds* of load and return what came of it."""
    with world(folder, server=server) as running:
        ledger, stop, memory = Ledger(), threading.Event(), _MemoryLog(running)
        senders = _senders(running, ledger, seed, stop)
        for sender in senders:
            sender.start()
        faults, destroyed = _afflict(running, seconds * (1 - CALM_SHARE), seed, say)
        memory.sample(seconds * CALM_SHARE)
        stop.set()
        for sender in senders:
            sender.join(30)
        since = time.monotonic()
        running.wait_until_loaded(LOADED_S)
        loaded_s = time.monotonic() - since
        with closing(running.client()) as client:
            verdict = judge(client, ledger, destroyed, running.quarantined())
        return Report(
            verdict, memory.result(), dict(faults), dict(ledger.answers), loaded_s, running.tower.said("serve")
        )


def _senders(running: World, ledger: Ledger, seed: int, stop: threading.Event) -> list[Sender]:
    made = clients(
        f"http://127.0.0.1:{running.port}",
        f"127.0.0.1:{running.grpc_port}",
        running.tower.runtime.token,
        json_too="application/json" in ENCODINGS,
    )
    return [Sender(client, ledger, f"{seed}/{number}", stop) for number, client in enumerate(made)]


def _afflict(
    running: World, seconds: float, seed: int, say: Callable[[str], None]
) -> tuple[Counter[str], list[Destroyed]]:
    """Do one fault after the other, each at least once when there is time; in the order of the *seed*."""
    chance = random.Random(seed)
    ends_at = time.monotonic() + seconds
    done: Counter[str] = Counter()
    destroyed: list[Destroyed] = []
    waiting: list[Callable[[World, random.Random], list[Destroyed]]] = []
    while time.monotonic() < ends_at:
        time.sleep(chance.uniform(*PAUSE_S))
        if not waiting:
            waiting = faults_of(running)
            chance.shuffle(waiting)
        fault = waiting.pop()
        say(f"{fault.__name__} …")
        destroyed += fault(running, chance)
        done[fault.__name__] += 1
    return done, destroyed


class _MemoryLog:
    """Looks at the resident memory of `serve` while there is load and no fault."""

    def __init__(self, running: World) -> None:
        self._running = running
        self._samples: list[int] = []

    def sample(self, seconds: float) -> None:
        """Look for so many *seconds*; blocks for that long."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self._samples.append(self._running.memory_bytes())
            time.sleep(SAMPLE_S)

    def result(self) -> Memory:
        """Return what was seen, without the time in which it settles."""
        settled = self._samples[int(len(self._samples) * SETTLE_SHARE) :]
        half = len(settled) // 2
        return Memory(_median(settled[:half]), _median(settled[half:]), max(self._samples, default=0))


def _median(values: list[int]) -> float:
    ordered = sorted(values)
    return float(ordered[len(ordered) // 2]) if ordered else 0.0
