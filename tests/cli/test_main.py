"""The command as a whole: help, usage, and errors that are one sentence."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from controltower.cli.main import COMMANDS
from tests.cli.conftest import Run


def test_help_names_every_command(run: Run) -> None:
    """Without a command, the help says what there is."""
    ran = run()

    assert ran.code == 0
    assert all(f"    {name}" in ran.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, run: Run) -> None:
    """Each command has a help of its own, and the options that every command has."""
    ran = run(name, "--help")

    assert ran.code == 0
    assert ran.out.startswith(f"usage: controltower {name}")
    assert "--data" in ran.out


def test_the_version_is_that_of_the_distribution(run: Run) -> None:
    """``--version`` tells the installed version."""
    from importlib.metadata import version

    assert run("--version").out.split() == ["controltower", version("controltower")]


@pytest.mark.parametrize("words", [["nonsense"], ["trace"], ["search", "--limit", "0"], ["search", "--since", "soon"]])
def test_wrong_usage_ends_with_2(words: list[str], run: Run) -> None:
    """A command line that cannot be understood says so and ends with 2."""
    ran = run(*words)

    assert ran.code == 2
    assert "error:" in ran.err


def test_an_unexpected_error_is_one_sentence_and_written_down(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is shown a traceback: the sentence names the error and the log that holds its details."""
    flows = import_module("controltower.cli.commands.flows")

    def broken() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(flows, "load_packs", broken)
    ran = run("flows", "list")

    log = tmp_path / "data" / "logs" / "errors.log"
    assert ran.code == 1
    assert ran.err == f"Unexpected RuntimeError: boom. The details are in {log}.\n"
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_debug_shows_the_details(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--debug`` shows the traceback of an unexpected error."""
    flows = import_module("controltower.cli.commands.flows")
    monkeypatch.setattr(flows, "load_packs", lambda: 1 / 0)

    assert "Traceback" in run("flows", "--debug", "list").err


def test_secrets_of_the_command_line_are_not_written_down(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store's password given as an argument does not reach the log."""
    migrate = import_module("controltower.cli.commands.migrate")
    monkeypatch.setattr(migrate, "open_store", lambda *_: 1 / 0)
    run("migrate", "--store", "clickhouse://me:hunter2@127.0.0.1:1/x")

    assert "hunter2" not in (tmp_path / "data" / "logs" / "errors.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["migrate", "--store", "mysql://x"], "--store: The store's address 'mysql://x' has an unknown form"),
        (["migrate", "--store", "clickhouse://127.0.0.1:1/x"], "does not answer"),
        (["trace", "PO-1", "--data", __file__], "is not a folder"),
    ],
)
def test_a_known_error_is_one_sentence(words: list[str], says: str, run: Run) -> None:
    """An error that can be expected says what to do, in one line, and ends with 1."""
    ran = run(*words)

    assert ran.code == 1
    assert says in ran.err
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """``controltower … | head`` ends without a word."""
    command = f"{sys.executable} -m controltower.cli flows list --json | head -n 1"
    environment = {**os.environ, "CONTROLTOWER_DATA": str(tmp_path)}
    ran = subprocess.run(
        ["sh", "-c", command], check=False, capture_output=True, text=True, env=environment, timeout=60
    )

    assert ran.stderr == ""


def test_the_help_does_not_load_the_engine() -> None:
    """``--help`` answers at once: it imports no command, no engine and no web framework."""
    code = (
        "import sys; from controltower.cli.main import main; main([]);"
        "print([m for m in ('chdb', 'fastapi', 'streamlit', 'pandas') if m in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)

    assert ran.stderr.strip() == "[]"


def test_looking_at_a_path_does_not_load_the_rules() -> None:
    """``trace`` reads what was resolved: the definition of flows is half of what it would import."""
    code = (
        "import sys; import controltower.cli.commands.trace;"
        "print([m for m in ('pydantic', 'yaml', 'controltower.store.flows.definition') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert ran.stdout.strip() == "[]"


def test_a_missing_extra_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the SDK is installed, the command says what to install."""
    flows = import_module("controltower.cli.commands.flows")

    def without() -> None:
        raise ModuleNotFoundError("No module named 'yaml'", name="yaml")

    monkeypatch.setattr(flows, "load_packs", without)
    ran = run("flows", "list")

    assert ran.code == 1
    assert ran.err == (
        "This command needs the package yaml, which is not installed; "
        "install everything with: pip install 'controltower[all]'.\n"
    )


def test_a_data_folder_that_is_wrong_hides_no_error(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is told even where its details cannot be written down."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    flows = import_module("controltower.cli.commands.flows")
    monkeypatch.setattr(flows, "load_packs", lambda: 1 / 0)
    ran = run("flows", "--data", str(tmp_path / "file"), "list")

    assert ran.code == 1
    assert ran.err == "Unexpected ZeroDivisionError: division by zero. Run it again with --debug for the details.\n"
