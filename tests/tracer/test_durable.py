"""Durable export: what the collector does not take now waits on the disk, and arrives once."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower import tracer
from controltower.tracer.configure import resolve
from controltower.tracer.durable.bodies import halves, spans_in
from controltower.tracer.durable.exporter import DurableExporter
from controltower.tracer.durable.folders import Folders
from controltower.tracer.durable.limits import LOOK_S, DurableLimits
from controltower.tracer.durable.sending import Answer
from controltower.tracer.guard import Guard
from controltower.tracer.journal import Quarantine
from controltower.tracer.journal.disk import Disk
from tests.cli.otlp_recorder import Recorder, recording
from tests.collector.requests import request_of, running, span
from tests.tracer.journals import BrokenDisk, Steps

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "http://127.0.0.1:9"
TAKEN = Answer("taken")
AGAIN = Answer("again", "it does not answer")


class Script:
    """A collector that answers as it is told, and remembers what it was sent."""

    def __init__(self, answer: Callable[[bytes], Answer] = lambda _: TAKEN) -> None:
        self.answer = answer
        self.bodies: list[bytes] = []
        self.taken: list[bytes] = []

    def send(self, body: bytes) -> Answer:
        """Answer a request."""
        self.bodies.append(body)
        answer = self.answer(body)
        if answer.kind == "taken":
            self.taken.append(body)
        return answer

    def close(self) -> None:
        """Do nothing."""


class Host:
    """A system whose exporter is durable, over a scripted collector."""

    def __init__(
        self,
        folder: Path,
        script: Script,
        disk: Disk | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        **limits: Any,
    ) -> None:
        self.guard = Guard(development=False)
        bounds = DurableLimits(**{"reserve_bytes": 0, "interval_s": 0.01, **limits})
        self.exporter = DurableExporter(
            folder, "erp", lambda: script, self.guard, bounds, disk=disk, monotonic=monotonic
        )
        self.system = tracer.System(service="erp", exporter=self.exporter, interval_s=0.01)

    def steps(self, count: int, first: int = 0, size: int = 0) -> None:
        """Emit steps and wait until the exporter has had them."""
        for number in range(first, first + count):
            with self.system.step("a.b.c", name=f"step {number}", context={"filler": "x" * size}):
                pass
        self.system.flush(30, to_disk=True)

    def others(self, count: int, size: int = 0) -> None:
        """Emit spans that are no steps."""
        library = self.system.provider.get_tracer("library")
        for number in range(count):
            library.start_span(f"other {number}", attributes={"filler": "x" * size}).end()
        self.system.flush(30, to_disk=True)


def names(bodies: list[bytes]) -> list[str]:
    """Return the names of the spans in *bodies*, in order."""
    return [
        each.name
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for each in scope.spans
    ]


def folders_of(root: Path) -> list[Path]:
    """Return the folders of processes below *root*."""
    return [path for path in (root / "erp").iterdir() if path.name != "quarantine"] if (root / "erp").exists() else []


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A collector over HTTP that writes down what it is sent."""
    with recording() as running_one:
        yield running_one


def test_flush_means_acknowledged_and_nothing_stays(recorder: Recorder, tmp_path: Path) -> None:
    """With a collector that answers, steps pass through the disk, flush confirms them, and the end leaves no folder."""
    system = tracer.System(service="erp", endpoint=recorder.url, token="s3cret", durable=tmp_path)
    for number in range(3000):
        with system.step("a.b.c", name=str(number)):
            pass
    flushed = system.flush(30)
    health = system.health()
    system.shutdown()

    assert flushed
    assert names(recorder.bodies) == [str(number) for number in range(3000)]
    assert (health.exported, health.stored, health.lossless) == (3000, 0, True)
    assert folders_of(tmp_path) == []


