"""A running process: its parts are started in order, watched, and stopped in reverse order without losing anything."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from socket import gethostname
from time import monotonic
from typing import Final
from uuid import uuid4

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from controltower.alerts.settings import AlertSettings
from controltower.cli.data import DataFolder, local_token
from controltower.cli.errors import CommandError
from controltower.cli.logs import log_to
from controltower.cli.loops import Loop
from controltower.cli.open_files import allow_open_files, connections_within
from controltower.cli.parts import Connections, SystemClock, alerts_opening, engine_opening, numbers_opening
from controltower.cli.ports import listen, port_of
from controltower.cli.settings import Settings
from controltower.cli.web import WebServer
from controltower.collector.app import build_app, build_server
from controltower.collector.auth import Tokens
from controltower.collector.drain import Drain
from controltower.collector.gate import Gate
from controltower.collector.gauges import of_number
from controltower.collector.journals import open_journals
from controltower.collector.loading import Loading
from controltower.collector.metrics import Metrics
from controltower.collector.pace import Pace
from controltower.collector.redaction.loading import load_rules
from controltower.collector.redaction.settings import Redaction
from controltower.collector.report import Reporter
from controltower.collector.settings import Settings as CollectorSettings
from controltower.collector.tls import read_tls
from controltower.store.backup import Backup, back_up
from controltower.store.endpoint import Credentials, build_endpoint
from controltower.store.errors import StoreError
from controltower.store.loader import LOADED_SIGNALS, Signal
from controltower.store.runtime import INSTANCE_HEADER, RuntimeFile, remove_runtime, write_runtime
from controltower.tracer.journal import Journal, SegmentFile

logger = logging.getLogger(__name__)

EVERY_S: Final = 1.0
NUMBERS_EVERY_S: Final = 10.0  # the collector's, into the store: some 40 rows each time
STOP_S: Final = 10.0  # from SIGTERM to the end, whatever hangs
COLLECTOR_STOP_S: Final = 2.0  # for requests under way: they wait for one fsync
DRAIN_STOP_S: Final = 4.0  # what is not loaded by then is loaded at the next start
LOOP_STOP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Which parts run, and where they listen. A part that is None or False does not run."""

    settings: Settings
    collector: CollectorSettings | None = None
    redaction: Redaction | None = None  # None: senders of class phi are refused
    engine: bool = False
    alerts: AlertSettings | None = None
    endpoint_port: int = 8124
    migrates: bool = False  # `serve` sets the store up; parts that run alone leave that to `controltower migrate`


@dataclass(frozen=True, slots=True)
class Collecting:
    """The collector's half: taking in, and loading what was taken in."""

    journals: dict[str, Journal]  # one for each signal that the store can load
    drains: list[Drain]  # one for each journal
    server: WebServer
    url: str
    grpc: str  # HOST:PORT, empty when it is turned off
    token: str
    numbers: Loop  # writes what is counted and measured into the store


