"""A collector with the embedded engine in a process of its own, until it is killed. Run by ``test_kill``."""

import os
import socket
import sys
from pathlib import Path

from controltower.collector.app import build_app, build_server
from controltower.collector.auth import Tokens
from controltower.collector.drain import Drain
from controltower.collector.settings import Settings
from controltower.store.address import embedded_address
from controltower.store.client import Client, connect
from controltower.store.loader import Segment, load_segment
from controltower.store.schema import migrate
from controltower.tracer.journal import Journal, JournalLimits, SegmentFile


def main(folder: Path) -> None:
    """Take requests and load them; the port is printed when they are taken."""
    journal = Journal(folder / "journal", JournalLimits(segment_bytes=60_000, segment_age_s=0.05))
    settings = Settings(port=0)
    listening = socket.create_server(("127.0.0.1", 0))
    clients: list[Client] = []

    def load(segment: SegmentFile) -> int:
        if not clients:
            clients.append(connect(embedded_address(folder / "store")))
            migrate(clients[0])
        return load_segment(clients[0], Segment(segment.id, "traces", segment.path))

    drain = Drain(journal, load)
    drain.start()
    print(listening.getsockname()[1], flush=True)
    if "--drain" in sys.argv:
        left = drain.stop(120.0)
        names = (
            clients[0].query("SELECT SpanName, count() FROM otel_traces GROUP BY SpanName").result_rows
            if clients
            else []
        )
        print(left.segments, *[f"{name.split()[-1]}:{count}" for name, count in names], flush=True)
        os._exit(0)
    build_server(build_app(settings, {"traces": journal}, Tokens(folder / "tokens.json")), settings).run(
        sockets=[listening]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
