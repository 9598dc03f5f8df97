"""A receiver that acknowledges everything and keeps nothing: for the limit of what sends, without that of a collector."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final

PIECE: Final = 1024 * 1024  # read at once and thrown away


class Acknowledging(BaseHTTPRequestHandler):
    """Reads a body, and answers 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Acknowledge."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, PIECE)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def receiver() -> Iterator[str]:
    """Give the address of a receiver in a process of its own, for the length of the block."""
    with subprocess.Popen([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def main() -> None:
    """Listen on a free port and tell it."""
    with HTTPServer(("127.0.0.1", 0), Acknowledging) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
