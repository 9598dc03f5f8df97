"""``controltower alert``: the alerts alone, for a ClickHouse server."""

from argparse import Namespace

from controltower.alerts.settings import read_settings as read_alert_settings
from controltower.cli.commands.serve import add_quiet
from controltower.cli.options import Subparsers, add_command
from controltower.cli.serving import Plan
from controltower.cli.serving import run as run_plan
from controltower.cli.settings import needs_server, read_settings


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "alert", "the alerts alone, for a ClickHouse server")
    add_quiet(parser)


def run(arguments: Namespace) -> int:
    """Tell about exceptions until the process is stopped; of several on one store, one works."""
    settings = needs_server(read_settings(arguments), "alert")
    plan = Plan(settings, alerts=read_alert_settings())
    words = f"alerts at work on {settings.address}"
    return run_plan(plan, lambda _: print(words, flush=True), log_name="alert", quiet=arguments.quiet)
