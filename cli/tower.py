"""Everything on one machine: `serve`, the dashboard and the demo's traffic as children of one process."""

import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controltower.cli.children import Child, start
from controltower.cli.data import DataFolder
from controltower.cli.errors import CommandError
from controltower.cli.opening import reading
from controltower.cli.ports import listen, port_of
from controltower.cli.settings import Settings, store_variables
from controltower.cli.text import table
from controltower.store.client import Client
from controltower.store.errors import StoreError
from controltower.store.read import SearchFilters, find_anchors, search
from controltower.store.rows import TransactionState
from controltower.store.runtime import RuntimeFile, running

HOST: Final = "127.0.0.1"
STARTED_AT: Final = "CONTROLTOWER_STARTED_AT"  # seconds since 1970: when the script that called us began
SERVE_TIMEOUT_S: Final = 60.0  # a large journal is read once at the start
DASHBOARD_TIMEOUT_S: Final = 60.0
LOOK_S: Final = 0.05
WATCH_S: Final = 0.3
EXAMPLE_EVERY_S: Final = 3.0
# History for the demo: enough to fill every page, small enough to be resolved in half a minute.
DEMO_HISTORY: Final = ("--seed", "7", "--transactions", "300", "--days", "60")
DEMO_LIVE: Final = ("--live", "12")  # new orders per minute
EXAMPLES: Final = 50  # looked at, until one is whole and not ambiguous: companies use the same numbers
WHOLE: Final = {"requested", "created", "paid"}
SEEDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class TowerPlan:
    """What to run, and where it listens; without a dashboard's port there is no dashboard."""

    settings: Settings
    host: str | None = None
    collector_port: int | None = None
    grpc_port: int | None = None
    grpc: bool = True
    endpoint_port: int = 8124
    dashboard_port: int | None = 8501
    demo: bool = False


