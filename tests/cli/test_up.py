"""``up``: everything on one machine, started and stopped together."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from controltower.cli.ports import listen, port_of
from controltower.store.runtime import running
from tests.clickhouse_server import free_port
from tests.processes import PATIENCE_S, Tower, tower, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ANY = ("--collector-port", "0", "--endpoint-port", "0")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Tower]:
    """A data folder in which nothing runs yet."""
    with tower(tmp_path / "data") as made:
        yield made


def descendants(pid: int) -> set[int]:
    """Return the processes below *pid*."""
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found |= {int(folder.name)} | descendants(int(folder.name))
    return found


def gone(pids: set[int]) -> bool:
    """Whether none of these processes is left."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def said(here: Tower) -> str:
    """Return what `up` printed."""
    return (here.data.parent / "up.out").read_text(encoding="utf-8")


def test_up_starts_everything_and_ctrl_c_stops_it(here: Tower) -> None:
    """`up` tells where everything is and how long it took; Ctrl-C leaves no process behind."""
    port = free_port()
    up = here.start("up", *ANY, "--dashboard-port", str(port))
    until(lambda: "ready in " in said(here), "everything is up")
    children = descendants(up.pid)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as page:
        status = page.status
    up.send_signal(signal.SIGINT)
    up.wait(PATIENCE_S)
    out = said(here)

    assert status == 200
    assert f"dashboard  http://127.0.0.1:{port}" in out
    assert "/v1/traces" in out
    assert len(children) >= 2
    assert up.returncode == 0
    assert gone(children)
    assert "Traceback" not in out


def test_a_killed_up_leaves_nothing_behind(here: Tower) -> None:
    """kill -9 of `up` ends its children, too."""
    here.lay_store()
    up = here.start("up", *ANY, "--no-dashboard")
    until(lambda: "ready in " in said(here), "everything is up")
    children = descendants(up.pid)
    os.kill(up.pid, signal.SIGKILL)
    up.wait()

    assert children
    assert until(lambda: gone(children), "the children are gone")


def test_the_demo_sends_history_and_goes_on(here: Tower) -> None:
    """With ``--demo`` there are orders to follow, some of them completed, and `up` names one."""
    here.lay_store()
    here.start("up", *ANY, "--demo", "--no-dashboard")
    until(lambda: "follow one from requisition to payment: controltower trace " in said(here), "one is named", 400)
    key = said(here).rpartition("controltower trace ")[2].split()[0]
    found = here.trace(key)
    overdue = json.loads(here.run("search", "--state", "breached", "--json"))

    assert found is not None
    assert found["state"] == "completed"
    assert {"requested", "created", "paid"} <= {stage["name"] for stage in found["stages"]}
    assert len(found["systems"]) >= 4
    assert overdue["total"] >= 0


def test_a_second_up_is_refused(here: Tower) -> None:
    """The same data folder is not served twice."""
    here.lay_store()
    here.start("up", *ANY, "--no-dashboard")
    until(lambda: "ready in " in said(here), "everything is up")
    refused = here.run("up", *ANY, "--no-dashboard", code=1)

    assert refused.startswith("Control Tower runs already as process ")
    assert running(here.data) is not None


@pytest.mark.parametrize("option", ["--dashboard-port", "--collector-port", "--grpc-port", "--endpoint-port"])
def test_a_taken_port_names_its_option(here: Tower, option: str) -> None:
    """Whichever port is taken, the sentence names the option, and nothing is left running."""
    here.lay_store()
    with listen("127.0.0.1", 0, "") as taken:
        words = {"--collector-port": "0", "--grpc-port": "0", "--endpoint-port": "0", "--dashboard-port": "0"}
        words[option] = str(port_of(taken))
        refused = here.run("up", *[part for pair in words.items() for part in pair], code=1)

    assert refused.splitlines()[-1].endswith(f"choose another with {option}.")
    assert running(here.data) is None