def test_outage_and_restart(recorder: Recorder, tmp_path: Path) -> None:
    """What one run could not send, the next one sends: steps before other spans, the oldest first, each once."""
    for first in (0, 100):
        system = tracer.System(service="erp", endpoint=NOBODY, durable=tmp_path, durable_reserve_bytes=0)
        system.provider.get_tracer("library").start_span(f"other {first}").end()
        for number in range(first, first + 100):
            with system.step("a.b.c", name=f"step {number}"):
                pass
        assert system.flush(30, to_disk=True)
        assert system.health().stored == 101
        assert system.health().lossless
        system.shutdown()
    left = len(folders_of(tmp_path))
    last = tracer.System(service="erp", endpoint=recorder.url, durable=tmp_path)
    with last.step("a.b.c", name="step 200"):
        pass
    until_empty(lambda: last.flush(30) and len(names(recorder.bodies)) == 203)
    last.shutdown()

    arrived = names(recorder.bodies)
    assert left == 2
    assert [name for name in arrived if name.startswith("step")][:200] == [f"step {number}" for number in range(200)]
    assert Counter(arrived) == Counter([*(f"step {number}" for number in range(201)), "other 0", "other 100"])
    assert min(map(arrived.index, ("other 0", "other 100"))) > arrived.index("step 199")
    assert folders_of(tmp_path) == []


def until_empty(question: Callable[[], bool]) -> None:
    """Wait until *question* is answered with yes, as long as a busy machine may take."""
    changed = threading.Event()
    for _ in range(6000):
        if question():
            return
        changed.wait(0.01)
    pytest.fail("never")


def start_host(folder: Path, endpoint: str, token: str, first: int, last: int) -> "subprocess.Popen[str]":
    """Start the service that is to be killed."""
    words = [sys.executable, "-m", "tests.tracer.durable_host", str(folder), endpoint, token, str(first), str(last)]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_kills_during_an_outage(tmp_path: Path) -> None:
    """The host is killed twice while the collector is down: every stored step arrives once, the oldest first."""
    port, stored, first = free_port(), set[int](), 0
    for kill_after in (7, 4):
        with start_host(tmp_path / "spool", f"http://127.0.0.1:{port}", "", first, first + 10_000) as host:
            assert host.stdout is not None
            for _ in range(kill_after):
                last = int(host.stdout.readline().split()[1])
            host.send_signal(signal.SIGKILL)
            lines = host.stdout.readlines()
        last = int(lines[-1].split()[1]) if lines else last
        stored |= set(range(first, last))
        first += 10_000
    with running(tmp_path) as tower:
        with start_host(tmp_path / "spool", tower.url, tower.token, first, first + 200) as host:
            out, _ = host.communicate(timeout=60)
        arrived = tower.stored_spans()

    steps = [int(name.split()[1]) for name in arrived if name.startswith("step")]
    assert "empty True" in out
    assert stored | set(range(first, first + 200)) <= set(steps)
    assert len(steps) == len(set(steps))
    assert len(stored) >= 2200
    old = [number for number in steps if number < first]
    assert old == sorted(old)
    assert folders_of(tmp_path / "spool") == []


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_the_same_bytes_are_sent_again(tmp_path: Path) -> None:
    """A request without an answer is sent again byte for byte, also by the process that takes over: it is stored once."""
    script = Script(lambda _: AGAIN)
    first = Host(tmp_path, script)
    first.steps(50)
    first.exporter.force_flush(200)
    first.system.shutdown()
    script.answer = lambda _: TAKEN
    second = Host(tmp_path, script)
    second.exporter.take_over()
    until_empty(lambda: bool(script.taken))
    second.system.shutdown()

    assert len(script.bodies) >= 2
    assert len(set(script.bodies)) == 1


def test_other_spans_give_way_to_steps(tmp_path: Path) -> None:
    """At the budget, spans that are no steps are given up first, and counted; then new steps are; old ones stay."""
    script = Script(lambda _: AGAIN)
    host = Host(tmp_path, script, budget_bytes=400_000, segment_bytes=40_000)
    host.others(100, size=2_000)
    with_others = host.system.health()
    for number in range(40):
        host.steps(5, first=number * 5, size=2_000)
    counts = host.guard.counts()
    used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    script.answer = lambda _: TAKEN
    host.exporter.force_flush(30_000)
    arrived = names(script.taken)
    host.system.shutdown()

    assert with_others.lossless
    assert counts["shed_spans"] == 100
    assert 0 < counts["dropped_spans"] < 100
    assert used <= 400_000 + 50_000  # digests and locks come on top
    assert arrived == [f"step {number}" for number in range(200 - counts["dropped_spans"])]


