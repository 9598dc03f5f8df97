"""Shared settings: argument, then environment, then default."""

from argparse import Namespace
from pathlib import Path

import pytest

from controltower.cli.errors import SettingError
from controltower.cli.settings import needs_server, read_settings, store_variables


def test_an_argument_beats_the_environment(tmp_path: Path) -> None:
    """What is given on the command line counts first."""
    environment = {"CONTROLTOWER_DATA": "/elsewhere", "CONTROLTOWER_STORE": "clickhouse://other/db"}
    settings = read_settings(Namespace(data=str(tmp_path), store="clickhouse://here/db"), environment)

    assert settings.data == tmp_path
    assert settings.address.host == "here"


def test_the_environment_beats_the_default(tmp_path: Path) -> None:
    """Without an argument the environment counts."""
    settings = read_settings(Namespace(data=None, store=None), {"CONTROLTOWER_DATA": str(tmp_path)})

    assert settings.data == tmp_path
    assert settings.address.path == tmp_path / "store"


def test_a_bad_address_names_its_source() -> None:
    """A bad value names the variable it came from, and no password."""
    with pytest.raises(SettingError, match="CONTROLTOWER_STORE: ") as refused:
        read_settings(Namespace(data=None, store=None), {"CONTROLTOWER_STORE": "mysql://me:hunter2@host/db"})

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("command", ["collect", "engine", "alert"])
def test_parts_that_run_alone_need_a_server(command: str, tmp_path: Path) -> None:
    """The embedded store belongs to one process, so its parts do not run one by one."""
    with pytest.raises(SettingError, match=r"needs a ClickHouse server.*`controltower serve`"):
        needs_server(read_settings(Namespace(data=str(tmp_path), store=None), {}), command)


def test_an_address_with_a_password_can_stand_in_a_file(tmp_path: Path) -> None:
    """It is read once, and what is printed of the settings does not hold it."""
    file = tmp_path / "store"
    file.write_text("clickhouse://me:hunter2@here:8123/db\n")
    settings = read_settings(Namespace(data=str(tmp_path), store=None), {"CONTROLTOWER_STORE_FILE": str(file)})

    assert settings.address.password == "hunter2"
    assert "hunter2" not in repr(settings) + repr(settings.address)


@pytest.mark.parametrize("content", [None, b"\xff", b"mysql://me:hunter2@host/db"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    """The error says which variable it is, and no password."""
    file = tmp_path / "store"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingError, match="CONTROLTOWER_STORE_FILE") as refused:
        read_settings(Namespace(data=str(tmp_path), store=None), {"CONTROLTOWER_STORE_FILE": str(file)})

    assert "hunter2" not in str(refused.value)


def test_an_address_is_given_once(tmp_path: Path) -> None:
    """Of a variable and a file nobody could say which one counts."""
    environment = {"CONTROLTOWER_STORE": "clickhouse://a/b", "CONTROLTOWER_STORE_FILE": str(tmp_path / "x")}
    with pytest.raises(SettingError, match="both set"):
        read_settings(Namespace(data=str(tmp_path), store=None), environment)


def test_a_child_gets_the_store_once(tmp_path: Path) -> None:
    """What a process took from a file its children take from the variable, although the file is named to them, too."""
    file = tmp_path / "store"
    file.write_text("clickhouse://me:hunter2@here:8123/db")
    environment = {"CONTROLTOWER_STORE_FILE": str(file)}
    settings = read_settings(Namespace(data=str(tmp_path), store=None), environment)
    child = read_settings(Namespace(data=str(tmp_path), store=None), environment | store_variables(settings))

    assert child == settings
