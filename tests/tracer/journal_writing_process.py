"""Append numbered bodies to a journal until killed; a line per acknowledged body. Run by ``test_journal_kill``."""

import sys
import time
from concurrent.futures import Future
from pathlib import Path

from controltower.tracer.journal import Journal, JournalLimits, Receipt
from tests.tracer.journals import append, body

AT_ONCE = 16


def main(folder: Path, first: int) -> None:
    """Send the bodies from *first* on, with some of them on their way at the same time."""
    journal = Journal(folder, JournalLimits(segment_bytes=20_000, segment_age_s=0.005))
    print("open", flush=True)
    while True:
        sent: list[tuple[int, Future[Receipt]]] = []
        for number in range(first, first + AT_ONCE):
            sent.append((number, append(journal, body(str(number), number * 97 % 3_000), received_ns=time.time_ns())))
        for number, future in sent:
            print(number, int(future.result().duplicate), flush=True)
        first += AT_ONCE
        if first % 5 == 0 and (segment := journal.wait_closed(0)):
            folder.parent.joinpath("loaded", segment.path.name).write_bytes(segment.path.read_bytes())
            journal.remove(segment)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
