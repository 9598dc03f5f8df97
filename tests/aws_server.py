"""moto's server of S3 and SQS, in a process of its own: real clients talk to it over HTTP. It is not the service itself."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.clickhouse_server import free_port
from tests.processes import until


@contextmanager
def aws_server() -> Iterator[str]:
    """Run it for the length of the block, and yield its address."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(answers, "moto's server answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
