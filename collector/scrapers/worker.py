"""One source at work: read, map, save the request, send it, save the position. The order is the promise."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.collector.lenient import lenient
from controltower.collector.scrapers.definition import AnySource
from controltower.collector.scrapers.delivery import Collector, Delivery, Refused, StoppedError, pause_s
from controltower.collector.scrapers.encoding import Request
from controltower.collector.scrapers.kind import Reader, kind_of
from controltower.collector.scrapers.mapper import Mapped, Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.observation import Level
from controltower.collector.scrapers.positions import Positions
from controltower.collector.scrapers.rejects import Rejects

logger = logging.getLogger(__name__)

IDLE_S: Final = 0.25  # between two looks at a source in which nothing is new
SAVE_AFTER_S: Final = 1.0  # a position that moved over records of no interest is saved so often
LOG_EVERY_S: Final = 60.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Health:
    """How a source is doing, counted since the start of the process."""

    source: str
    records: int = 0
    steps: int = 0
    unmatched: int = 0
    rejected: int = 0
    refused: int = 0  # spans that the collector will never take
    open: int = 0  # steps that began and did not end yet
    behind_bytes: int = 0
    watermark_ns: int = 0  # latest time of a record
    caught_up_ns: int = 0  # when all that was there had last been read and acknowledged
    worked_ns: int = 0  # when it was last looked at, and what had been read before was acknowledged
    read_ns: int = 0  # when a record was last read
    rejected_ns: int = 0  # when one was last rejected
    reject_reason: str = ""  # the last one's
    levels: tuple[Level, ...] = ()  # of queues
    problems: tuple[tuple[str, str], ...] = ()  # what cannot be read, and why
    failing: str = ""  # why nothing goes on; nothing while all is well


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A request that is being sent, and the state behind it."""

    sent: Future[list[Refused]]
    state: Json


