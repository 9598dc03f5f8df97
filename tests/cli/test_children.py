"""Child processes: stopped in order, and gone when their parent is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from controltower.cli import children

WAIT_S = 30.0
# A parent that starts a child which only waits, tells its process id, and waits itself.
PARENT = """
import sys, time
from pathlib import Path
from controltower.cli import children
child = children.start("waiting", [], Path(sys.argv[1]), command=[sys.executable, "-c", sys.argv[2]])
print(child.process.pid, flush=True)
time.sleep(600)
"""
CHILD = "import time; from controltower.cli.children import end_with_parent; end_with_parent(); time.sleep(600)"


def alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_ends_with_its_killed_parent(tmp_path: Path) -> None:
    """kill -9 of the parent leaves no child behind."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "errors"), CHILD], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + WAIT_S
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert not alive(child)


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is ended after the time it was given."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    child = children.start("deaf", [], tmp_path / "errors", command=[sys.executable, "-c", code])
    deadline = time.monotonic() + WAIT_S
    while "up" not in (tmp_path / "errors").read_text(encoding="utf-8") and time.monotonic() < deadline:
        time.sleep(0.02)
    child.stop(timeout_s=0.2)
    child.stop(timeout_s=0.2)

    assert child.exit_code == -signal.SIGKILL


def test_the_last_words_of_a_child_are_kept(tmp_path: Path) -> None:
    """What a child said on standard error before it ended can be shown."""
    code = "import sys; print('first', file=sys.stderr); sys.exit('Port 1 is taken.')"
    child = children.start("short", [], tmp_path / "errors", command=[sys.executable, "-c", code])
    child.process.wait(WAIT_S)
    child.stop()

    assert child.exit_code == 1
    assert child.last_words() == "Port 1 is taken."
    assert (tmp_path / "errors").stat().st_mode & 0o077 == 0


def test_a_process_nobody_started_as_a_child_watches_nothing() -> None:
    """Without a parent's pipe, standard input is left alone."""
    children.end_with_parent()

    assert children.PARENT_PIPE not in os.environ