def test_what_is_being_sent_can_be_given_up(tmp_path: Path) -> None:
    """A request that hangs holds no room against steps, and its spans are counted once."""
    entered, leave = threading.Event(), threading.Event()

    def hang(body: bytes) -> Answer:
        entered.set()
        assert leave.wait(30)
        return TAKEN

    script = Script(hang)
    host = Host(tmp_path, script, budget_bytes=300_000)
    host.others(50, size=4_000)
    assert entered.wait(30)
    host.steps(50, size=4_000)
    leave.set()
    flushed = host.exporter.force_flush(30_000)
    kept, counts = host.exporter.kept, host.guard.counts()
    host.system.shutdown()

    assert not flushed  # some were given up
    assert (counts["shed_spans"], counts.get("dropped_spans", 0)) == (50, 0)
    assert (kept.acknowledged, kept.stored) == (50, 0)


def test_full_disk_counts_and_recovers(tmp_path: Path) -> None:
    """While the disk is full, steps are counted as lost and nothing is raised; afterwards they are stored again."""
    script, disk = Script(lambda _: AGAIN), BrokenDisk()
    host = Host(tmp_path, script, disk)
    host.steps(3)
    disk.fails = {"write": errno.ENOSPC, "create": errno.ENOSPC}
    host.steps(4, first=3)
    lost = host.guard.counts()["dropped_spans"]
    disk.fails = {}
    host.steps(2, first=7)
    script.answer = lambda _: TAKEN
    host.exporter.force_flush(30_000)
    host.system.shutdown()

    assert lost == 4
    assert names(script.taken) == ["step 0", "step 1", "step 2", "step 7", "step 8"]
    assert not host.system.health().internal_errors


def test_full_disk_does_not_matter_while_the_collector_answers(tmp_path: Path) -> None:
    """What the disk does not take goes to the collector at once, if that is known to be well."""
    script, disk = Script(), BrokenDisk()
    host = Host(tmp_path, script, disk)
    host.steps(3)
    assert host.exporter.force_flush(30_000)
    disk.fails = {"write": errno.ENOSPC, "create": errno.ENOSPC}
    host.steps(4, first=3)
    disk.fails = {}
    host.system.shutdown()

    assert names(script.taken) == [f"step {number}" for number in range(7)]
    assert "dropped_spans" not in host.guard.counts()


def test_damage_costs_what_it_hit(tmp_path: Path) -> None:
    """Bytes that the disk changed are counted and kept aside; everything around them arrives."""
    script = Script(lambda _: AGAIN)
    host = Host(tmp_path, script, interval_s=3600.0)  # one segment
    for number in range(3):
        host.steps(1, first=number, size=100)
    host.system.shutdown()
    (segment,) = tmp_path.rglob("*.otlp")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    script.answer = lambda _: TAKEN
    second = Host(tmp_path, script)
    second.exporter.take_over()
    until_empty(lambda: bool(script.taken))
    second.system.shutdown()

    assert names(script.taken) == ["step 0", "step 2"]
    assert second.guard.counts()["durable_damaged"] == 1
    assert [kept.kind for kept in Quarantine(tmp_path / "erp").listing()] == ["damaged"]