class Worker:
    """Works on one source in a thread of its own, or to the end of what is there (`run_once`)."""

    def __init__(
        self,
        name: str,
        source: AnySource,
        folder: Path,
        collector: Collector,
        policies: Policies,
        redact: Callable[[str, Any], object] | None,
        clock: Callable[[], int],
        delivery: Delivery | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep positions in *folder*. KeyMissingError when the source needs a key for tokens. *redact* may be None.

        Nothing is opened before the work begins.
        """
        self.name = name
        self.source = source
        self.health = Health(name)
        self._folder = folder
        self._policies = policies
        self._clock = clock
        self._monotonic = monotonic  # for what happens every so often: the clock may be set
        self._redact = redact if source.data == "phi" else None
        self._mapper = Mapper(source, name, policies, clock)  # refuses before the thread starts
        self._stop = threading.Event()
        self._delivery = delivery or Delivery(collector, name, stop=self._stop)
        self._positions = Positions(folder)
        self._rejects = Rejects(folder, keep_text=source.keep_rejected_text)
        self._reader: Reader | None = None
        self._sender = ThreadPoolExecutor(1, f"send {name}")
        self._under_way: UnderWay | None = None
        self._refused = 0
        self._moved = False  # the position in memory is ahead of what is saved or on its way
        self._saved_s = monotonic()
        self._logged_s = self._saved_s - LOG_EVERY_S
        self.on_failure: Callable[[], object] = lambda: None
        """Called after the work failed, when `failing` says why."""
        self._thread = threading.Thread(target=self._run, name=f"scrape {name}", daemon=True)

    # -- from outside

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Ask the work to end after what is under way; does not block."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end, for *timeout_s* at most, and say whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def run_once(self, told: Callable[[Health], object] = lambda health: None) -> None:
        """Read to the end of what is there, and return when all of it was acknowledged; *told* hears of each round.

        Raises what goes wrong; StoppedError when it was asked to stop before.
        """
        try:
            self._begin()
            while self.round():
                told(self.health)
                if self._stop.is_set():
                    raise StoppedError
            self._save()
        finally:
            self._end()

    # -- the work

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._begin()
                while not self._stop.is_set():
                    more = self.round()
                    failures = 0
                    if not more:
                        self._stop.wait(IDLE_S)
                self._save()
            except StoppedError:
                break
            except Exception as exc:  # noqa: BLE001 - the top of a loop: logged, shown, tried again from what is saved
                failures += 1
                self._failed(exc)
                self._stop.wait(pause_s(failures))
            finally:
                self._close()
        self._end()

    def _end(self) -> None:
        self._close()
        self._sender.shutdown()
        self._delivery.close()

    def _begin(self) -> None:
        """Open the source where it was left; what was on its way is sent first."""
        self._reader = kind_of(self.source)(self.source, self._clock)
        self._mapper = Mapper(self.source, self.name, self._policies, self._clock)
        state, batch = self._positions.open()
        if batch is not None:
            self._rejects.restore(batch.state["rejects_bytes"])
            self._refused += self._told(self._delivery.send(batch.body))
            self._positions.acknowledge(batch.state)
            state = batch.state
        self._rejects.restore(state["rejects_bytes"] if state else 0)
        if state and state["kind"] == self.source.kind:
            self._reader.restore(state["reader"])
            self._mapper.restore(state["mapper"])

    def round(self) -> bool:
        """Work on what comes next while the request before is on its way, and return whether there was anything."""
        assert self._reader is not None  # begun
        records, caught_up = self._reader.read()
        request = Request(self.source.service or self.name)
        mapped = self._mapper.map(records, self._reader, request.add)
        for step in self._mapper.due(caught_up=caught_up):
            request.add(step)
        steps = len(request)
        for step in mapped.kept:
            request.add(step)
        more = bool(records or steps) or not caught_up
        self._moved |= more
        self._reject(mapped)
        body = self._redacted(request.encoded()) if len(request) else b""
        self._settle()
        if body:
            state = self._state()
            self._positions.prepare(state, body)
            self._under_way = UnderWay(self._sender.submit(self._delivery.send, body), state)
            self._moved = False
        if caught_up:
            self._settle()
        if self._moved and (self._reader.holding or self._monotonic() - self._saved_s > SAVE_AFTER_S):
            self._save()
        self._note(mapped, steps, caught_up=caught_up)
        return more

    def _settle(self) -> None:
        """Wait until the request that is on its way was acknowledged, and save the position behind it."""
        under_way, self._under_way = self._under_way, None
        if under_way is None:
            return
        self._refused += self._told(under_way.sent.result())
        self._acknowledge(under_way.state)
        self._saved_s = self._monotonic()

    def _acknowledge(self, state: Json) -> None:
        assert self._reader is not None  # begun
        self._positions.acknowledge(state)
        self._reader.acknowledged(state["reader"])

    def _redacted(self, body: bytes) -> bytes:
        if self._redact is None:
            return body
        parsed = lenient(ExportTraceServiceRequest).FromString(body)
        self._redact("traces", parsed)
        return bytes(parsed.SerializeToString())

    def _told(self, refused: list[Refused]) -> int:
        for each in refused:
            logger.error("source %s: the collector refused %d spans for good: %s", self.name, each.spans, each.reason)
        return sum(each.spans for each in refused)

    def _reject(self, mapped: Mapped) -> None:
        if not mapped.rejected:
            return
        at = datetime.fromtimestamp(self._clock() / 10**9, UTC).isoformat()
        for record, rejection in mapped.rejected:
            self._rejects.add(record, rejection, at)

    def _state(self) -> Json:
        assert self._reader is not None  # begun
        return {
            "kind": self.source.kind,
            "reader": self._reader.state(),
            "mapper": self._mapper.state(),
            "rejects_bytes": self._rejects.save(),
        }

    def _save(self) -> None:
        self._settle()
        if self._moved:
            self._acknowledge(self._state())
            self._moved = False
            self._saved_s = self._monotonic()

    # -- how it is doing

    def _note(self, mapped: Mapped, steps: int, *, caught_up: bool) -> None:
        assert self._reader is not None  # begun
        before, now_ns = self.health, self._clock()
        self.health = Health(
            source=self.name,
            records=before.records + mapped.records,
            steps=before.steps + steps,
            unmatched=before.unmatched + mapped.unmatched,
            rejected=before.rejected + len(mapped.rejected),
            refused=self._refused,
            open=len(self._mapper.pairs),
            behind_bytes=self._reader.behind(),
            watermark_ns=self._mapper.watermark_ns,
            caught_up_ns=now_ns if caught_up else before.caught_up_ns,
            worked_ns=now_ns,
            read_ns=now_ns if mapped.records else before.read_ns,
            rejected_ns=now_ns if mapped.rejected else before.rejected_ns,
            reject_reason=mapped.rejected[-1][1].reason if mapped.rejected else before.reject_reason,
            levels=self._reader.levels,
            problems=tuple(sorted(self._reader.problems.items())),
        )

    @property
    def rejects(self) -> Path:
        """The file of what could not become a step."""
        return self._rejects.path

    @property
    def totals(self) -> Counter[str]:
        """What became of all records since the source was first read."""
        return self._mapper.totals

    @property
    def failing(self) -> str:
        """Why nothing goes on: what the work failed with, or why the collector does not take it."""
        return self.health.failing or self._delivery.failing

    def _failed(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        self.health = replace(self.health, failing=text)
        if self._monotonic() - self._logged_s >= LOG_EVERY_S:
            self._logged_s = self._monotonic()
            logger.error("source %s failed and is tried again from what is saved: %s", self.name, text, exc_info=error)
        self.on_failure()

    def _close(self) -> None:
        if self._under_way is not None:  # whatever comes of it, it is saved and sent again at the next beginning
            wait([self._under_way.sent])
            self._under_way = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
