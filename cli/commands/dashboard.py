"""``controltower dashboard``: the dashboard alone, on loopback: it has no sign-in of its own."""

import os
import runpy
import sys
from argparse import Namespace
from typing import Final

from controltower.cli.children import end_with_parent
from controltower.cli.options import Subparsers, add_command, port
from controltower.cli.ports import listen
from controltower.cli.settings import read_settings
from controltower.dashboard.launch import LOOPBACK, command, environment

DEFAULT_PORT: Final = 8501


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "dashboard", "the dashboard alone")
    parser.add_argument(
        "--dashboard-port",
        type=port,
        default=DEFAULT_PORT,
        metavar="PORT",
        help=f"on {LOOPBACK} (default {DEFAULT_PORT})",
    )


def run(arguments: Namespace) -> int:
    """Serve the dashboard until the process is stopped."""
    settings = read_settings(arguments)
    listen(LOOPBACK, arguments.dashboard_port, "--dashboard-port").close()
    end_with_parent()
    os.environ.update(environment(settings.data, settings.store))
    # In this process, as `python -m streamlit` would: a process in between would outlive us when we are killed.
    _, _, module, *words = command(arguments.dashboard_port)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0
