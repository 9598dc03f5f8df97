"""A process that is killed at any moment loses nothing that it acknowledged, and stores nothing twice."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracer.journals import bodies, name_of, open_journal

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 12


def run_until_killed(folder: Path, first: int, randomness: random.Random) -> dict[int, bool]:
    """Run the writer and kill it after some lines; returns what it acknowledged, and whether as a duplicate."""
    command = [sys.executable, "-m", "tests.tracer.journal_writing_process", str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        lines = [process.stdout.readline() for _ in range(randomness.randrange(1, 250))]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()  # what it had acknowledged before it died
    words = [line.split() for line in lines if line.endswith(b"\n")]
    return {int(number): duplicate == b"1" for number, duplicate in words}


@pytest.mark.slow
def test_kill_at_random_points(tmp_path: Path) -> None:
    """Over many kills every acknowledged body is there exactly once, in what was loaded or in the journal."""
    folder, loaded = tmp_path / "journal", tmp_path / "loaded"
    loaded.mkdir()
    randomness = random.Random(7)
    acknowledged: set[int] = set()
    duplicates = 0
    for _ in range(ROUNDS):
        # The next process sends the last ones again, as a client does that saw no answer.
        outcome = run_until_killed(folder, max(0, max(acknowledged, default=0) - 20), randomness)
        acknowledged |= set(outcome)
        duplicates += sum(outcome.values())
    journal = open_journal(folder)
    segments = [*loaded.iterdir(), *(segment.path for segment in journal.closed_segments())]
    journal.close()

    once_per_id = {path.name: path for path in segments}  # a segment loaded twice counts once, by its token
    found = [int(name_of(content)) for path in once_per_id.values() for content in bodies(path)]
    assert len(acknowledged) > 100
    assert duplicates > 0
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))
