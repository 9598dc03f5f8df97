"""``controltower run``: the job runs as without it, and the collector is told what became of it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.cli.job import Tail
from tests.cli.otlp_recorder import Recorder, recording
from tests.processes import COMMAND, PATIENCE_S, until

NOBODY = "http://127.0.0.1:9"
STEP = """
from controltower import tracer
tracer.configure(service="child")
with tracer.step("p2p.invoice.posted", keys={"invoice": "I-1"}):
    pass
tracer.shutdown()
"""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A collector that writes down what it is sent."""
    with recording() as running:
        yield running


def words(data: Path, *options: str, job: str) -> list[str]:
    """Return the command that runs a job of the shell."""
    return [*COMMAND, "run", "--data", str(data), *options, "--", "sh", "-c", job]


def run(data: Path, endpoint: str, *options: str, job: str, **given: Any) -> "subprocess.CompletedProcess[str]":
    """Run a job of the shell to its end."""
    return subprocess.run(
        words(data, "--endpoint", endpoint, *options, job=job),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(TZ="UTC"),
        **given,
    )


def environment(**more: str) -> dict[str, str]:
    """Return variables with which the tracer behaves as in production."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"} | more


def told(span: Span) -> dict[str, str]:
    """Return what a span says, by short names."""
    return {
        item.key.removeprefix("controltower."): item.value.string_value or str(item.value.int_value)
        for item in span.attributes
    }


def by_name(recorder: Recorder) -> dict[str, Span]:
    """Return what was sent, by the name of the span."""
    return {span.name: span for _, span in recorder.spans()}


def test_a_job_is_told_of(recorder: Recorder, tmp_path: Path) -> None:
    """Name, schedule, exit code and duration arrive; what the job prints is as it printed it, and nothing is added."""
    options = ("--name", "nightly-load", "--schedule", "0 2 * * *", "--expected-by", "2h", "--key", "file=a.csv")
    ran = run(tmp_path, recorder.url, *options, job="echo out; echo err >&2; cat; exit 3", input="given\n")

    started, finished = by_name(recorder)["nightly-load started"], by_name(recorder)["nightly-load"]
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "out\ngiven\n", "err\n")
    assert told(started)["context.schedule"] == "0 2 * * *"
    assert told(started)["context.expected_by_s"] == "7200"
    assert (told(started)["step"], told(finished)["step"]) == ("batch.run.started", "batch.run.completed")
    assert re.fullmatch(r"nightly-load\|\d{4}-\d\d-\d\dT02:00:00Z", told(started)["key.slot"])
    assert told(started)["key.run"] == told(finished)["key.run"] == told(finished)["run.id"]
    assert told(started)["context.heartbeat_s"] == "60"
    assert finished.start_time_unix_nano == started.start_time_unix_nano
    assert finished.end_time_unix_nano > finished.start_time_unix_nano
    wanted = {"context.exit_code": "3", "outcome": "exception", "reason": "exit_code", "key.file": "a.csv"}
    assert wanted.items() <= told(finished).items()
    assert "context.output_tail" not in told(finished)
    assert [service for service, _ in recorder.spans()] == ["jobs", "jobs"]


def test_a_schedule_that_is_none_keeps_no_job_from_running(recorder: Recorder, tmp_path: Path) -> None:
    """It is told, and the run is of no slot."""
    ran = run(tmp_path, recorder.url, "--schedule", "at night", job="echo done")

    assert (ran.returncode, ran.stdout) == (0, "done\n")
    assert "no cron expression" in ran.stderr
    assert "key.slot" not in told(by_name(recorder)["sh started"])


def test_the_tail_is_masked(recorder: Recorder, tmp_path: Path) -> None:
    """Asked for, the last lines are sent without what the redaction policy finds; the job's own output stays whole."""
    job = "for i in 1 2 3 4; do echo line $i; done; echo patient SSN 123-45-6789 >&2"
    ran = run(tmp_path, recorder.url, "--tail", "3", job=job)

    tail = told(by_name(recorder)["sh"])["context.output_tail"]
    assert ran.returncode == 0
    assert ran.stdout == "line 1\nline 2\nline 3\nline 4\n"
    assert "123-45-6789" in ran.stderr
    assert "123-45-6789" not in tail
    assert len(tail.splitlines()) == 3


def test_steps_of_the_job_are_below_its_run(recorder: Recorder, tmp_path: Path) -> None:
    """The job's own tracer continues the trace of the run that started it."""
    job = f"CONTROLTOWER_ENDPOINT={recorder.url} {sys.executable} -c '{STEP}'"
    ran = run(tmp_path, recorder.url, "--name", "load", job=job)

    sent = by_name(recorder)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sent["p2p.invoice.posted"].trace_id == sent["load started"].trace_id
    assert sent["p2p.invoice.posted"].parent_span_id == sent["load started"].span_id


