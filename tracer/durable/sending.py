"""One request to the collector, and what its answer means: taken, refused for good, or to be sent again."""

import email.utils
import gzip
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from controltower.tracer.configure import Settings, is_loopback

if TYPE_CHECKING:
    import requests

REFUSED: Final = frozenset({400, 413, 422})  # about this body: the same one is refused again
LONGEST_WAIT_S: Final = 60.0  # whatever the collector asks for: it may be back sooner
USER_AGENT: Final = "controltower-durable"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request."""

    kind: Literal["taken", "refused", "again"]
    words: str = ""
    after_s: float = 0.0  # how long the collector asks to wait
    rejected: int = 0  # spans left out of a request that was taken


class Sender:
    """Sends requests over one connection; for one thread at a time. Blocks: for name resolution there is no limit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: requests.Session | None = None

    def send(self, body: bytes) -> Answer:
        """Send *body* once."""
        import requests

        session = self._session or self._connect()
        gzipped = self._settings.compression == "gzip"
        headers = {"Content-Encoding": "gzip"} if gzipped else {}
        try:
            response = session.post(
                self._settings.endpoint,
                data=gzip.compress(body, 6, mtime=0) if gzipped else body,
                headers=headers,
                timeout=self._settings.timeout_s,
                allow_redirects=False,  # it would lose the body, and the token might go elsewhere
            )
        except requests.RequestException as error:
            return Answer("again", f"it does not answer ({type(error).__name__})")
        return _answer(response.status_code, response.headers.get("Retry-After", ""), response.content)

    def close(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _connect(self) -> "requests.Session":
        import requests
        from opentelemetry.util.re import parse_env_headers

        session = requests.Session()
        session.trust_env = not is_loopback(self._settings.endpoint)  # a proxy cannot reach our loopback
        session.headers.update(parse_env_headers(_variable("HEADERS"), liberal=True))
        session.headers.update({"Content-Type": "application/x-protobuf", "User-Agent": USER_AGENT})
        if self._settings.token:
            session.headers["Authorization"] = f"Bearer {self._settings.token}"
        session.verify = _variable("CERTIFICATE") or True
        certificate, key = _variable("CLIENT_CERTIFICATE"), _variable("CLIENT_KEY")
        session.cert = (certificate, key) if certificate and key else certificate or None
        self._session = session
        return session


def _variable(name: str) -> str:
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def _answer(status: int, after: str, content: bytes) -> Answer:
    if 200 <= status < 300:
        return Answer("taken", rejected=_rejected(content))
    words = f"it answers {status}"
    if status in REFUSED:
        return Answer("refused", words)
    hints = {401: "; check the token", 403: "; check the token", 404: "; check the endpoint"}
    return Answer("again", words + hints.get(status, ""), _wait_s(after, time.time))


def _rejected(content: bytes) -> int:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # published without types
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        return int(ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans)
    except DecodeError:
        return 0  # a collector that answers in another form; the status counts


def _wait_s(text: str, clock: Callable[[], float]) -> float:
    if text.strip().isdecimal():
        return min(float(text), LONGEST_WAIT_S)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0
    return min(max(moment - clock(), 0.0), LONGEST_WAIT_S)
