"""What a process used, as Linux tells it under /proc; nothing where there is no such folder."""

import contextlib
import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_RESET_PEAK = "5"  # proc(5), clear_refs: the peak of the resident memory begins anew


@dataclass(frozen=True, slots=True)
class Usage:
    """Since the start of a process: CPU seconds in user and kernel mode, and peak resident memory since its reset."""

    cpu_s: float
    peak_bytes: int


def usage_of(pids: Iterable[int]) -> Usage | None:
    """Return what the processes *pids* used together, None when there is none or the system does not say."""
    used = [_usage_of(pid) for pid in pids]
    known = [each for each in used if each is not None]
    if not known or len(known) < len(used):
        return None
    return Usage(sum(each.cpu_s for each in known), sum(each.peak_bytes for each in known))


def _usage_of(pid: int) -> Usage | None:
    try:
        # The name in parentheses may hold blanks; the fields behind it begin with the third.
        fields = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        status = (PROC / str(pid) / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    peak_kb = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(peak_kb) * 1024)


def reset_peak(pids: Iterable[int]) -> None:
    """Let the peak memory of *pids* begin anew; where that is not allowed, it stays that of the whole life."""
    for pid in pids:
        with contextlib.suppress(OSError):
            (PROC / str(pid) / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")


def own_cpu_s() -> float:
    """Return the CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
