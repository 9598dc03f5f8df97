"""What the README and the documents say is true: their commands run, and no setting is left out."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from controltower.alerts.settings import SETTINGS as ALERT_SETTINGS
from controltower.cli.main import COMMANDS
from controltower.collector.exposition import full_name
from controltower.collector.metrics import DECLARED, METRICS, Metric
from controltower.collector.redaction.settings import VARIABLES as REDACTION_VARIABLES
from controltower.collector.settings import PREFIX
from controltower.collector.settings import Settings as CollectorSettings
from controltower.tracer import attributes
from tests.processes import Tower, tower, until

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# By place, not all below the root: .venv and build hold the documents of other projects.
DOCUMENTS = {
    path: path.read_text(encoding="utf-8") for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
}
COMMAND = re.compile(r"^\$ (controltower .*)$", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
MINE = "PO-MINE-1"


def tour() -> list[str]:
    """Return the commands of the README, in order."""
    return COMMAND.findall(README)


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """A tower with the demo's history, in which the README's own step was sent."""
    with tower(tmp_path_factory.mktemp("tour") / "data") as running:
        running.serve()
        running.run("demo", "--seed", "7", "--transactions", "60", "--days", "60")
        (script,) = PYTHON.findall(README)
        environment = {**os.environ, "CONTROLTOWER_TOKEN": running.runtime.token}
        code = script.replace("http://127.0.0.1:4318", running.runtime.collector)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
        until(lambda: running.placed(MINE), "the README's step is there")
        yield running


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", tour())
def test_the_tour_runs(command: str, toured: Tower) -> None:
    """Each command of the README's tour does what the README says; orders are those of the smaller history."""
    completed = ("search", "--flow", "procure_to_pay", "--state", "completed", "--limit", "1", "--json")
    found = json.loads(toured.run(*completed))["transactions"]
    words = shlex.split(command)[1:]
    there = [found[0]["anchor"]["value"] if re.fullmatch(r"PO-\d+", word) else word for word in words]
    printed = toured.run(*there)

    shown = README.partition(f"$ {command}\n")[2].partition("```")[0]
    titles = {line for line in shown.splitlines() if re.fullmatch(r"Path.*|Deadlines|Matches|TRANSACTION.*", line)}
    assert printed
    assert {title.split()[0] for title in titles} <= {line.split()[0] for line in printed.splitlines() if line}


def test_the_tour_is_there() -> None:
    """The README's commands are found by the test that runs them."""
    assert len(tour()) >= 4
    assert any(MINE in command for command in tour())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link of a document names a file that exists."""
    missing = [link for link in LINK.findall(DOCUMENTS[path]) if not (path.parent / link).exists()]

    assert missing == []


@pytest.mark.parametrize("name", [f"{PREFIX}{field.name.upper()}" for field in fields(CollectorSettings)])
def test_settings_of_the_collector_are_documented(name: str) -> None:
    """Every setting of the collector is in docs/operate.md."""
    assert f"`{name}`" in DOCUMENTS[ROOT / "docs" / "operate.md"]


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_documented(name: Metric) -> None:
    """Every metric of the collector is in docs/operate.md, with its labels, its meaning and what to do."""
    declared = DECLARED[name]
    labels = ", ".join(f"`{label}`" for label in declared.labels)
    row = f"| `{full_name(name)}` | {declared.kind} | {labels} | {declared.meaning} | {declared.when_it_rises} |"

    assert row in DOCUMENTS[ROOT / "docs" / "operate.md"].splitlines()


@pytest.mark.parametrize("name", ALERT_SETTINGS)
def test_settings_of_the_alerts_are_documented(name: str) -> None:
    """Every setting of the alerts is in docs/alerts.md."""
    assert f"`{name}`" in DOCUMENTS[ROOT / "docs" / "alerts.md"]


@pytest.mark.parametrize("name", ["CONTROLTOWER_DATA", "CONTROLTOWER_STORE", *REDACTION_VARIABLES])
def test_shared_settings_are_documented(name: str) -> None:
    """The settings that every command has are in docs/operate.md."""
    assert f"`{name}`" in DOCUMENTS[ROOT / "docs" / "operate.md"]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_documented(name: str) -> None:
    """Every command is named in a document."""
    assert any(re.search(rf"controltower {name}\b|`{name}`", text) for text in DOCUMENTS.values())


def test_attributes_are_documented() -> None:
    """Every attribute that the SDK can set is in the registry."""
    text = DOCUMENTS[ROOT / "docs" / "telemetry.md"]
    names = [value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)]
    undocumented = [name for name in names if name.removeprefix("controltower.run") not in text]

    assert undocumented == []
