"""Servers with several workers, and functions that are frozen between calls: every step arrives, and once."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.tracer.ending import finish_at_sigterm
from tests.cli.otlp_recorder import Recorder, recording
from tests.clickhouse_server import free_port
from tests.processes import until
from tests.tracer.hooked import needs

needs("fastapi", "gunicorn", "uvicorn", instrumentations=("fastapi",))

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PYTHON = [sys.executable, "-m"]
GUNICORN = [*PYTHON, "gunicorn", "--workers", "2", "--log-level", "error", "--bind"]
UVICORN = [*PYTHON, "uvicorn", "--workers", "2", "--log-level", "error", "--port"]
PATIENCE_S = 120.0


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A collector that writes down what it is sent."""
    with recording() as running:
        yield running


def environment(recorder: Recorder, **more: str) -> dict[str, str]:
    """Return the variables of a service that sends to *recorder*; nothing is sent before it has to be."""
    own = {"CONTROLTOWER_ENDPOINT": recorder.url, "CONTROLTOWER_SERVICE": "shop", "CONTROLTOWER_INTERVAL_S": "3600"}
    return {**os.environ, **own, **more}


def orders_of(recorder: Recorder) -> Counter[str]:
    """Return how often the step of each order arrived."""
    return Counter(order for _, span in recorder.spans() for order in orders_in(span))


def orders_in(span: Span) -> list[str]:
    return [item.value.string_value for item in span.attributes if item.key == "controltower.key.purchase_order"]


def ask(address: str, order: str) -> tuple[str, str]:
    """Send one order; return the worker that took it and the process that imported the service."""
    worker, imported_by = httpx.get(f"{address}/{order}", timeout=60).text.split()
    return worker, imported_by


def listens(port: int) -> bool:
    """Return whether somebody takes connections on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("server", "forked", "durable"),
    [
        pytest.param([*GUNICORN, "127.0.0.1:{port}", "tests.tracer.worker_app:wsgi"], False, False, id="gunicorn"),
        pytest.param(
            [*GUNICORN, "127.0.0.1:{port}", "--preload", "tests.tracer.worker_app:wsgi"], True, False, id="preloaded"
        ),
        pytest.param(
            [*GUNICORN, "127.0.0.1:{port}", "--preload", "tests.tracer.worker_app:wsgi"], True, True, id="durable"
        ),
        pytest.param([*UVICORN, "{port}", "--factory", "tests.tracer.worker_app:served"], False, False, id="uvicorn"),
    ],
)
def test_every_worker_sends_its_steps(
    recorder: Recorder, tmp_path: Path, server: list[str], forked: bool, durable: bool
) -> None:
    """Steps of both workers arrive when the server stops, each once, configured before the fork or after it."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    variables = environment(recorder, **({"CONTROLTOWER_DURABLE": str(tmp_path / "spool")} if durable else {}))
    words = [word.format(port=port) for word in server]
    with subprocess.Popen(words, cwd=ROOT, env=variables) as process:
        try:
            until(lambda: listens(port), "the server listens", PATIENCE_S)
            taken: dict[str, str] = {}

            def both() -> bool:
                worker, imported_by = ask(address, f"PO-{next(numbers)}")
                taken[worker] = imported_by
                return len(taken) == 2

            numbers = count()
            until(both, "both workers took orders", PATIENCE_S)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)

    assert orders_of(recorder) == Counter(f"PO-{number}" for number in range(next(numbers)))
    assert (set(taken.values()) == {str(process.pid)}) is forked


@contextmanager
def program(recorder: Recorder, *words: str) -> Iterator[tuple["subprocess.Popen[str]", Callable[[str], str]]]:
    """Run a plain program; give it, and what lets it make the step of an order and returns what it says."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.tracer.worker_app", *words],
        cwd=ROOT,
        env=environment(recorder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, said = process.stdin, process.stdout

        def order(number: str) -> str:
            given.write(f"{number}\n")
            given.flush()
            return said.readline().strip()

        try:
            yield process, order
        finally:
            process.kill()


def test_a_function_that_is_frozen_after_its_answer(recorder: Recorder) -> None:
    """``flush`` before the answer: the step is there while the process stands still, and when it is never woken."""
    found = []
    with program(recorder, "flushing") as (process, order):
        for number, end in (("PO-1", signal.SIGSTOP), ("PO-2", signal.SIGKILL)):
            assert order(number) == "sent"
            process.send_signal(end)
            found.append(orders_of(recorder))
            process.send_signal(signal.SIGCONT)

    assert found == [Counter({"PO-1": 1}), Counter({"PO-1": 1, "PO-2": 1})]


@pytest.mark.parametrize("status", [200, 503])
def test_a_program_that_is_told_to_end(recorder: Recorder, status: int) -> None:
    """SIGTERM ends it by that signal as ever, after the rest was sent; without a collector it ends all the same."""
    recorder.status = status
    with program(recorder) as (process, order):
        assert order("PO-1") == "done"
        assert orders_of(recorder) == Counter()
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM

    assert orders_of(recorder) == Counter({"PO-1": 1} if status == 200 else {})


def test_a_host_that_handles_the_signal_is_left_alone() -> None:
    """Who has a handler decides how the process ends; threads cannot set one."""
    former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        arranged = [finish_at_sigterm(print, 1.0)]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with ThreadPoolExecutor(1) as pool:
            arranged.append(pool.submit(finish_at_sigterm, print, 1.0).result())
        left = signal.getsignal(signal.SIGTERM)
        arranged.append(finish_at_sigterm(print, 1.0))
    finally:
        signal.signal(signal.SIGTERM, former)

    assert arranged == [False, False, True]
    assert left is signal.SIG_DFL