class Tower:
    """The children of ``up``."""

    def __init__(self, plan: TowerPlan, say: Callable[[str], None] = lambda line: print(line, flush=True)) -> None:
        self._plan = plan
        self._say = say
        self._folder = DataFolder(plan.settings.data)
        self._stop = threading.Event()
        self._children: list[Child] = []
        self._example_wanted = plan.demo
        self._arrived = -1  # transactions at the last look
        self._started_at = float(os.environ.pop(STARTED_AT, "") or time.time())

    def run(self) -> int:
        """Start everything, tell where it is, and stop it in order at SIGTERM or Ctrl-C."""
        self._folder.make()
        self._refuse_second()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        try:
            self._start()
            self._watch()
        finally:
            self._stop_children()
        return 0

    def _refuse_second(self) -> None:
        found = running(self._plan.settings.data)
        if found is not None:
            raise CommandError(
                f"Control Tower runs already as process {found.pid}, collector {found.collector}; "
                "stop it, or choose another folder with --data."
            )

    # Starting

    def _start(self) -> None:
        dashboard_port = self._dashboard_port()
        dashboard = f"http://{HOST}:{dashboard_port}" if dashboard_port else ""
        self._say("starting …")
        serve = self._child("serve", ["--quiet", *self._serve_options()], CONTROLTOWER_DASHBOARD_URL=dashboard)
        runtime = self._wait_for_serve(serve)
        if runtime is None:
            return  # stopped while starting
        if dashboard_port:
            # Started after the store is set up, so that its first page finds the tables.
            child = self._child("dashboard", ["--dashboard-port", str(dashboard_port)])
            self._wait_for_dashboard(child, dashboard)
        if self._plan.demo:
            self._child("demo", self._demo_options())
        if not self._stop.is_set():
            self._say(self._summary(runtime, dashboard))

    def _dashboard_port(self) -> int | None:
        wanted = self._plan.dashboard_port
        if wanted is None:
            return None
        with listen(HOST, wanted, "--dashboard-port") as probe:  # closed again: Streamlit binds it itself
            return port_of(probe)

    def _child(self, command: str, options: list[str], **environment: str) -> Child:
        settings = self._plan.settings
        shared = ["--data", str(settings.data)]
        variables = {name: os.environ.get(name) or value for name, value in environment.items() if value}
        variables |= store_variables(settings)
        child = start(command, [command, *shared, *options], self._folder.logs / f"{command}.err", variables=variables)
        self._children.append(child)
        return child

    def _serve_options(self) -> list[str]:
        plan = self._plan
        options = ["--endpoint-port", str(plan.endpoint_port)]
        if plan.host is not None:
            options += ["--host", plan.host]
        if plan.collector_port is not None:
            options += ["--collector-port", str(plan.collector_port)]
        if not plan.grpc:
            options.append("--no-grpc")
        elif plan.grpc_port is not None:
            options += ["--grpc-port", str(plan.grpc_port)]
        return options

    def _demo_options(self) -> list[str]:
        """History only for a store that is empty: a second start goes on with what is there."""
        with reading(self._plan.settings) as client:
            filled = search(client, SearchFilters(limit=1)).total > 0
        if filled:  # another seed, so that no number is used twice
            return ["--seed", str(int(self._started_at) % SEEDS), *DEMO_LIVE]
        return [*DEMO_HISTORY, *DEMO_LIVE]

    def _wait_for_serve(self, serve: Child) -> RuntimeFile | None:
        deadline = time.monotonic() + SERVE_TIMEOUT_S
        while not self._stop.wait(LOOK_S):
            if serve.exit_code is not None:
                raise CommandError(serve.last_words() or f"serve ended; {self._folder.logs / 'serve.log'} says why.")
            found = running(self._plan.settings.data)
            if found is not None and found.pid == serve.process.pid:
                return found
            if time.monotonic() > deadline:
                raise CommandError(f"serve is not ready; {self._folder.logs / 'serve.log'} says why.")
        return None

    def _wait_for_dashboard(self, child: Child, url: str) -> None:
        deadline = time.monotonic() + DASHBOARD_TIMEOUT_S
        while not answers(f"{url}/_stcore/health") and not self._stop.wait(LOOK_S):
            if child.exit_code is not None or time.monotonic() > deadline:
                raise CommandError(f"The dashboard did not start; {child.errors} says why.")

    def _summary(self, runtime: RuntimeFile, dashboard: str) -> str:
        rows = [
            ["dashboard", dashboard or "not started"],
            ["collector", f"{runtime.collector}/v1/traces  (token in {self._folder.local_token})"],
            ["", f"{runtime.grpc}  (gRPC)" if runtime.grpc else "gRPC is off"],
            [
                "store",
                f"http://{runtime.host}:{runtime.port}" if self._plan.settings.address.embedded else runtime.store,
            ],
            ["data", str(self._folder.root)],
        ]
        took = time.time() - self._started_at
        demo = "\nThe demo's network sends its history and then goes on live." if self._plan.demo else ""
        return f"{table(rows)}\nready in {took:.1f} s; Ctrl-C stops everything{demo}"

    # Watching

    def _watch(self) -> None:
        looked_at = time.monotonic()
        while not self._stop.wait(WATCH_S):
            for child in list(self._children):
                if child.exit_code is not None:
                    self._ended(child)
            if self._example_wanted and time.monotonic() - looked_at > EXAMPLE_EVERY_S:
                looked_at = time.monotonic()
                self._offer_example()

    def _ended(self, child: Child) -> None:
        words = child.last_words() or f"exit code {child.exit_code}"
        if child.name != "demo":
            raise CommandError(f"The {child.name} ended unexpectedly: {words} ({child.errors})")
        self._children.remove(child)
        self._say(f"The demo's traffic ended: {words}")

    def _offer_example(self) -> None:
        """Name one purchase order that can be followed from requisition to payment, as soon as there is one."""
        try:
            with reading(self._plan.settings) as client:
                value = completed_order(client)
                arrived = search(client, SearchFilters(limit=1)).total
        except (StoreError, CommandError):
            return  # still being set up, or busy; asked again
        # While history still comes in, another company's order may turn up under the same number.
        if value and arrived == self._arrived:
            self._example_wanted = False
            took = time.time() - self._started_at
            self._say(f"after {took:.0f} s, follow one from requisition to payment: controltower trace {value}")
        self._arrived = arrived

    # Stopping

    def _stop_children(self) -> None:
        for child in reversed(self._children):
            child.stop()


def completed_order(client: Client) -> str:
    """Return the number of a completed order whose whole path is there, and which leads to no other one; or nothing."""
    completed = SearchFilters(states=(TransactionState.COMPLETED,), limit=EXAMPLES)
    for row in search(client, completed).rows:
        anchor = row.anchor
        if set(row.stages) >= WHOLE and len(find_anchors(client, anchor.value, limit=2)) == 1:
            return anchor.value
    return ""


def answers(url: str) -> bool:
    """Whether *url* answers with success."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach our loopback
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
