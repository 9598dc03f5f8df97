"""A collector that only writes down what it is sent: real HTTP, real bodies, as one segment of the journal's form."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.tracer.journal.records import envelope, varint


class Recorder:
    """What arrived. ``status`` is what it answers with."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        self.url = ""

    def spans(self) -> list[tuple[str, Span]]:
        """Return every span with its service, in order of arrival."""
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                (service,) = [
                    item.value.string_value for item in resource.resource.attributes if item.key == "service.name"
                ]
                found += [(service, span) for scope in resource.scope_spans for span in scope.spans]
        return found

    def segment(self, path: Path) -> Path:
        """Write what arrived as a segment and return its path."""
        records = [body + envelope(1, "") for body in self.bodies if body]
        path.write_bytes(b"".join(varint(len(record)) + record for record in records))
        return path


@contextmanager
def recording() -> Iterator[Recorder]:
    """Run a recorder on a free port for the length of the block."""
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if recorder.status == 200:
                recorder.bodies.append(body)
            self.send_response(recorder.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()
