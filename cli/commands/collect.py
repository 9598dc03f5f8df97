"""``controltower collect``: the collector alone, for a ClickHouse server."""

import os
from argparse import Namespace

from controltower.cli.commands.serve import add_collector, add_quiet, collector_settings
from controltower.cli.options import Subparsers, add_command
from controltower.cli.serving import Plan, Service
from controltower.cli.serving import run as run_plan
from controltower.cli.settings import needs_server, read_settings
from controltower.collector.redaction.settings import read_redaction


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "collect", "the collector alone, for a ClickHouse server")
    add_collector(parser)
    add_quiet(parser)


def run(arguments: Namespace) -> int:
    """Collect until the process is stopped."""
    settings = needs_server(read_settings(arguments), "collect")
    collector = collector_settings(arguments)

    def started(service: Service) -> None:
        assert service.runtime is not None  # there is a collector
        print(f"collector at {service.runtime.collector}/v1/traces, token in {service.folder.local_token}", flush=True)

    plan = Plan(settings, collector=collector, redaction=read_redaction(os.environ))
    return run_plan(plan, started, log_name="collect", quiet=arguments.quiet)
