"""How the dashboard is started: the command line and the environment of its process."""

import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from controltower.dashboard.settings import DATA_VARIABLE, STORE_VARIABLE
from controltower.dashboard.theme import THEME

# Streamlit's options; given as arguments they beat any configuration file of the user's.
OPTIONS: Mapping[str, str] = {
    "server.headless": "true",  # opens no browser and asks nothing
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",  # nothing leaves this machine
    "client.showErrorDetails": "none",  # an error is a sentence; its details are in the log
    "client.toolbarMode": "minimal",
    "global.developmentMode": "false",
}
LOOPBACK = "127.0.0.1"


def command(port: int, *, address: str = LOOPBACK) -> list[str]:
    """Return the command that serves the dashboard on *port*; its health is at ``/_stcore/health``."""
    options = {"server.port": str(port), "server.address": address, **OPTIONS, **THEME}
    app = str(files("controltower.dashboard").joinpath("app.py"))
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, "-m", "streamlit", "run", app, *arguments]


def environment(data: Path, store: str | None) -> dict[str, str]:
    """Return the variables that tell the dashboard what to show."""
    return {DATA_VARIABLE: str(data)} | ({STORE_VARIABLE: store} if store else {})
