"""The data folder and the token in it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from controltower.cli.data import DataFolder, local_token
from controltower.cli.errors import CommandError
from controltower.collector.auth import Tokens
from tests.processes import tower


def test_the_first_start_makes_a_token_that_lets_in(tmp_path: Path) -> None:
    """The token of this machine is accepted by the collector and stays the same."""
    folder = DataFolder(tmp_path / "data")
    token = local_token(folder)
    sender = Tokens(folder.tokens).sender(f"Bearer {token}")

    assert sender is not None
    assert sender.name == "local"
    assert local_token(folder) == token


def test_the_folder_and_the_token_are_their_owners(tmp_path: Path) -> None:
    """Nobody else can read the data folder, the token, or the hashes."""
    folder = DataFolder(tmp_path / "data")
    local_token(folder)

    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.local_token.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.tokens.stat().st_mode) == 0o600


def test_a_token_file_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    """Without its hash a token lets nobody in, so a new one is made."""
    folder = DataFolder(tmp_path / "data")
    first = local_token(folder)
    folder.tokens.unlink()
    second = local_token(folder)

    assert second != first
    assert Tokens(folder.tokens).sender(f"Bearer {second}") is not None


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """A file in the way is named."""
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(CommandError, match="cannot be made: Not a directory"):
        DataFolder(tmp_path / "file" / "data").make()


@pytest.mark.slow
def test_rows_of_an_insert_that_was_killed_are_removed_at_the_next_start(tmp_path: Path) -> None:
    """They lie in a file of the data folder, its owner's alone, and not where temporary files of others are."""
    (tmp_path / "elsewhere").mkdir()
    elsewhere = {"TMPDIR": str(tmp_path / "elsewhere")}
    killed = [sys.executable, "-m", "tests.cli.killed_insert", str(tmp_path / "data")]
    ended = subprocess.run(killed, check=False, env={**os.environ, **elsewhere}).returncode
    folder = DataFolder(tmp_path / "data")
    left = {file: stat.S_IMODE(file.stat().st_mode) for file in folder.temporary.iterdir()}
    with tower(folder.root, environment=elsewhere) as started:
        started.serve()
        stays = [file for file in left if file.exists()]

    assert ended == -9
    assert list(left.values()) == [0o600]
    assert stays == []
    assert list((tmp_path / "elsewhere").iterdir()) == []
