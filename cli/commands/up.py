"""``controltower up``: everything on this machine."""

from argparse import Namespace

from controltower.cli.commands.dashboard import DEFAULT_PORT
from controltower.cli.commands.serve import ENDPOINT_PORT, add_collector
from controltower.cli.options import Subparsers, add_command, port
from controltower.cli.settings import read_settings
from controltower.cli.tower import Tower, TowerPlan


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "up",
        "run everything on this machine: serve and dashboard",
        "Run collector, engine, alerts and dashboard on this machine until Ctrl-C, with --demo also a simulated "
        "hospital network that sends its spans here.",
    )
    parser.add_argument("--demo", action="store_true", help="with a simulated hospital network that keeps going")
    parser.add_argument("--no-dashboard", action="store_true")
    add_collector(parser)
    parser.add_argument(
        "--endpoint-port",
        type=port,
        default=ENDPOINT_PORT,
        metavar="PORT",
        help=f"of the embedded store (default {ENDPOINT_PORT})",
    )
    parser.add_argument(
        "--dashboard-port",
        type=port,
        default=DEFAULT_PORT,
        metavar="PORT",
        help=f"of the dashboard (default {DEFAULT_PORT})",
    )


def run(arguments: Namespace) -> int:
    """Run until the process is stopped."""
    plan = TowerPlan(
        settings=read_settings(arguments),
        host=arguments.host,
        collector_port=arguments.collector_port,
        grpc_port=arguments.grpc_port,
        grpc=not arguments.no_grpc,
        endpoint_port=arguments.endpoint_port,
        dashboard_port=None if arguments.no_dashboard else arguments.dashboard_port,
        demo=arguments.demo,
    )
    return Tower(plan).run()
