"""All sources of a file at work: started, stopped, and exchanged when the file changes."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from controltower.collector.redaction.redactor import Redactor
from controltower.collector.redaction.settings import Redaction
from controltower.collector.scrapers.definition import AnySource, SourceFile, load_sources
from controltower.collector.scrapers.delivery import METRICS, Collector, Delivery
from controltower.collector.scrapers.errors import BusyError, KeyMissingError, SourcesError
from controltower.collector.scrapers.health import metrics_request
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.worker import Worker
from controltower.tracer.journal.disk import Disk
from controltower.tracer.journal.errors import JournalLockedError
from controltower.tracer.journal.lock import FolderLock
from controltower.tracer.tokens import Tokeniser

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0  # between two looks at the file of sources
REPORT_S: Final = 10.0  # between two reports of how sources are doing
STOP_S: Final = 10.0  # for all sources together; what is under way then is sent at the next start


class Scraper:
    """Works on the sources of one file. The positions of each are in *folder*; one process has a source at a time."""

    def __init__(
        self,
        path: Path,
        folder: Path,
        collector: Collector,
        redaction: Redaction,
        clock: Callable[[], int] = time.time_ns,
        host: str = "",
    ) -> None:
        """Read the file. *host* is told with how sources are doing. SourcesError and KeyMissingError when a source cannot be worked on; BusyError, OSError."""
        self._path = path
        self._folder = folder
        self._collector = collector
        self._redaction = redaction
        self._clock = clock
        self._host = host
        self._began_ns = clock()
        self._stop = threading.Event()
        self._read = _content(path)
        file = load_sources(path)
        self._locks: dict[str, FolderLock] = {}
        self._reports = Delivery(collector, "reports", stop=self._stop)
        try:
            self.workers = self._made(file.sources)
        except BaseException:
            self.close()
            raise

    def _made(self, sources: Mapping[str, AnySource]) -> dict[str, Worker]:
        made = {name: self._worker(name, source) for name, source in sources.items()}
        for name in made:
            self._hold(name)
        return made

    def _hold(self, name: str) -> None:
        """Keep other processes off the positions of a source; BusyError when another one has them."""
        if name in self._locks:
            return
        disk, folder = Disk(), self._folder / name
        disk.private_folder(folder)
        try:
            self._locks[name] = FolderLock(folder, disk)
        except JournalLockedError as exc:
            raise BusyError(f"Another process works on the source {name} in {folder}; stop it first.") from exc

    def _worker(self, name: str, source: AnySource) -> Worker:
        policy, keys = self._redaction.policy, self._redaction.keys.of(source.tenant)
        policies = Policies(policy, Tokeniser(keys))
        redact = Redactor(policy, keys) if source.data == "phi" else None
        return Worker(name, source, self._folder / name, self._collector, policies, redact, self._clock)

    def ask_to_stop(self) -> None:
        """Ask for the end; does not block."""
        self._stop.set()
        for worker in list(self.workers.values()):
            worker.ask_to_stop()

    def run(self) -> None:
        """Work until it is asked to stop."""
        for worker in self.workers.values():
            worker.start()
        reported = time.monotonic()
        while not self._stop.wait(LOOK_S):
            self._reload()
            if time.monotonic() - reported >= REPORT_S:
                reported = time.monotonic()
                self.report()
        self._end(self.workers.values())
        self.report(running=False)

    def run_once(self) -> None:
        """Read all that is there to its end, one source after the other; raises what goes wrong with one."""
        for worker in self.workers.values():
            worker.run_once()
        self.report(running=False)

    def report(self, *, running: bool = True) -> bool:
        """Tell the collector how the sources are doing, and return whether it took it."""
        return self._tell(self.workers.values(), running=running)

    def _tell(self, workers: Iterable[Worker], *, running: bool) -> bool:
        request = metrics_request(workers, self._began_ns, self._clock(), host=self._host, running=running)
        return self._reports.offer(METRICS, request)

    def close(self) -> None:
        """Let another process have the positions. Twice is fine."""
        self._reports.close()
        for lock in self._locks.values():
            lock.release()

    def _reload(self) -> None:
        """Exchange the sources that changed in the file; a file with a mistake changes nothing."""
        content = _content(self._path)
        if content == self._read:
            return
        self._read = content
        try:
            file = load_sources(self._path)
            changed = {
                name: source
                for name, source in file.sources.items()
                if name not in self.workers or self.workers[name].source != source
            }
            made = self._made(changed)
        except (SourcesError, KeyMissingError, BusyError) as exc:
            logger.error("%s was changed and is not used: %s", self._path, exc)
            return
        self._exchange(file, made)

    def _exchange(self, file: SourceFile, made: Mapping[str, Worker]) -> None:
        old = {name: worker for name, worker in self.workers.items() if name in made or name not in file.sources}
        self._end(old.values())
        if gone := [worker for name, worker in old.items() if name not in file.sources]:
            self._tell(gone, running=False)
        workers = {name: worker for name, worker in self.workers.items() if name not in old} | dict(made)
        for name in self._locks.keys() - workers.keys():
            self._locks.pop(name).release()
        self.workers = workers
        if self._stop.is_set():
            return
        for worker in made.values():
            worker.start()
        logger.info("%s was changed: %d sources are new or changed, %d run", self._path, len(made), len(self.workers))

    @staticmethod
    def _end(workers: Any) -> None:
        for worker in workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + STOP_S
        for worker in workers:
            if not worker.join(max(0.0, deadline - time.monotonic())):
                logger.warning("source %s is still at work; what is under way is sent at the next start", worker.name)


def _content(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""  # being replaced, or gone: `load_sources` says so once
