"""``controltower engine``: the engine alone, for a ClickHouse server."""

from argparse import Namespace

from controltower.cli.commands.serve import add_quiet
from controltower.cli.options import Subparsers, add_command
from controltower.cli.serving import Plan
from controltower.cli.serving import run as run_plan
from controltower.cli.settings import needs_server, read_settings


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "engine", "the engine alone, for a ClickHouse server")
    add_quiet(parser)


def run(arguments: Namespace) -> int:
    """Follow transactions until the process is stopped; of several engines on one store, one works."""
    settings = needs_server(read_settings(arguments), "engine")
    words = f"engine at work on {settings.address}"
    return run_plan(
        Plan(settings, engine=True), lambda _: print(words, flush=True), log_name="engine", quiet=arguments.quiet
    )