def test_a_folder_is_taken_over_by_one(tmp_path: Path) -> None:
    """Several processes that find the same folders take each over exactly once."""
    script = Script(lambda _: AGAIN)
    for number in range(6):
        host = Host(tmp_path, script)
        host.steps(10, first=number * 10)
        host.system.shutdown(0.0)
        until_empty(host_ended(host))
    takers = [Folders(tmp_path, "erp", Disk()) for _ in range(4)]
    found: list[str] = []
    gate = threading.Barrier(len(takers))

    def take(folders: Folders) -> None:
        gate.wait()
        found.extend(claim.path.name for claim in folders.left_behind(16))

    threads = [threading.Thread(target=take, args=[folders]) for folders in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == sorted(path.name for path in folders_of(tmp_path))
    assert len(found) == 6


def host_ended(host: Host) -> Callable[[], bool]:
    """Return a question whether the host's thread has let go of its folder."""
    return lambda: host.exporter.close(0.05)


def test_a_living_process_takes_over_from_one_that_is_gone(tmp_path: Path) -> None:
    """Workers of one service look after each other: nobody has to start anew for what a killed one left."""
    script, clock = Script(), Steps()
    living = Host(tmp_path, script, monotonic=clock)
    living.steps(1, first=1)
    assert living.exporter.force_flush(30_000)
    with start_host(tmp_path, NOBODY, "", 100, 110) as gone:
        assert gone.stdout is not None
        assert gone.stdout.readline() == "stored 110\n"
        gone.kill()
    clock.now_s += LOOK_S
    living.steps(1, first=2)
    until_empty(lambda: len(names(script.taken)) == 13)
    until_empty(lambda: len(folders_of(tmp_path)) == 1)
    living.system.shutdown()

    assert sorted(names(script.taken)) == sorted(
        ["other 100", "step 1", "step 2", *(f"step {n}" for n in range(100, 110))]
    )


def test_processes_share_one_budget(tmp_path: Path) -> None:
    """What one process has on the disk, another one of the service cannot use."""
    first, second = (Host(tmp_path, Script(lambda _: AGAIN), budget_bytes=100_000) for _ in range(2))
    first.steps(45, size=2_000)
    second.steps(10, size=2_000)
    lost = first.guard.counts().get("dropped_spans", 0), second.guard.counts().get("dropped_spans", 0)
    first.system.shutdown()
    second.system.shutdown()

    assert lost == (0, 10)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what Python 3.12 warns of is what is tested
def test_forked_workers_have_folders_of_their_own(recorder: Recorder, tmp_path: Path) -> None:
    """A worker forked after the first step stores and sends its own, and does not keep its parent's folder locked."""
    system = tracer.System(service="erp", endpoint=NOBODY, durable=tmp_path, durable_reserve_bytes=0, interval_s=0.05)
    with system.step("a.b.c", name="parent"):
        pass
    assert system.flush(30, to_disk=True)
    ours = {path.name for path in folders_of(tmp_path)}
    go, gone = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with system.step("a.b.c", name="child"):
            pass
        code = 0 if system.flush(30, to_disk=True) and len(folders_of(tmp_path)) == 2 else 1
        os.write(gone[1], b"%d" % code)
        os.read(go[0], 1)  # lives on while the parent's folder is looked at
        os._exit(code)
    stored = os.read(gone[0], 1)
    system.shutdown(0.0)
    until_empty(lambda: len(taken := Folders(tmp_path, "erp", Disk()).left_behind(16)) == 1 and let_go(taken))
    os.write(go[1], b".")
    _, status = os.waitpid(child, 0)
    last = tracer.System(service="erp", endpoint=recorder.url, durable=tmp_path)
    until_empty(lambda: len(recorder.bodies) == 2)
    last.shutdown()
    for descriptor in (*go, *gone):
        os.close(descriptor)

    assert (stored, os.waitstatus_to_exitcode(status), len(ours)) == (b"0", 0, 1)
    assert sorted(names(recorder.bodies)) == ["child", "parent"]


def let_go(claims: list[Any]) -> bool:
    """Release what was claimed."""
    for claim in claims:
        claim.release()
    return True


def test_one_refused_span_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """What the collector refuses for good is sought by halves and kept in quarantine; everything else arrives."""
    script = Script(lambda body: Answer("refused", "it answers 400") if "step 13" in names([body]) else TAKEN)
    host = Host(tmp_path, script)
    host.steps(40)
    host.exporter.force_flush(30_000)
    failed = host.system.health().misuse, host.guard.counts()["failed_spans"]
    host.system.shutdown()

    assert sorted(names(script.taken)) == sorted(f"step {number}" for number in range(40) if number != 13)
    assert failed[1] == 1
    (kept,) = Quarantine(tmp_path / "erp").listing()
    assert kept.reason == "it answers 400"
    assert names([Quarantine(tmp_path / "erp").read(kept.name)]) == ["step 13"]


def test_halves_hold_every_span_once() -> None:
    """A request is cut in the middle of its spans, whatever their number."""
    for count in range(1, 9):
        body = request_of(*(span(number) for number in range(1, count + 1)))
        parts = halves(body)

        assert spans_in(body) == count
        assert (parts is None) == (count == 1)
        if parts:
            assert names([*parts]) == names([body])
            assert abs(spans_in(parts[0]) - spans_in(parts[1])) <= 1


BLOCKING = {"posix", "_socket", "select", "time", "fcntl", "_ssl", "io", "_io", "_posixsubprocess"}
HARMLESS = {"perf_counter_ns", "time_ns", "monotonic", "perf_counter", "time", "getpid", "fspath"}


@pytest.mark.parametrize("trouble", ["collector down", "disk full", "disk hangs", "name resolution hangs"])
def test_nothing_blocks_the_caller(trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the caller's path no call goes to the disk, the network or a sleep, and no trouble behind it holds steps up."""
    hang, stuck, disk = threading.Event(), threading.Event(), BrokenDisk()

    def hanging(*_: object, **__: object) -> Any:
        stuck.set()
        assert hang.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    if trouble == "name resolution hangs":
        monkeypatch.setattr(socket, "getaddrinfo", hanging)
    if trouble == "disk hangs":
        monkeypatch.setattr(Disk, "sync", hanging)
    if trouble == "disk full":
        monkeypatch.setattr(Disk, "write", disk.write)
        disk.fails = {"write": errno.ENOSPC}
    endpoint = "http://tower.invalid:4318" if trouble == "name resolution hangs" else NOBODY
    system = tracer.System(
        service="erp", endpoint=endpoint, durable=tmp_path, durable_reserve_bytes=0, interval_s=0.01, queue_size=4096
    )
    with system.step("a.b.c"):
        pass
    if "hangs" in trouble:
        assert stuck.wait(30)
    called: set[str] = set()

    def profile(_: object, event: str, argument: Any) -> None:
        if event == "c_call" and (module := argument.__module__) in BLOCKING and argument.__name__ not in HARMLESS:
            called.add(f"{module}.{argument.__name__}")

    sys.setprofile(profile)
    try:
        for number in range(10_000):
            with system.step("a.b.c", keys={"purchase_order": f"PO-{number}"}):
                pass
    finally:
        sys.setprofile(None)
    health = system.health()
    hang.set()
    system.shutdown()

    assert called == set()
    assert health.exported == 0
    assert trouble != "disk hangs" or health.dropped >= 10_000 - 4096 - 1


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"durable": "spool"}, "durable"),
        ({"durable": "/proc/controltower"}, "durable"),
        ({"durable": "/tmp", "exporter": object()}, "exporter"),
        ({"durable_bytes": 0}, "durable_bytes"),
        ({"durable_reserve_bytes": -1}, "durable_reserve_bytes"),
    ],
)
def test_bad_settings_are_refused_by_name(options: dict[str, Any], name: str) -> None:
    """A folder that can never be used, and bounds that are none, refuse to start."""
    with pytest.raises(tracer.SettingError) as refused:
        resolve({}, service="erp", **options)

    assert refused.value.setting == name


def test_variables_configure_it(tmp_path: Path) -> None:
    """The environment can say all of it; an exporter of the host's own stands before it."""
    variables = {"CONTROLTOWER_DURABLE": str(tmp_path), "CONTROLTOWER_DURABLE_BYTES": "1000"}
    settings = resolve(variables, service="erp")

    assert (settings.durable, settings.durable_bytes) == (tmp_path, 1000)
    assert resolve(variables, service="erp", exporter=Host(tmp_path, Script()).exporter).durable is None
