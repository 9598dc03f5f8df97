"""``controltower import``: a log with dirt, killed at work and resumed, imported again; each count is one that was planted."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from controltower.collector.scrapers.definition import load_map
from tests.cli.conftest import Run
from tests.event_logs import MAP, write
from tests.processes import Tower, tower, until

ORDERS = 3_000
DOCUMENT = Path(__file__).parents[2] / "docs" / "import.md"


@pytest.fixture
def log(tmp_path: Path) -> tuple[Path, Path, Counter[str]]:
    """A log, its map, and what is wrong with it."""
    file, how = tmp_path / "p2p.csv", tmp_path / "map.yaml"
    how.write_text(MAP, encoding="utf-8")
    return file, how, write(file, ORDERS)


def spans(running: Tower) -> tuple[int, int]:
    """Return how many spans of the log are in the store, and how many ids they have."""
    client = running.client()
    (row,) = client.query(
        "SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces WHERE ServiceName = 'erp'"
    ).result_rows
    return int(row[0]), int(row[1])


def at_work(running: Tower, process: "subprocess.Popen[str]", least: int) -> None:
    """Wait until so many spans are there, or the import has ended."""
    until(lambda: process.poll() is not None or spans(running)[0] >= least, "some of it is there")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_each_event_once_across_kills(log: tuple[Path, Path, Counter[str]], tmp_path: Path) -> None:
    """Killed twice and resumed: all that is no dirt is a step, once; each reject is told; again, nothing is new."""
    file, how, dirt = log
    with tower(tmp_path / "data") as running:
        running.serve()
        for least in (1, 5_000):
            process = running.start("import", str(file), "--map", str(how))
            at_work(running, process, least)
            running.kill(process)
        found = json.loads(running.run("import", str(file), "--map", str(how), "--json"))
        again = json.loads(running.run("import", str(file), "--map", str(how), "--json"))
        until(lambda: spans(running)[0] >= found["steps"], "all of it is loaded")
        in_store = spans(running)
        until(lambda: running.placed("PO-7"), "the engine has it")
        trace = running.trace("PO-7")

    assert found["records"] == dirt["events"] + dirt["rows that were cut"]
    assert found["unmatched"] == dirt["of no interest"]
    assert found["rejected"] == {
        "bad_number": dirt["amounts that are none"],
        "bad_row": dirt["rows that were cut"],
        "bad_time": dirt["years before 1970"] + dirt["times that are none"],
        "time_out_of_range": dirt["years ahead"],
    }
    assert found["steps"] + found["unmatched"] + sum(found["rejected"].values()) == found["records"]
    assert in_store == (found["steps"], found["steps"])
    assert {name: again[name] for name in ("records", "steps", "rejected")} == {
        name: found[name] for name in ("records", "steps", "rejected")
    }
    rejects = [json.loads(line) for line in Path(found["rejects"]).read_text(encoding="utf-8").splitlines()]
    assert Counter(each["reason"] for each in rejects) == found["rejected"]
    assert trace is not None
    assert [stage["name"] for stage in trace["stages"]][:1] == ["created"]


def test_another_map_is_refused(run: Run, tmp_path: Path) -> None:
    """What lacks a time, a column or a rule is told by its name before anything is sent."""
    file, how = tmp_path / "a.csv", tmp_path / "map.yaml"
    file.write_text("when,what,po\n2026-01-01T00:00:00Z,created,PO-1\n", encoding="utf-8")
    rules = "rules: [{step: p2p.purchase_order.created, keys: {purchase_order: po}}]\n"
    how.write_text(f"name: a\n{rules}", encoding="utf-8")

    ran = run("import", str(file), "--map", str(how))

    assert ran.code == 1
    assert "does not say which column is the time" in ran.err


@pytest.mark.timeout(120)
def test_the_example_of_the_document(tmp_path: Path) -> None:
    """The log and the map of docs/import.md give what it shows; another map for the same log is refused."""
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = dict(reversed(re.findall(r"^```(csv|yaml|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)))
    file, how = tmp_path / "orders.csv", tmp_path / "map.yaml"
    file.write_text(blocks["csv"], encoding="utf-8")
    how.write_text(blocks["yaml"], encoding="utf-8")
    with tower(tmp_path / "data") as running:
        running.serve()
        printed = running.run("import", str(file), "--map", str(how), "--quiet")
        how.write_text(blocks["yaml"].replace("vendor: vendor", "buyer: vendor"), encoding="utf-8")
        refused = running.run("import", str(file), "--map", str(how), code=1)

    assert printed.startswith(blocks["console"].partition("\n")[2])
    assert "by another map" in refused


@pytest.mark.parametrize(
    "text", re.findall(r"^```yaml\n(name: .*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)
def test_maps_of_the_document_are_right(text: str, tmp_path: Path) -> None:
    """Every map that the document shows can be read."""
    how = tmp_path / "map.yaml"
    how.write_text(text, encoding="utf-8")

    assert load_map(how).rules
