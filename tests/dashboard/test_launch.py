"""How the dashboard is started: nothing leaves the machine, and its settings arrive."""

import sys
from pathlib import Path

from streamlit.config import get_config_options

from controltower.dashboard.launch import LOOPBACK, command, environment
from controltower.dashboard.settings import Settings, read_settings


def test_command_runs_the_packaged_page_quietly() -> None:
    """The command names the entry file, the port and the address, and sends no statistics."""
    words = command(8599)

    assert words[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert Path(words[4]).name == "app.py"
    assert Path(words[4]).is_file()
    given = dict(zip(words[5::2], words[6::2], strict=True))
    assert given["--server.port"] == "8599"
    assert given["--server.address"] == LOOPBACK
    assert given["--browser.gatherUsageStats"] == "false"
    assert given["--client.showErrorDetails"] == "none"


def test_streamlit_knows_every_option() -> None:
    """An option that this Streamlit does not have would keep the dashboard from starting."""
    known = set(get_config_options())

    assert {word.removeprefix("--") for word in command(1)[5::2]} <= known


def test_settings_come_back_from_the_environment(tmp_path: Path) -> None:
    """What the command hands over is what the pages read."""
    assert read_settings(environment(tmp_path, "clickhouse://host/db")) == Settings(tmp_path, "clickhouse://host/db")
    assert read_settings(environment(tmp_path, None)) == Settings(tmp_path, None)
    assert read_settings({}).data.name == "controltower"
