"""Whatever happens to a log, and in whatever order: each line is read, at one place."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.collector.scrapers.writers import LATER_NS, Log, ManualClock, Reading, log_source

WRITERS = ["write", "write many", "half", "rename", "reopen", "copy and truncate", "compress", "compress zst"]
READERS = ["batch", "read", "batch that is not saved", "restart", "restart from nothing saved"]
BANNERS = [b"", b"# begun\n", b"# " + b"the same in every file " * 60 + b"\n"]
ops = st.lists(st.sampled_from(WRITERS + READERS), min_size=1, max_size=40)


def happen(op: str, log: Log, reading: Reading) -> None:
    """Let one thing happen."""
    match op:
        case "write":
            log.write()
        case "write many":
            log.write(200, length=60)
        case "half":
            log.write_half()
        case "rename":
            if log.path.exists():
                log.rename()
        case "reopen":
            log.reopen()
        case "copy and truncate":
            if log.path.exists():
                log.copy_truncate()
        case "compress":
            log.compress()
        case "compress zst":
            log.compress("zst")
        case "batch":
            reading.batch()
        case "batch that is not saved":
            reading.batch(save=False)
        case "read":
            reading.all()
        case "restart":
            reading.restart()
        case "restart from nothing saved":
            if reading.saved is None:
                reading.restart()


@pytest.mark.parametrize("banner", BANNERS, ids=["no banner", "short banner", "long banner"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=ops)
@example(ops=["write many", "batch that is not saved", "copy and truncate", "write", "restart", "compress", "read"])
@example(ops=["half", "copy and truncate", "read", "half", "rename", "read", "reopen", "compress"])
def test_each_line_is_read_at_one_place(ops: list[str], banner: bytes) -> None:
    """No line is lost, and none gets a second place, which would be a second span."""
    with tempfile.TemporaryDirectory() as folder:
        clock = ManualClock()
        log = Log(Path(folder), banner)
        reading = Reading(log_source(Path(folder)), clock)
        try:
            for op in ops:
                happen(op, log, reading)
            log.reopen()
            reading.all()
            clock.ahead_ns += LATER_NS
            reading.all()
        finally:
            log.close()
            reading.close()

    assert reading.flaws == []
    assert reading.places.keys() - {banner.rstrip(b"\n")} == set(log.lines)
    assert [(line, places) for line, places in reading.places.items() if line in log.lines and len(places) > 1] == []
