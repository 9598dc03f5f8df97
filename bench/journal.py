"""Appends a second and processor time of the journal alone: ``python -m bench.journal [--folder F] [--sealed]``.

One thread appends and keeps a number of bodies waiting, as connections do; group commit shares the syncs among them.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from controltower.collector.cipher import AesGcm
from controltower.tracer.journal import Cipher, Journal, JournalLimits, Receipt, digest_of, envelope

CASES = ((300, 1), (300, 64), (300, 1024), (200_000, 16))  # bytes of a body, how many wait at a time
ROUNDS = 3
REMOVE_EVERY = 256


@dataclass(frozen=True, slots=True)
class Result:
    """What one round took."""

    appends: int
    seconds: float
    cpu_seconds: float

    @property
    def cpu_us(self) -> float:
        """Processor time of an append in microseconds, that of the thread that writes included."""
        return self.cpu_seconds / self.appends * 1e6


def measure(folder: Path, size: int, waiting: int, seconds: float, cipher: Cipher | None) -> Result:
    """Append bodies of *size* bytes for *seconds* with *waiting* of them under way."""
    journal = Journal(folder, JournalLimits(budget_bytes=1 << 40), cipher=cipher)
    filler = os.urandom(size)
    under_way: deque[Future[Receipt]] = deque()
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < seconds:
        body = b"\x0a" + count.to_bytes(8, "big") + filler
        now = time.time_ns()
        message = body + envelope(now, "acme")
        under_way.append(journal.append(message, tenant="acme", received_ns=now, digest=digest_of(body)))
        count += 1
        if len(under_way) >= waiting:
            under_way.popleft().result()
        if count % REMOVE_EVERY == 0 and (segment := journal.wait_closed(0)):
            journal.remove(segment)
    for future in under_way:
        future.result()
    result = Result(count, time.perf_counter() - began, time.process_time() - cpu)
    journal.close()
    return result


def main() -> None:
    """Print a line for each case: the round in the middle by processor time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="on the volume to measure (default: the system's temporary folder)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round")
    parser.add_argument("--sealed", action="store_true", help="encrypt")
    options = parser.parse_args()
    cipher = AesGcm([os.urandom(32)]) if options.sealed else None
    for size, waiting in CASES:
        root = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            rounds = [measure(root / str(number), size, waiting, options.seconds, cipher) for number in range(ROUNDS)]
        finally:
            shutil.rmtree(root)
        middle = sorted(rounds, key=lambda result: result.cpu_us)[ROUNDS // 2]
        rate = middle.appends / middle.seconds
        print(
            f"{size:>7} bytes, {waiting:>4} waiting: {rate:>8,.0f} appends/s {rate * size / 1e6:>7,.1f} MB/s"
            f" {middle.cpu_us:>7.1f} us of CPU each"
        )


if __name__ == "__main__":
    main()
