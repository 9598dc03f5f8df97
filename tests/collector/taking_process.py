"""A collector in a process of its own, whose memory can be measured. Run by ``test_memory``; ends with its input."""

import sys
from pathlib import Path

from controltower.collector.settings import Settings
from tests.collector.requests import running


def main(folder: Path) -> None:
    """Take requests over both transports; where they are taken is printed."""
    with running(folder, Settings(port=0), grpc=True) as tower:
        print(tower.port, tower.grpc, tower.token, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
