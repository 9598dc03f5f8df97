"""``controltower scrape``: tried out without sending, tested by its file, and run against a real store."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from controltower.cli.main import main
from controltower.collector.scrapers.definition import load_sources
from controltower.collector.scrapers.packs import packs
from tests.processes import Tower, tower, until

SOURCES = """
sources:
  erp:
    kind: log
    files: ['{folder}/erp.log']
    rules:
      - match: {{line: '^(?P<at>[^ ]+) sent (?P<po>[^ ]+) (?P<amount>[^ ]+)$'}}
        step: p2p.purchase_order.dispatched
        time: at
        keys: {{purchase_order: po}}
        amount: amount
        currency: {{text: USD}}
    tests:
      - name: a sent order
        given: |
          2026-01-02T03:04:05Z sent PO-1 {amount}
          something else
        steps: [{{step: p2p.purchase_order.dispatched, keys: {{purchase_order: PO-1}}, amount: '10.00'}}]
        unmatched: 1
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A file of sources, and its log."""
    lines = [f"2026-01-02T03:04:{second:02d}Z sent PO-{second} 10.00" for second in range(20)]
    (tmp_path / "erp.log").write_text("\n".join([*lines, "noise", "2026-01-02T03:04:05Z sent PO-X ten", ""]))
    file = tmp_path / "sources.yaml"
    file.write_text(SOURCES.format(folder=tmp_path, amount="10.00"), encoding="utf-8")
    return file


def test_check_shows_the_first_steps(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten of them, with what they carry; nothing is sent and nothing is written."""
    assert main(["scrape", "check", str(sources)]) == 0

    shown = capsys.readouterr().out
    assert "erp: 22 records read, 1 fit no rule, 1 rejected" in shown
    assert "2026-01-02T03:04:09+00:00  p2p.purchase_order.dispatched  purchase_order=PO-9" in shown
    assert "PO-10" not in shown
    assert "rejected 1 times: bad_amount: controltower.amount" in shown


def test_check_of_a_source_that_cannot_be_read(
    sources: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which one and why, without the password, and stops no other; a path where nothing is is told, too."""
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://erp:secret@127.0.0.1:1/erp")
    rule = "rules: [{step: p2p.purchase_order.created, keys: {purchase_order: id}}]"
    table = f"  jobs: {{kind: rows, table: jobs, key: [id], changed: at, {rule}}}\n"
    gone = f"  gone: {{kind: log, files: [/nowhere/erp.log], {rule.replace('id', 'line')}}}\n"
    text = sources.read_text(encoding="utf-8")
    sources.write_text(text.replace("sources:\n", f"sources:\n{table}{gone}", 1), encoding="utf-8")
    assert main(["scrape", "check", str(sources)]) == 1

    shown = capsys.readouterr().out
    assert "problem: it cannot be read: OperationalError: " in shown
    assert "problem: /nowhere/erp.log: there is no such file" in shown
    assert "erp: 22 records read, 1 fit no rule, 1 rejected" in shown
    assert "secret" not in shown


def test_check_as_json(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs, with ids and attributes."""
    assert main(["scrape", "check", str(sources), "--json"]) == 0

    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert len(source["steps"]) == 10
    assert re.fullmatch("[0-9a-f]{32}", source["steps"][0]["trace_id"])
    assert source["steps"][0]["attributes"]["controltower.amount"] == "10.00"


def test_the_tests_of_a_file(sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They pass, or say what is different and end with 1."""
    assert main(["scrape", "test", str(sources)]) == 0
    assert "1 of 1 tests passed" in capsys.readouterr().out
    sources.write_text(SOURCES.format(folder=tmp_path, amount="11.00"), encoding="utf-8")

    assert main(["scrape", "test", str(sources)]) == 1
    shown = capsys.readouterr().out
    assert "step 1: amount is '11.00', expected '10.00'" in shown
    assert "0 of 1 tests passed" in shown


def test_mistakes_have_their_lines(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with a mistake is refused with file, line and field."""
    sources.write_text(sources.read_text(encoding="utf-8").replace("step: p2p", "step: P2P", 1), encoding="utf-8")

    assert main(["scrape", "check", str(sources)]) == 1
    assert f"{sources}:8: sources.erp.rules[0].step" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["check"], ["a.yaml", "b.yaml"]])
def test_one_file_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is told how it is meant."""
    try:
        code = main(["scrape", *words])
    except SystemExit as exc:
        code = 2 if exc.code else 0

    assert code in (1, 2)
    assert "SOURCES.yaml" in capsys.readouterr().err


def test_without_a_collector(sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is read before it is known where to send it."""
    assert main(["scrape", str(sources), "--once", "--data", str(tmp_path / "data")]) == 1

    assert "No collector is known" in capsys.readouterr().err


@pytest.mark.parametrize("name", packs())
def test_each_pack_passes_its_tests(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What ships can be shown, is correct, and does what its tests say: each of its rules has one."""
    assert main(["scrape", "show", name]) == 0
    file = tmp_path / "sources.yaml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")

    assert main(["scrape", "test", str(file)]) == 0
    for source in load_sources(file).sources.values():
        assert {rule.step for rule in source.rules} == {step.step for test in source.tests for step in test.steps}
        assert len(source.tests) >= len(source.rules)


def test_the_packs_have_names(capsys: pytest.CaptureFixture[str]) -> None:
    """They are listed, and one that is none is refused with their names."""
    assert main(["scrape", "show"]) == 0
    assert "access_log" in capsys.readouterr().out.splitlines()
    assert main(["scrape", "show", "nothing"]) == 1
    assert "access_log" in capsys.readouterr().err


@pytest.mark.slow
def test_from_a_log_to_a_transaction(sources: Path, tmp_path: Path) -> None:
    """What is in the log is a transaction in the store, also what is written later; how the source does is there, too."""
    with tower(tmp_path / "data") as running:
        running.serve()
        running.run("scrape", str(sources), "--once", "--quiet")
        until(lambda: running.placed("PO-7"), "the order is there")
        stages = stages_of(running, "PO-7")
        scrape = running.start("scrape", str(sources), "--quiet")
        with (tmp_path / "erp.log").open("a", encoding="utf-8") as log:
            log.write("2026-01-02T04:00:00Z sent PO-LATE 12.00\n")
        until(lambda: running.placed("PO-LATE"), "the later order is there")
        assert running.stop(scrape) < 15
        state = until(lambda: stopped(running), "it said that it was stopped")

    assert stages[0]["system"] == "erp"
    assert (state["source"], state["behind_bytes"]) == ("erp", 0)


def stages_of(running: Tower, key: str) -> list[Any]:
    """Return the stages of a transaction, none before it is resolved."""
    found = running.trace(key)
    return found["stages"] if found else []


def stopped(running: Tower) -> Any:
    """Return how the source is doing once it was stopped."""
    (state,) = json.loads(running.run("scrape", "status", "--json"))["sources"]
    return state if state["state"] == "stopped" and state["counted_since"] else None
