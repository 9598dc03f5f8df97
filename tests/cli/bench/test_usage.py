"""What a process used is what the system says."""

import os

import pytest

from controltower.cli.bench.usage import PROC, own_cpu_s, reset_peak, usage_of

pytestmark = pytest.mark.skipif(not PROC.exists(), reason="this system has no /proc")
NO_PROCESS = 2**22 + 1  # above the highest process id that Linux gives


def test_own_usage() -> None:
    """CPU seconds are those of the process itself, the peak is its resident memory."""
    reset_peak([os.getpid()])
    used = usage_of([os.getpid()])

    assert used is not None
    assert abs(used.cpu_s - own_cpu_s()) < 1
    assert used.peak_bytes > 1024 * 1024


def test_what_is_gone_is_not_counted_as_nothing() -> None:
    """Where one of the processes is not there, the sum is unknown and not smaller."""
    assert usage_of([os.getpid(), NO_PROCESS]) is None
    assert usage_of([]) is None
