"""What docs/scrape.md shows is what the command prints, and it leaves no field out."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from controltower.collector.scrapers import definition
from controltower.collector.scrapers.health import ALL
from controltower.collector.scrapers.log_formats import FORMATS
from controltower.collector.scrapers.packs import packs
from controltower.collector.scrapers.times import NAMED
from tests.processes import COMMAND, Tower, tower

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "scrape.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```console\n\$ controltower ([^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
MODELS = (
    definition.LogSource,
    definition.SyslogSource,
    definition.JournalSource,
    definition.ScheduleSource,
    definition.FolderSource,
    definition.DeadLetterSource,
    definition.TapSource,
    definition.QueueSource,
    definition.Limits,
    definition.RowSource,
    definition.Rule,
    definition.End,
    definition.ValueSpec,
    definition.TimeSpec,
    definition.LineSpec,
    definition.RunSpec,
    definition.ManifestSpec,
    definition.Archive,
    definition.Secret,
    definition.Trace,
    definition.Missing,
    definition.SourceTest,
    definition.Expected,
)


def block(name: str) -> str:
    """Return the first block of a language."""
    found = re.search(rf"^```{name}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_the_commands_print_what_is_shown(tmp_path: Path) -> None:
    """The log and the sources of the document, in the order of its commands."""
    (tmp_path / "erp.log").write_text(block("log"), encoding="utf-8")
    (tmp_path / "sources.yaml").write_text(block("yaml"), encoding="utf-8")
    with tower(tmp_path / "data") as running:
        running.serve()
        printed = [run_in(tmp_path, running, words) for words, _ in SHOWN]

    assert len(printed) == 3
    assert printed == [shown for _, shown in SHOWN]


def run_in(folder: Path, running: Tower, words: str) -> str:
    ran = subprocess.run(
        [*COMMAND, *shlex.split(words)],
        check=False,
        cwd=folder,
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_field_is_documented(model: type[definition.Source]) -> None:
    """A field that can be written is in the document, by the name it is written with."""
    names = [field.alias or name for name, field in model.model_fields.items()]

    assert [name for name in names if not re.search(rf"`[^`]*\b{name}\b[^`]*`", TEXT)] == []


def test_formats_are_documented() -> None:
    """Every format of lines and of times has its name there."""
    assert [name for name in (*FORMATS, *NAMED) if f"`{name}`" not in TEXT] == []


def test_packs_are_documented() -> None:
    """Every file that ships has its name there."""
    assert [name for name in packs() if f"| `{name}` |" not in TEXT] == []


def test_metrics_are_documented() -> None:
    """Every metric has its name there."""
    names = [re.sub(r"^controltower\.(scrape|queue)", "", declared.name) for declared in ALL]

    assert [name for name in names if not re.search(rf"`(controltower\.(scrape|queue))?{re.escape(name)}`", TEXT)] == []
