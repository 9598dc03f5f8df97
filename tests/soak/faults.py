"""The faults of the soak. Each is done to a running world, and over when its function returns."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.tracer.journal.records import Record, message_of, scan
from tests.soak.oracle import Destroyed
from tests.soak.world import World, set_clock

Fault = Callable[[World, random.Random], list[Destroyed]]

LASTS_S: Final = (2.0, 6.0)
# Less than the hour for which the journal knows what was sent: a jump beyond it forgets, as time itself does.
CLOCK_JUMP_S: Final = 3_000
BALLAST_BLOCK: Final = 1024 * 1024


def kill(world: World, chance: random.Random) -> list[Destroyed]:
    """kill -9 of `serve` in the middle of load."""
    world.kill()
    world.start()
    return []


def corrupt(world: World, chance: random.Random) -> list[Destroyed]:
    """kill -9, and one byte of a stored record is another one when it starts again.

    The engine is away before, so that there is something in the journal.
    """
    with _engine_away(world):
        time.sleep(1.5)
        world.kill()
        destroyed = [found for path in _some(world, chance) if (found := _damage(path, chance))]
    world.start()
    return destroyed


def full_disk(world: World, chance: random.Random) -> list[Destroyed]:
    """The volume of the journal is full for a while; where it has none of its own, no file may grow."""
    if world.volume:
        with _ballast(world.journal.parent / "ballast"):
            time.sleep(chance.uniform(*LASTS_S))
    else:
        prlimit(world.serve.pid, RLIMIT_FSIZE, (0, RLIM_INFINITY))
        time.sleep(chance.uniform(*LASTS_S))
        prlimit(world.serve.pid, RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))
    return []


def full_disk_and_kill(world: World, chance: random.Random) -> list[Destroyed]:
    """The same, with kill -9 while there is no room."""
    if world.volume:
        with _ballast(world.journal.parent / "ballast"):
            time.sleep(1.0)
            world.kill()
        world.start()
    return []


def engine_hangs(world: World, chance: random.Random) -> list[Destroyed]:
    """The engine takes requests and does not answer."""
    with _engine_away(world):
        time.sleep(chance.uniform(*LASTS_S))
    return []


def engine_dies(world: World, chance: random.Random) -> list[Destroyed]:
    """kill -9 of the engine in the middle of loading; it is back after a while."""
    assert world.engine is not None
    world.engine.kill()
    time.sleep(chance.uniform(*LASTS_S))
    world.engine.start()
    return []


def both_die(world: World, chance: random.Random) -> list[Destroyed]:
    """kill -9 of both: whether the last insert is stored is known to nobody."""
    assert world.engine is not None
    world.engine.kill()
    world.kill()
    world.engine.start()
    world.start()
    return []


def clock_jumps(world: World, chance: random.Random) -> list[Destroyed]:
    """The clock of the host jumps and stays there, ahead of or behind the true time."""
    assert world.clock_file is not None
    offset_s = chance.choice((-1, 1)) * chance.randrange(60, CLOCK_JUMP_S // 2)  # from one end to the other
    set_clock(world.clock_file, offset_s)
    time.sleep(1.0)
    return []


def faults_of(world: World) -> list[Fault]:
    """Return the faults that this world can have, the frequent ones more than once."""
    found: list[Fault] = [kill, kill, corrupt, full_disk, full_disk_and_kill]
    if world.engine is not None:
        found += [engine_hangs, engine_dies, both_die]
    if world.clock_file is not None:
        found += [clock_jumps, clock_jumps]
    return found


@contextmanager
def _engine_away(world: World) -> Iterator[None]:
    if world.engine is not None:
        world.engine.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        if world.engine is not None:
            world.engine.signal(signal.SIGCONT)


@contextmanager
def _ballast(path: Path) -> Iterator[None]:
    """Take all room on the volume of *path*."""
    block = bytes(BALLAST_BLOCK)
    try:
        with path.open("wb", buffering=0) as file:
            while block:
                try:
                    written = file.write(block)
                except OSError:
                    written = 0
                if written < len(block):
                    block = block[: len(block) // 2]
        yield
    finally:
        path.unlink()


def _some(world: World, chance: random.Random) -> list[Path]:
    found = sorted(world.journal.glob("*.otlp"))
    return chance.sample(found, min(2, len(found)))


def _damage(path: Path, chance: random.Random) -> Destroyed | None:
    """Change one byte of a whole record of the segment at *path*."""
    data = path.read_bytes()
    records = [part for part in scan(data) if isinstance(part, Record)]
    if not records:
        return None
    record = chance.choice(records)
    request = ExportTraceServiceRequest.FromString(message_of(data, record))
    numbers = frozenset(
        int.from_bytes(span.span_id, "big")
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )
    position = chance.randrange(record.offset, record.end)
    changed = bytearray(data)
    changed[position] ^= 1 << chance.randrange(8)
    with path.open("r+b") as file:  # in place, as a disk does it
        file.seek(position)
        file.write(changed[position : position + 1])
    return Destroyed(bytes(changed[record.offset : record.end]), numbers)
