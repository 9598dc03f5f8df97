"""Requests to the collector: one at a time, tried again until it answers, and taken apart when it refuses one for good."""

import email.utils
import gzip
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # published without types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from controltower.collector.settings import is_loopback

logger = logging.getLogger(__name__)

TIMEOUT_S: Final = 30.0  # of one attempt; the collector answers within five seconds, or says that it cannot
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0  # a collector that is back is noticed within this time
MOST_ANSWER_BYTES: Final = 64 * 1024
LOG_EVERY_S: Final = 60.0
CANNOT_BE: Final = frozenset({400, 413, 422})  # about this body; the same one is refused again
TRACES: Final = "/v1/traces"
METRICS: Final = "/v1/metrics"
USER_AGENT: Final = "controltower-scrape"


class StoppedError(Exception):
    """Sending was stopped before the collector acknowledged; the request is still to be sent."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Spans that the collector will never take, and why."""

    spans: int
    reason: str


@dataclass(frozen=True, slots=True)
class Collector:
    """Where the collector is, and the token that lets us in."""

    endpoint: str
    token: str = field(default="", repr=False)

    @property
    def base(self) -> str:
        """The address without the path of a signal."""
        return self.endpoint.rstrip("/").removesuffix(TRACES)


class Delivery:
    """Sends requests of one source. For one thread; ``stop`` may be called by another."""

    def __init__(
        self,
        collector: Collector,
        source: str,
        *,
        stop: threading.Event | None = None,
        pause: Callable[[float], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """*pause* waits for so many seconds and says whether to stop; the event's own wait by default."""
        self._collector = collector
        self._source = source
        self._stop = stop or threading.Event()
        self._pause = self._stop.wait if pause is None else pause
        self._clock = clock
        host = urlsplit(collector.endpoint).hostname or ""
        self._near = is_loopback(host)
        headers = {"Content-Type": "application/x-protobuf", "User-Agent": USER_AGENT}
        if collector.token:
            headers["Authorization"] = f"Bearer {collector.token}"
        # A proxy cannot reach our loopback. A redirect would lose the body, and the token might go elsewhere.
        self._client = httpx.Client(
            timeout=TIMEOUT_S,
            headers=headers,
            follow_redirects=False,
            trust_env=not self._near,
            transport=transport,
        )
        self._logged_at = -LOG_EVERY_S
        self.failing = ""
        """Why the last attempt failed; nothing while the collector takes what is sent."""
        self.attempts = 0

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def send(self, body: bytes) -> list[Refused]:
        """Send *body* until the collector acknowledged it, and return what it refused of it for good.

        Blocks for as long as the collector is away or full. Raises StoppedError when it was told to stop meanwhile.
        """
        waits = 0
        while True:
            answer = self._attempt(TRACES, body)
            if answer.done:
                self._well()
                return _partial(answer.content)
            if answer.status in CANNOT_BE:
                self._well()
                return self._apart(body, answer)
            self._note(answer.words)
            waits += 1
            if self._pause(answer.after_s or pause_s(waits)):
                raise StoppedError

    def offer(self, path: str, body: bytes) -> bool:
        """Send *body* once, and return whether it was taken: for what is told again soon anyway."""
        return self._attempt(path, body).done

    def _apart(self, body: bytes, answer: "_Answer") -> list[Refused]:
        """Send both halves of what was refused for good, so that one bad span takes no others with it."""
        whole = ExportTraceServiceRequest.FromString(body)
        spans = whole.resource_spans[0].scope_spans[0].spans
        if len(spans) == 1:
            logger.error("the collector refused a span of source %s for good: %s", self._source, answer.words)
            return [Refused(1, answer.words)]
        middle = len(spans) // 2
        halves = ExportTraceServiceRequest(), ExportTraceServiceRequest()
        for half, kept in zip(halves, (spans[:middle], spans[middle:]), strict=True):
            half.CopyFrom(whole)
            del half.resource_spans[0].scope_spans[0].spans[:]
            half.resource_spans[0].scope_spans[0].spans.extend(kept)
        return [refused for half in halves for refused in self.send(half.SerializeToString())]

    def _attempt(self, path: str, body: bytes) -> "_Answer":
        self.attempts += 1
        content = _Body(body if self._near else gzip.compress(body, 1, mtime=0))
        headers = {"Content-Length": str(len(content.data))} | ({} if self._near else {"Content-Encoding": "gzip"})
        try:
            with self._client.stream(
                "POST", f"{self._collector.base}{path}", content=content, headers=headers
            ) as response:
                return _answer(response)
        except httpx.HTTPError as exc:
            return _Answer(0, b"", f"it does not answer ({type(exc).__name__})")
        finally:
            content.data = b""

    def _well(self) -> None:
        if self.failing:
            logger.info("the collector takes spans of source %s again", self._source)
        self.failing = ""

    def _note(self, words: str) -> None:
        self.failing = words
        if self._clock() - self._logged_at >= LOG_EVERY_S:
            self._logged_at = self._clock()
            logger.warning("the collector does not take spans of source %s, tried again: %s", self._source, words)


class _Body:
    """The bytes of a request, which can be let go of: the library's objects know each other, and stay for a while."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self.data


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content: bytes
    words: str
    after_s: float = 0.0

    @property
    def done(self) -> bool:
        return self.status == 200


def _answer(response: httpx.Response) -> _Answer:
    content = b""
    for piece in response.iter_bytes():
        content += piece
        if len(content) > MOST_ANSWER_BYTES:
            break
    words = f"it answers {response.status_code} {response.reason_phrase}".strip()
    if response.status_code in (401, 403):
        words += "; check the token"
    return _Answer(response.status_code, content, words, _after(response.headers.get("Retry-After", "")))


def _after(text: str) -> float:
    """Return how long the collector asks us to wait, at most as long as we would."""
    if text.isdecimal():
        return min(float(text), LONGEST_PAUSE_S)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0
    return min(max(moment - time.time(), 0.0), LONGEST_PAUSE_S)


def _partial(content: bytes) -> list[Refused]:
    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        return []  # acknowledged by something that is no collector of ours; the status counts
    return [Refused(partial.rejected_spans, partial.error_message)] if partial.rejected_spans else []


def pause_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row: doubled each time up to a limit, with jitter."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, guards nothing