def test_collector_down(recorder: Recorder, tmp_path: Path) -> None:
    """While the collector is away the job runs as always, silently; the next run brings what was not sent."""
    first = run(tmp_path, NOBODY, "--name", "first", job="echo done")
    second = run(tmp_path, recorder.url, "--name", "second", job="true")

    assert (first.returncode, first.stdout, first.stderr) == (0, "done\n", "")
    assert (second.returncode, second.stderr) == (0, "")
    assert sorted(by_name(recorder)) == ["first", "first started", "second", "second started"]
    assert len(recorder.spans()) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_job(number: signal.Signals, recorder: Recorder, tmp_path: Path) -> None:
    """A signal for the command is one for the job, whose end is what counts."""
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored by what runs these tests (nohup), so by all that they start")
    name = number.name.removeprefix("SIG")
    job = f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    command = words(tmp_path, "--endpoint", recorder.url, job=job)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out) == (9, "got\n")
    assert told(by_name(recorder)["sh"])["context.exit_code"] == "9"


def test_killed_job(recorder: Recorder, tmp_path: Path) -> None:
    """A job that a signal ends has the exit code of a shell, and the signal's name is told."""
    ran = run(tmp_path, recorder.url, job="kill -9 $$")

    finished = told(by_name(recorder)["sh"])
    assert ran.returncode == 137
    assert (finished["context.signal"], finished["reason"]) == ("SIGKILL", "signal")


def test_job_that_cannot_be_started(recorder: Recorder, tmp_path: Path) -> None:
    """What is not there ends as in a shell: 127, one sentence, and a run that says so."""
    ran = subprocess.run(
        [*COMMAND, "run", "--data", str(tmp_path), "--endpoint", recorder.url, "--", "/no/such/job", "--data"],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
    )

    assert (ran.returncode, ran.stderr) == (127, "/no/such/job cannot be run: No such file or directory.\n")
    assert told(by_name(recorder)["job"])["reason"] == "not_started"


def test_a_patients_key_is_told_as_a_token_or_not_at_all(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the key for tokens the run bears one; without it the key is left out, which is said, and the job is as it was."""
    monkeypatch.setenv("CONTROLTOWER_MODE", "development")  # for the host's own programs
    options = ("--name", "claims", "--key", "case=C-4711")
    without = run(tmp_path, recorder.url, *options, job="exit 3")
    monkeypatch.setenv("CONTROLTOWER_REDACTION_KEY", f"1:{'A' * 43}=")
    having = run(tmp_path, recorder.url, *options, job="exit 3")

    assert (without.returncode, having.returncode, having.stderr) == (3, 3, "")
    assert without.stderr.startswith("A key that leads to a patient was left out")
    ended = [told(span) for _, span in recorder.spans() if span.name == "claims"]
    assert [said.get("key.case", "")[:3] for said in ended] == ["", "t1:"]
    assert "4711" not in str(recorder.spans())


@pytest.mark.parametrize(
    ("endpoint", "variables", "why"),
    [
        ("tower:4318", {}, "endpoint: "),
        (NOBODY, {"CONTROLTOWER_REDACTION_POLICY": "/no/such/policy"}, "/no/such/policy"),
        (NOBODY, {"CONTROLTOWER_DURABLE": "relative"}, "CONTROLTOWER_DURABLE: "),
    ],
)
def test_a_bad_setting_does_not_keep_the_job_from_running(
    endpoint: str, variables: dict[str, str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job runs, and one sentence says that nobody hears of it and why."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ran = run(tmp_path, endpoint, "--tail", "2", job="echo done; exit 4")

    assert (ran.returncode, ran.stdout) == (4, "done\n")
    assert ran.stderr.startswith("The job runs unwatched: ")
    assert why in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_heartbeat_while_it_runs(recorder: Recorder, tmp_path: Path) -> None:
    """A long job says that it is alive."""
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    command = words(tmp_path, "--endpoint", recorder.url, "--heartbeat", "0.05", "--name", "long", job=f"cat {fifo}")
    with subprocess.Popen(command, env=environment()) as process, fifo.open("w"):
        until(lambda: "long running" in by_name(recorder), "the heartbeat came")

    assert process.returncode == 0
    assert told(by_name(recorder)["long running"])["context.run_phase"] == "running"


def test_tail_keeps_the_last_lines() -> None:
    """Lines are put together from what arrives in pieces, by stream, and long ones are cut."""
    tail = Tail(3)
    for stream, data in (("out", b"a\nb"), ("err", b"x\n"), ("out", b"c\nd\n"), ("out", b"e" * 5_000)):
        tail.add(stream, data)

    assert tail.text() == b"bc\nd\n" + b"e" * 1_024
