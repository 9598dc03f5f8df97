"""``controltower serve``: collector, engine and alerts over one store."""

import os
from argparse import ArgumentParser, Namespace
from time import monotonic
from typing import Final

from controltower.alerts.settings import read_settings as read_alert_settings
from controltower.cli.children import end_with_parent
from controltower.cli.options import Subparsers, add_command, port
from controltower.cli.serving import Plan, Service
from controltower.cli.serving import run as run_plan
from controltower.cli.settings import read_settings
from controltower.cli.text import table
from controltower.collector.redaction.settings import read_redaction
from controltower.collector.settings import Settings as CollectorSettings
from controltower.collector.settings import read_settings as read_collector_settings

ENDPOINT_PORT: Final = 8124


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "serve",
        "collector, engine and alerts over one store",
        "Take OTLP in, follow the transactions, tell about what is late, and offer the embedded store to other processes.",
    )
    add_collector(parser)
    parser.add_argument(
        "--endpoint-port",
        type=port,
        default=ENDPOINT_PORT,
        metavar="PORT",
        help=f"of the embedded store (default {ENDPOINT_PORT})",
    )
    add_quiet(parser)


def add_collector(parser: ArgumentParser) -> None:
    """Add where the collector listens."""
    parser.add_argument("--host", help="address the collector listens on (default 127.0.0.1)")
    parser.add_argument("--collector-port", type=port, metavar="PORT", help="of OTLP over HTTP (default 4318)")
    grpc = parser.add_mutually_exclusive_group()
    grpc.add_argument("--grpc-port", type=port, metavar="PORT", help="of OTLP over gRPC (default 4317)")
    grpc.add_argument("--no-grpc", action="store_true", help="take OTLP over HTTP only")


def collector_settings(arguments: Namespace) -> CollectorSettings:
    """Return the collector's settings: what `add_collector` added comes before the environment."""
    return read_collector_settings(
        os.environ,
        host=arguments.host,
        port=arguments.collector_port,
        grpc_port=arguments.grpc_port,
        grpc=False if arguments.no_grpc else None,
    )


def add_quiet(parser: ArgumentParser) -> None:
    """Add ``--quiet``."""
    parser.add_argument("--quiet", action="store_true", help="log to the data folder only")


def run(arguments: Namespace) -> int:
    """Serve until the process is stopped."""
    since = monotonic()
    end_with_parent()
    plan = Plan(
        settings=read_settings(arguments),
        redaction=read_redaction(os.environ),
        collector=collector_settings(arguments),
        engine=True,
        alerts=read_alert_settings(),
        endpoint_port=arguments.endpoint_port,
        migrates=True,
    )

    def started(service: Service) -> None:
        print(f"{_summary(service)}\nready in {monotonic() - since:.1f} s; Ctrl-C stops", flush=True)

    return run_plan(plan, started, quiet=arguments.quiet)


def _summary(service: Service) -> str:
    runtime = service.runtime
    assert runtime is not None  # serve has a collector, so it has told where it is
    rows = [
        ["collector", f"{runtime.collector}/v1/traces", f"token in {service.folder.local_token}"],
        ["", f"{runtime.grpc} (gRPC)" if runtime.grpc else "gRPC is off", ""],
        [
            "store",
            runtime.store,
            f"http://{runtime.host}:{runtime.port}" if service.plan.settings.address.embedded else "",
        ],
        ["log", str(service.folder.logs / "serve.log"), ""],
    ]
    return table(rows)