class Service:
    """The parts of one process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = DataFolder(plan.settings.data)
        self.instance = uuid4().hex
        self._address = plan.settings.address
        rules = load_rules(plan.redaction.policy, plan.redaction.keys.some) if plan.redaction else None
        self._connections = Connections(self._address, migrates=plan.migrates, redaction=rules)
        self._clock = SystemClock()
        self._loads = Gate()
        self._collecting: Collecting | None = None
        self._paces: list[Pace] = []
        self._endpoint: WebServer | None = None
        self._loops: list[Loop] = []
        self._opening = True
        self.left_at_work = False  # whether a thread was still in the engine when everything had stopped
        self.runtime: RuntimeFile | None = None

    # Starting

    def start(self) -> None:
        """Start every part of the plan; raises what stands in the way, with everything stopped again."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.folder.make()
        # Taking in comes first: a sender loses nothing while the store is being opened.
        if self.plan.collector is not None:
            self._collecting = self._start_collector(self.plan.collector)
            if self._address.embedded:  # the journals are ours by now
                self.folder.own_temporary()
        self._set_up_store()
        if self._address.embedded:
            self.runtime = self._start_endpoint()
        elif self._collecting is not None:
            self.runtime = self._describe("127.0.0.1", int(self._collecting.url.rpartition(":")[2]))
        if self._collecting is not None:
            for drain in self._collecting.drains:
                drain.start()
            self._collecting.numbers.start()
        self._start_loops()
        if self.runtime is not None:
            write_runtime(self.folder.root, self.runtime)
        self._opening = False

    def _set_up_store(self) -> None:
        """Bring the store to this program's schema; a server that does not answer yet is waited for by every part."""
        try:
            self._connections.open().close()
        except (StoreError, CommandError) as exc:
            if self._address.embedded or getattr(exc, "permanent", False):
                raise
            logger.warning("the store is tried again: %s", exc)

    def _start_collector(self, settings: CollectorSettings) -> Collecting:
        settings = self._within_open_files(settings)
        read_tls(settings)  # files that cannot be used are told before anything is touched
        listener = listen(settings.host, settings.port, "--collector-port")
        try:
            if settings.grpc:  # its library binds the port itself, later and with fewer words
                listen(settings.host, settings.grpc_port, "--grpc-port").close()
            journals = open_journals(self.folder.journals, LOADED_SIGNALS, settings)
        except BaseException:
            listener.close()
            raise
        token = local_token(self.folder)
        metrics = Metrics()
        app = build_app(
            settings,
            journals,
            Tokens(self.folder.tokens),
            metrics=metrics,
            redact=self.plan.redaction.redactor() if self.plan.redaction else None,
            store_problem=lambda: self.problem(),
            store_warning=lambda: self.warning(),
        )
        app.add_route("/ping", self._ping, methods=["GET"])
        both = build_server(app, settings, grpc=settings.grpc)
        server = WebServer("collector", both, listener)
        drains = [self._drain(journals[signal], signal, settings, metrics) for signal in LOADED_SIGNALS]
        scheme = "https" if settings.tls_certificate else "http"
        host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
        url = f"{scheme}://{host}:{port_of(listener)}"
        reporter = Reporter(metrics, f"{gethostname()}:{port_of(listener)}", self._clock.now)
        opening = numbers_opening(self._connections, reporter)
        numbers = Loop("collector's numbers", opening, interval_s=NUMBERS_EVERY_S)
        # Before it is started: stopped if the start fails.
        self._collecting = Collecting(journals, drains, server, url, "", token, numbers)
        server.start()
        grpc = f"{host}:{both.grpc.port}" if both.grpc is not None else ""
        return replace(self._collecting, grpc=grpc)

    def _drain(self, journal: Journal, signal: Signal, settings: CollectorSettings, metrics: Metrics) -> Drain:
        loading = Loading(
            self._connections.open,
            journal,
            signal,
            loaded=self._wake_loops,
            bounds=settings.time_bounds(),
            keys=self.plan.redaction.keys.secrets() if self.plan.redaction else None,
        )
        pace = Pace(loading.parts)
        self._paces.append(pace)

        def load(segment: SegmentFile) -> int:
            with self._loads.shared():
                return loading(segment)

        drain = Drain(
            journal,
            load,
            prepare=loading.prepare,
            workers=settings.load_workers,
            pace=pace,
            metrics=metrics.of(signal=signal),
        )
        metrics.watch(of_number("store_parts", pace.most, signal=signal))
        metrics.watch(of_number("load_failing", lambda: drain.state().failures, signal=signal))
        return drain

    def _within_open_files(self, settings: CollectorSettings) -> CollectorSettings:
        """Allow fewer connections where the system allows fewer open files: a full table would stop the journal, too."""
        allowed = allow_open_files()
        connections = connections_within(allowed, settings.connections, 2 if settings.grpc else 1)
        if connections < settings.connections:
            logger.warning("%s open files are allowed, so %s connections are; see ulimit -n", allowed, connections)
        return replace(settings, connections=connections)

    def _start_endpoint(self) -> RuntimeFile:
        listener = listen("127.0.0.1", self.plan.endpoint_port, "--endpoint-port")
        runtime = self._describe("127.0.0.1", port_of(listener))
        credentials = Credentials(
            runtime.writer_user, runtime.writer_password, runtime.reader_user, runtime.reader_password
        )
        app = build_endpoint(self._address, credentials, instance=self.instance, back_up=self._back_up)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1
        )
        self._endpoint = WebServer("store's endpoint", uvicorn.Server(config), listener)
        self._endpoint.start()
        return runtime

    def _back_up(self, name: str) -> Backup:
        """Make a backup while nothing is loaded: rows and what is derived from them as they come belong together."""
        with self._loads.alone(), closing(self._connections.open()) as client:
            logger.info("the backup %s begins; what arrives waits in the journal", name)
            made = back_up(client, self._address, name)
        logger.info("the backup %s is made: %s rows", name, made.total)
        return made

    def _describe(self, host: str, port: int) -> RuntimeFile:
        return RuntimeFile(
            pid=os.getpid(),
            instance=self.instance,
            store=str(self._address),
            host=host,
            port=port,
            database=self._address.database,
            writer_password=uuid4().hex,
            reader_password=uuid4().hex,
            collector=self._collecting.url if self._collecting else "",
            grpc=self._collecting.grpc if self._collecting else "",
            token=self._collecting.token if self._collecting else "",
            dashboard=self.plan.alerts.dashboard_url if self.plan.alerts else "",
        )

    def _start_loops(self) -> None:
        if self.plan.engine:
            opening = engine_opening(self._connections, self._clock)
            self._loops.append(Loop("engine", opening, interval_s=EVERY_S))
        if self.plan.alerts is not None:
            opening = alerts_opening(self._connections, self.plan.alerts, self._clock)
            self._loops.append(Loop("alerts", opening, interval_s=EVERY_S))
        for loop in self._loops:
            loop.start()

    def _wake_loops(self) -> None:
        """Let the engine look at what was just loaded: seen within two seconds means no waiting for the next second."""
        for loop in self._loops:
            if loop.status.name == "engine":
                loop.wake()

    async def _ping(self, _: Request) -> Response:
        return PlainTextResponse("Ok.\n", headers={INSTANCE_HEADER: self.instance})

    # Watching

    def problem(self) -> str | None:
        """Return what does not work at the moment, for ``/readyz``; None when everything does."""
        if self._opening:
            return "the store is being opened; what arrives is kept in the journal"
        problems = [
            f"{loop.status.name}: {loop.status.last_error} ({loop.status.failing} times in a row)"
            for loop in self._loops
            if not loop.status.ok
        ]
        loading = [drain.problem() for drain in self._collecting.drains] if self._collecting else []
        problems += [f"loading: {problem}" for problem in loading if problem]
        return "; ".join(problems) or None

    def warning(self) -> str | None:
        """Return what slows loading down, for ``/readyz``; None when nothing does."""
        return next(filter(None, (pace.warning() for pace in self._paces)), None)

    def check(self) -> None:
        """Raise CommandError when a server's thread has ended although nobody asked it to."""
        servers = [self._collecting.server if self._collecting else None, self._endpoint]
        for server in servers:
            if server is not None and not server.alive:
                raise CommandError(f"The {server.name} ended unexpectedly; {self.folder.logs / 'serve.log'} says why.")

    # Stopping

    def stop(self) -> None:
        """Take nothing new, load what is left, and let go of everything; blocks for ten seconds at most. Twice is fine."""
        collecting = self._collecting
        if collecting is not None:
            if not collecting.server.stop(COLLECTOR_STOP_S):
                logger.warning("requests were still under way when the collector stopped")
            ends_at = monotonic() + DRAIN_STOP_S
            for drain in collecting.drains:
                drain.stop(max(0.0, ends_at - monotonic()))
            self._loops.append(collecting.numbers)  # after the drains: its last report tells what they did
            self._collecting = None
        for loop in self._loops:
            loop.ask_to_stop()
        for loop in self._loops:
            if not loop.join(LOOP_STOP_S):
                self.left_at_work = True
                logger.warning("%s was still at work at the end; the next start goes on with it", loop.status.name)
        self._loops = []
        if self._endpoint is not None:
            self._endpoint.stop(1.0)
            self._endpoint = None
        if collecting is not None:
            for journal in collecting.journals.values():
                journal.close()
        if self.runtime is not None:
            remove_runtime(self.folder.root, self.instance)
            self.runtime = None


def run(plan: Plan, started: Callable[[Service], None], *, log_name: str = "serve", quiet: bool = False) -> int:
    """Run the parts of *plan* until SIGTERM or Ctrl-C, calling *started* when they are ready; return the exit code."""
    service = Service(plan)
    service.folder.make()
    os.chdir(service.folder.root)  # the embedded engine keeps its schema cache in the working directory
    log_to(service.folder.logs, log_name, quiet=quiet)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    service.start()
    try:
        started(service)
        while not stop.wait(0.5):
            service.check()
    finally:
        end_within(STOP_S)
        since = monotonic()
        service.stop()
        logger.info("stopped in %.1f s", monotonic() - since)
    if service.left_at_work:  # the interpreter must not be taken down under it: the engine would crash
        sys.stdout.flush()
        logging.shutdown()
        os._exit(0)
    return 0


def end_within(seconds: float) -> None:
    """End this process after *seconds* even if a thread hangs in the engine: the journal holds what is not loaded."""

    def give_up() -> None:
        logger.error("stopping took longer than %.0f s; the rest is left to the next start", seconds)
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(seconds - 0.5, give_up)
    timer.daemon = True
    timer.start()
